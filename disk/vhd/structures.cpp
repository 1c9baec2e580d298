// SPDX-License-Identifier: Apache-2.0
#include "disk/vhd/structures.hpp"

#include "disk/utf16.hpp"

#include <algorithm>
#include <bit>
#include <fmt/format.h>

namespace croft::disk::vhd {

namespace {

// A path in a locator is not longer than this many bytes.
constexpr std::uint32_t locator_length_max = 64 * 1024;
constexpr std::uint32_t block_size_min = 4096;
constexpr std::uint32_t block_size_max = 256U << 20U;

std::string defect_of(const Footer& footer) {
    if (footer.cookie != footer_cookie)
        return "footer cookie: expected \"conectix\"";
    if (const auto expected = sealed(footer).checksum; footer.checksum != expected)
        return fmt::format(
            "footer checksum: found {:#x}, expected {:#x}", footer.checksum.get(), expected.get());
    if (footer.file_format_version.get() >> 16U != supported_version >> 16U)
        return fmt::format("file format version: found {:#x}, expected {:#x}",
            footer.file_format_version.get(), supported_version);
    const std::uint32_t type = footer.disk_type;
    if (type < static_cast<std::uint32_t>(DiskType::fixed) ||
        type > static_cast<std::uint32_t>(DiskType::differencing))
        return fmt::format("disk type: found {}, expected 2, 3 or 4", type);
    const std::uint64_t size = footer.current_size;
    if (size == 0 || size % sector_size != 0 || size > disk_size_max)
        return fmt::format(
            "current size: found {}, expected a multiple of 512 up to 2040 GiB", size);
    return {};
}

// Where the footer at the end begins. "Versions prior to Virtual PC 2004 create disk images with a
// 511-byte footer", which lacks the last byte, a zero.
std::uint64_t footer_offset(const Store& store) {
    return store.size() % sector_size == sector_size - 1 ? store.size() - (sector_size - 1)
                                                         : store.size() - sector_size;
}

} // namespace

Result<Footer> read_footer_at(Store& store, std::uint64_t offset) {
    Footer footer{};
    CROFT_DISK_TRY(store.read(offset,
        std::as_writable_bytes(std::span{&footer, 1})
            .first(std::min<std::uint64_t>(sizeof footer, store.size() - offset))));
    if (std::string defect = defect_of(footer); !defect.empty())
        return std::unexpected(Error::corrupt(store.name(), offset, std::move(defect)));
    return footer;
}

bool has_footer(Store& store) {
    const auto cookie_at = [&store](std::uint64_t offset) {
        std::array<char, footer_cookie.size()> cookie{};
        return store.read(offset, std::as_writable_bytes(std::span{cookie})) &&
            cookie == footer_cookie;
    };
    return store.size() >= sector_size && (cookie_at(footer_offset(store)) || cookie_at(0));
}

Result<FoundFooter> read_footer(Store& store) {
    if (store.size() < sector_size)
        return std::unexpected(Error::corrupt(store.name(), 0,
            fmt::format("found {} bytes, expected a footer of 512", store.size())));
    const std::uint64_t end = footer_offset(store);
    auto at_end = read_footer_at(store, end);
    if (at_end && at_end->disk_type == static_cast<std::uint32_t>(DiskType::fixed) &&
        at_end->current_size > end)
        return std::unexpected(Error::corrupt(store.name(), end,
            fmt::format("current size: found {}, but the file holds {} bytes before its footer",
                at_end->current_size.get(), end)));
    if (at_end)
        return FoundFooter{*at_end, true, end};
    auto copy = read_footer_at(store, 0);
    if (!copy || copy->disk_type == static_cast<std::uint32_t>(DiskType::fixed))
        return std::unexpected(std::move(at_end).error());
    const std::uint64_t whole = (store.size() + sector_size - 1) / sector_size * sector_size;
    return FoundFooter{*copy, false, whole};
}

Result<DynamicHeader> read_dynamic_header(Store& store, const Footer& footer) {
    const std::uint64_t at = footer.data_offset;
    const auto corrupt = [&](std::string what) {
        return std::unexpected(Error::corrupt(store.name(), at, std::move(what)));
    };
    if (at % sector_size != 0 || at > store.size() || store.size() - at < sizeof(DynamicHeader))
        return corrupt("dynamic disk header: lies outside the file");
    DynamicHeader header{};
    CROFT_DISK_TRY(store.read(at, std::as_writable_bytes(std::span{&header, 1})));
    if (header.cookie != header_cookie)
        return corrupt("dynamic disk header cookie: expected \"cxsparse\"");
    if (const auto expected = sealed(header).checksum; header.checksum != expected)
        return corrupt(fmt::format("dynamic disk header checksum: found {:#x}, expected {:#x}",
            header.checksum.get(), expected.get()));
    if (header.header_version.get() >> 16U != supported_version >> 16U)
        return corrupt(fmt::format("dynamic disk header version: found {:#x}, expected {:#x}",
            header.header_version.get(), supported_version));
    const std::uint32_t block_size = header.block_size;
    if (!std::has_single_bit(block_size) || block_size < block_size_min ||
        block_size > block_size_max)
        return corrupt(fmt::format(
            "block size: found {}, expected a power of two from 4 KiB to 256 MiB", block_size));
    const std::uint64_t needed = (footer.current_size + block_size - 1) / block_size;
    if (header.max_table_entries < needed)
        return corrupt(fmt::format("block allocation table: found {} entries, expected at least {}",
            header.max_table_entries.get(), needed));
    const std::uint64_t table = header.table_offset;
    if (table % sector_size != 0 || table > store.size() ||
        needed * sizeof(std::uint32_t) > store.size() - table)
        return corrupt(fmt::format("block allocation table: found {} entries at {}, which lie "
                                   "outside the file of {} bytes",
            needed, table, store.size()));
    return header;
}

Result<std::vector<std::string>> read_parent_paths(Store& store, const DynamicHeader& header) {
    std::vector<std::string> paths;
    for (const std::uint32_t code : {platform_relative, platform_absolute}) {
        for (const ParentLocator& locator : header.parent_locators) {
            if (locator.platform_code != code)
                continue;
            const std::uint64_t offset = locator.platform_data_offset;
            const std::uint32_t length = locator.platform_data_length;
            if (length > locator_length_max || offset > store.size() ||
                length > store.size() - offset)
                return std::unexpected(Error::corrupt(store.name(), offset,
                    fmt::format("parent locator: found {} bytes, expected at most {} within the "
                                "file",
                        length, locator_length_max)));
            std::vector<std::byte> bytes(length);
            CROFT_DISK_TRY(store.read(offset, bytes));
            if (std::string path = utf8_from_utf16(bytes); !path.empty())
                paths.push_back(std::move(path));
        }
    }
    if (std::string name = utf8_from_utf16(header.parent_name, true); !name.empty())
        paths.push_back(std::move(name));
    return paths;
}

void describe(const Footer& footer, ImageInfo& info) {
    info.format = Format::vhd;
    const auto type = static_cast<DiskType>(footer.disk_type.get());
    info.allocation = type == DiskType::fixed ? Allocation::fixed
        : type == DiskType::dynamic           ? Allocation::dynamic
                                              : Allocation::differencing;
    info.logical_sector_size = sector_size;
    info.physical_sector_size = sector_size;
    info.disk_id = footer.unique_id;
    info.identity = footer.unique_id.text();
    info.creator.assign(footer.creator_application.begin(), footer.creator_application.end());
    std::erase_if(info.creator, [](char c) { return c < ' ' || c > '~'; });
}

} // namespace croft::disk::vhd
