// SPDX-License-Identifier: Apache-2.0
#include "disk/crc32c.hpp"
#include "disk/open.hpp"
#include "disk/vhdx/create.hpp"
#include "disk/vhdx/headers.hpp"
#include "disk/vhdx/regions.hpp"
#include "fuzz/disk/patched.hpp"

#include <cstdlib>

// A VHDX that its creator closed, or whose log is in use, with some bytes changed; checksums are
// made to fit, or the fuzzer would not get far.
namespace croft::disk::fuzz {
namespace {

using test::MemoryStore;
using test::SparseBytes;
using namespace vhdx;

constexpr std::uint64_t disk_size = 8 * mebibyte;
// Where create() puts things for a disk of this size.
constexpr std::uint64_t log_at = mebibyte;
constexpr std::uint64_t metadata_at = 2 * mebibyte;
constexpr std::uint64_t bat_at = 3 * mebibyte;
constexpr std::array<Store::Range, 8> areas{{{header_offsets[0], 80}, {header_offsets[1], 80},
    {region_table_offsets[0], 128}, {region_table_offsets[1], 128}, {log_at, 16 * kibibyte},
    {metadata_at, 256}, {metadata_at + metadata_table_size, 512}, {bat_at, 128}}};

SparseBytes make(bool differencing, bool in_use) {
    const auto contents = std::make_shared<MemoryStore::Contents>();
    MemoryStore store{contents};
    CreateOptions options{.size = disk_size};
    options.block_size = mebibyte;
    if (differencing)
        options.parent_locator = {
            {"parent_linkage", "{" + Guid::random().text() + "}"}, {"relative_path", ".\\p.vhdx"}};
    if (!create(store, options))
        std::abort();
    const StoreOpener opener = [&](const std::string&, bool write, bool,
                                   bool) -> Result<std::unique_ptr<Store>> {
        return std::make_unique<MemoryStore>(contents, !write);
    };
    auto chain = open_chain("disk", {.write = true, .with_parents = false}, opener);
    const std::vector<std::byte> bytes(64 * kibibyte, std::byte{0x5a});
    if (!chain || !(*chain)->write(mebibyte - 4096, bytes) || !(*chain)->flush())
        std::abort();
    if (!in_use && !(*chain)->close())
        std::abort();
    return contents->bytes;
}

void seal(SparseBytes& file) {
    for (const std::uint64_t offset : header_offsets) {
        Header header{};
        file.read(offset, std::as_writable_bytes(std::span{&header, 1}));
        header = Headers::sealed(header);
        file.write(offset, bytes_of(header));
    }
    for (const std::uint64_t offset : region_table_offsets) {
        std::vector<std::byte> table(region_table_size);
        file.read(offset, table);
        seal_region_table(table);
        file.write(offset, table);
    }
    for (const std::uint64_t offset : {log_at, log_at + mebibyte / 2}) {
        LogEntryHeader header{};
        file.read(offset, std::as_writable_bytes(std::span{&header, 1}));
        if (header.signature != log_entry_signature || header.entry_length > mebibyte / 2)
            continue;
        std::vector<std::byte> entry(std::max<std::size_t>(header.entry_length, sizeof header));
        file.read(offset, entry);
        header.checksum = 0;
        save(entry, 0, header);
        header.checksum = crc32c(0, std::span{entry}.first(header.entry_length));
        file.write(offset, bytes_of(header));
    }
}

} // namespace
} // namespace croft::disk::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace croft::disk::fuzz;
    static const std::array<SparseBytes, 4> bases{
        make(false, false), make(false, true), make(true, false), make(true, true)};
    Input input{data, size};
    const std::uint8_t how = input.byte();
    const auto contents = std::make_shared<MemoryStore::Contents>();
    contents->bytes = bases[how & 3U];
    patch(contents->bytes, input, areas);
    if ((how & 4U) == 0)
        seal(contents->bytes);
    exercise(contents, (how & 8U) != 0);
    return 0;
}
