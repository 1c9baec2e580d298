// SPDX-License-Identifier: Apache-2.0
#include "disk/open.hpp"
#include "disk/raw_image.hpp"
#include "disk/volume/file_system.hpp"
#include "disk/volume/partition_table.hpp"
#include "fuzz/disk/patched.hpp"
#include "tests/disk/tables.hpp"

#include <cstdlib>

// A disk with a GPT, or with an MBR and logical partitions, some bytes of which are changed. What
// is said to be usable has to lie within the disk and overlap nothing.
namespace croft::disk::fuzz {
namespace {

using test::MemoryStore;
using test::SparseBytes;

constexpr std::uint64_t sectors = 16384;
constexpr std::uint64_t size = sectors * 512;
constexpr std::uint64_t extended = 8192;
constexpr std::array<Store::Range, 8> areas{
    {{440, 72}, {512, 96}, {1024, 512}, {size - 512, 96}, {size - 33 * 512ULL, 512},
        {extended * 512 + 440, 72}, {(extended + 1024) * 512 + 440, 72}, {0, 2048}}};

SparseBytes make_gpt() {
    SparseBytes disk;
    put_gpt(disk, sectors, {{2048, 2048}, {4096, 1024}, {8192, 2048}});
    return disk;
}

SparseBytes make_mbr() {
    SparseBytes disk;
    disk.resize(size);
    test::put_mbr_entry(disk, 0, 0, 0x83, {2048, 2048});
    test::put_mbr_entry(disk, 0, 1, 0x05, {extended, 4096});
    test::put_mbr_entry(disk, extended * 512, 0, 0x83, {64, 512});
    test::put_mbr_entry(disk, extended * 512, 1, 0x05, {1024, 1024});
    test::put_mbr_entry(disk, (extended + 1024) * 512, 0, 0x07, {64, 512});
    return disk;
}

void examine(Chain& chain) {
    const auto table = read_partition_table(chain);
    static_cast<void>(probe_file_system(chain, 0, chain.size()));
    if (!table)
        return;
    std::uint64_t covered = 0;
    for (const Partition& partition : table->partitions) {
        if (!partition.problem.empty() || partition.container)
            continue;
        if (partition.length == 0 || partition.offset > chain.size() ||
            partition.length > chain.size() - partition.offset)
            std::abort();
        covered += partition.length;
        if (!probe_file_system(chain, partition.offset, partition.length))
            std::abort();
    }
    if (covered > chain.size())
        std::abort();
}

} // namespace
} // namespace croft::disk::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t length) {
    using namespace croft::disk;
    using namespace croft::disk::fuzz;
    static const std::array<SparseBytes, 2> bases{make_gpt(), make_mbr()};
    Input input{data, length};
    const std::uint8_t how = input.byte();
    const auto contents = std::make_shared<MemoryStore::Contents>();
    contents->bytes = bases[how & 1U];
    patch(contents->bytes, input, areas);
    if ((how & 3U) == 0) {
        test::seal_gpt(contents->bytes, 512);
        test::seal_gpt(contents->bytes, size - 512);
    }
    auto image = RawImage::open(std::make_unique<MemoryStore>(contents, true), Format::raw, 512);
    if (!image)
        std::abort();
    std::vector<std::unique_ptr<Image>> images;
    images.push_back(*std::move(image));
    Chain chain{std::move(images)};
    examine(chain);
    return 0;
}
