// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/open.hpp"
#include "tests/disk/memory_store.hpp"
#include "tests/disk/temporary.hpp"

#include <map>
#include <memory>
#include <ostream>
#include <string>

namespace croft::disk::test {

// The kinds of image that tests go through.
struct Kind {
    const char* name;
    Format format;
    Allocation allocation;
    std::uint32_t sector_size = 512;
    std::uint32_t block_size = 0; // 0: the smallest
};
inline void PrintTo(const Kind& kind, std::ostream* out) {
    *out << kind.name;
}

inline constexpr Kind all_kinds[] = {
    {"raw", Format::raw, Allocation::fixed},
    {"vhd_fixed", Format::vhd, Allocation::fixed},
    {"vhd_dynamic", Format::vhd, Allocation::dynamic},
    {"vhd_differencing", Format::vhd, Allocation::differencing},
    {"vhdx_fixed", Format::vhdx, Allocation::fixed},
    {"vhdx_dynamic", Format::vhdx, Allocation::dynamic},
    {"vhdx_dynamic_4096", Format::vhdx, Allocation::dynamic, 4096},
    {"vhdx_differencing", Format::vhdx, Allocation::differencing},
    {"vhdx_differencing_4096", Format::vhdx, Allocation::differencing, 4096},
};

// Files in memory, by name.
class MemoryFolder {
public:
    std::shared_ptr<MemoryStore::Contents> file(const std::string& name);
    StoreOpener opener();
    // Creates "disk", and for a differencing kind "parent" (with contents of its own) below it.
    void create(const Kind& kind, std::uint64_t size);
    // One more, empty; a differencing one is a child of `parent`.
    void create_one(const std::string& name, const Kind& kind, std::uint64_t size,
        const std::string& parent = "parent");
    std::unique_ptr<Chain> open(bool write = true, const std::string& name = "disk");
    // Writes them all into a folder of the host.
    void write_files(const TemporaryFolder& folder) const;

private:
    std::map<std::string, std::shared_ptr<MemoryStore::Contents>> files_;
};

constexpr std::uint64_t mebibyte = 1U << 20U;

/// So many bytes of one value.
inline std::vector<std::byte> filled(std::uint64_t length, unsigned value) {
    return std::vector<std::byte>(length, static_cast<std::byte>(value));
}

// The byte that the parent of a differencing kind holds in each sector of 4096 bytes.
std::byte parent_byte(std::uint64_t offset);

} // namespace croft::disk::test
