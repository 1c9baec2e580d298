// SPDX-License-Identifier: Apache-2.0
#include "disk/open.hpp"
#include "disk/vhd/create.hpp"
#include "fuzz/disk/patched.hpp"

#include <cstdlib>
#include <cstring>

// A VHD with some bytes changed; checksums are made to fit, or the fuzzer would not get far.
namespace croft::disk::fuzz {
namespace {

using test::MemoryStore;
using test::SparseBytes;
using namespace vhd;

constexpr std::uint64_t disk_size = 8U << 20U;

SparseBytes make(DiskType type) {
    const auto contents = std::make_shared<MemoryStore::Contents>();
    MemoryStore store{contents};
    CreateOptions options{.size = disk_size};
    options.type = type;
    options.block_size = 512U << 10U;
    options.parent_relative_path = ".\\p.vhd";
    if (!create(store, options))
        std::abort();
    const StoreOpener opener = [&](const std::string&, bool write, bool,
                                   bool) -> Result<std::unique_ptr<Store>> {
        return std::make_unique<MemoryStore>(contents, !write);
    };
    auto chain = open_chain("disk", {.write = true, .with_parents = false}, opener);
    const std::vector<std::byte> bytes(64U << 10U, std::byte{0x5a});
    if (!chain || !(*chain)->write(508U << 10U, bytes) || !(*chain)->close())
        std::abort();
    return contents->bytes;
}

template <class Structure>
void seal_at(SparseBytes& file, std::uint64_t offset) {
    Structure structure{};
    file.read(offset, std::as_writable_bytes(std::span{&structure, 1}));
    structure = sealed(structure);
    file.write(offset, bytes_of(structure));
}

} // namespace
} // namespace croft::disk::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace croft::disk::fuzz;
    static const std::array<SparseBytes, 3> bases{
        make(DiskType::dynamic), make(DiskType::differencing), make(DiskType::fixed)};
    Input input{data, size};
    const std::uint8_t how = input.byte();
    const auto contents = std::make_shared<MemoryStore::Contents>();
    contents->bytes = bases[(how & 3U) % 3U];
    const std::uint64_t end = contents->bytes.size() - sector_size;
    // Footer copy, header, locator, table, bitmap; the footer at the end.
    const std::array<croft::disk::Store::Range, 6> areas{
        {{0, 96}, {512, 64}, {512, 1024}, {1536, 1024}, {2560, 1024}, {end, 96}}};
    patch(contents->bytes, input, areas);
    if ((how & 4U) == 0) {
        seal_at<Footer>(contents->bytes, 0);
        seal_at<DynamicHeader>(contents->bytes, sector_size);
        seal_at<Footer>(contents->bytes, end);
    }
    exercise(contents, (how & 8U) != 0);
    return 0;
}
