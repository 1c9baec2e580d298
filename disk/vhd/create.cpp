// SPDX-License-Identifier: Apache-2.0
#include "disk/vhd/create.hpp"

#include "disk/utf16.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fmt/format.h>

namespace croft::disk::vhd {

namespace {

constexpr std::int64_t epoch = std::chrono::duration_cast<std::chrono::seconds>(
    std::chrono::sys_days{std::chrono::year{2000} / std::chrono::January / 1}.time_since_epoch())
                                   .count();

Footer make_footer(const CreateOptions& options) {
    Footer footer{};
    footer.cookie = footer_cookie;
    footer.features = 2;
    footer.file_format_version = supported_version;
    footer.data_offset = options.type == DiskType::fixed ? no_offset : sector_size;
    footer.time_stamp = time_stamp_of(std::time(nullptr));
    // Readers trust the current size only in files of creators that they know, and take the
    // geometry's product, which is smaller, from others. This is the one that all of them know.
    footer.creator_application = {'w', 'i', 'n', ' '};
    footer.creator_version = 0x000a0000;
    footer.creator_host_os = {'W', 'i', '2', 'k'};
    footer.original_size = options.size;
    footer.current_size = options.size;
    footer.disk_type = static_cast<std::uint32_t>(options.type);
    footer.unique_id = options.unique_id.is_zero() ? Guid::random() : options.unique_id;
    set_geometry(footer);
    return sealed(footer);
}

// Where the parts of a dynamic disk begin: footer copy, header, locators, table, footer.
constexpr std::uint64_t header_offset = sector_size;
constexpr std::uint64_t locators_offset = header_offset + sizeof(DynamicHeader);

Result<void> create_dynamic(Store& store, const CreateOptions& options, const Footer& footer) {
    DynamicHeader header{};
    header.cookie = header_cookie;
    header.data_offset = no_offset;
    header.header_version = supported_version;
    header.block_size = options.block_size;
    const std::uint64_t blocks = (options.size + options.block_size - 1) / options.block_size;
    header.max_table_entries = static_cast<std::uint32_t>(blocks);
    std::uint64_t next = locators_offset;
    if (options.type == DiskType::differencing) {
        header.parent_unique_id = options.parent_id;
        header.parent_time_stamp = options.parent_time_stamp;
        std::string name = options.parent_absolute_path.empty() ? options.parent_relative_path
                                                                : options.parent_absolute_path;
        name = name.substr(name.find_last_of('\\') + 1);
        const auto wide = utf16_from_utf8(name, true);
        std::ranges::copy(
            std::span{wide}.first(std::min(wide.size(), header.parent_name.size() - 2)),
            header.parent_name.begin());
        std::size_t slot = 0;
        const auto add = [&](std::uint32_t platform, std::string_view path) -> Result<void> {
            if (path.empty())
                return {};
            const LocatorArea area = make_locator(platform, path, next);
            header.parent_locators[slot++] = area.locator;
            CROFT_DISK_TRY(store.write(next, area.bytes));
            next += area.bytes.size();
            return {};
        };
        CROFT_DISK_TRY(add(platform_relative, options.parent_relative_path));
        CROFT_DISK_TRY(add(platform_absolute, options.parent_absolute_path));
    }
    header.table_offset = next;
    header = sealed(header);
    const std::uint64_t table_length =
        (blocks * sizeof(std::uint32_t) + sector_size - 1) / sector_size * sector_size;
    std::vector<std::byte> unused(64 * 1024, std::byte{0xff});
    for (std::uint64_t done = 0; done < table_length;) {
        const auto step = std::min<std::uint64_t>(unused.size(), table_length - done);
        CROFT_DISK_TRY(
            store.write(next + done, std::span{unused}.first(static_cast<std::size_t>(step))));
        done += step;
    }
    CROFT_DISK_TRY(store.write(header_offset, bytes_of(header)));
    CROFT_DISK_TRY(store.write(next + table_length, bytes_of(footer)));
    CROFT_DISK_TRY(store.flush());
    CROFT_DISK_TRY(store.write(0, bytes_of(footer)));
    return store.flush();
}

} // namespace

std::uint32_t time_stamp_of(std::int64_t host_seconds) {
    return static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(host_seconds - epoch, 0, 0xffffffff));
}

std::int64_t host_seconds_of(std::uint32_t time_stamp) {
    return epoch + time_stamp;
}

void set_geometry(Footer& footer) {
    constexpr std::uint64_t most = 65535ULL * 16 * 255;
    const std::uint64_t total = std::min(footer.current_size / sector_size, most);
    std::uint64_t per_track = 255;
    std::uint64_t heads = 16;
    std::uint64_t per_head = total / per_track;
    if (total < 65535ULL * 16 * 63) {
        per_track = 17;
        per_head = total / per_track;
        heads = std::max<std::uint64_t>((per_head + 1023) / 1024, 4);
        if (per_head >= heads * 1024 || heads > 16) {
            per_track = 31;
            heads = 16;
            per_head = total / per_track;
        }
        if (per_head >= heads * 1024) {
            per_track = 63;
            heads = 16;
            per_head = total / per_track;
        }
    }
    footer.cylinders = static_cast<std::uint16_t>(per_head / heads);
    footer.heads = static_cast<std::uint8_t>(heads);
    footer.sectors_per_track = static_cast<std::uint8_t>(per_track);
}

Result<void> check_size(std::string_view file, std::uint64_t size) {
    if (size != 0 && size % sector_size == 0 && size <= disk_size_max)
        return {};
    return std::unexpected(Error::of(ErrorCode::invalid_argument, file,
        fmt::format("size: found {}, expected a multiple of 512 up to 2040 GiB", size)));
}

LocatorArea make_locator(std::uint32_t platform, std::string_view path, std::uint64_t offset) {
    LocatorArea area{{}, utf16_from_utf8(path)};
    area.locator.platform_code = platform;
    area.locator.platform_data_length = static_cast<std::uint32_t>(area.bytes.size());
    area.locator.platform_data_offset = offset;
    area.bytes.resize((area.bytes.size() + sector_size - 1) / sector_size * sector_size);
    area.locator.platform_data_space = static_cast<std::uint32_t>(area.bytes.size());
    return area;
}

Result<void> create(Store& store, const CreateOptions& options) {
    CROFT_DISK_TRY(check_size(store.name(), options.size));
    if (store.traits().block_device)
        return std::unexpected(Error::of(ErrorCode::unsupported, store.name(),
            "a VHD ends with its footer, which a block device has no place for: use a file, or "
            "VHDX"));
    const Footer footer = make_footer(options);
    if (options.type != DiskType::fixed)
        return create_dynamic(store, options, footer);
    CROFT_DISK_TRY(store.resize(options.size + sector_size));
    CROFT_DISK_TRY(store.allocate(0, options.size));
    CROFT_DISK_TRY(store.write(options.size, bytes_of(footer)));
    return store.flush();
}

} // namespace croft::disk::vhd
