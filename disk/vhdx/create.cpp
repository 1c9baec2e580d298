// SPDX-License-Identifier: Apache-2.0
#include "disk/vhdx/create.hpp"

#include "disk/utf16.hpp"
#include "disk/vhdx/bat.hpp"
#include "disk/vhdx/headers.hpp"

#include <algorithm>
#include <bit>
#include <fmt/format.h>

namespace croft::disk::vhdx {

namespace {

constexpr std::uint64_t log_offset = header_section_size;

// Half of the log has to take what is changed between two flushes; random writes all over a large
// disk change many pages of its table.
std::uint32_t log_length_for(std::uint64_t bat_length) {
    return static_cast<std::uint32_t>(
        std::clamp<std::uint64_t>(bat_length / 4 / mebibyte * mebibyte, mebibyte, 8 * mebibyte));
}

Result<void> check(const Store& store, const CreateOptions& options, std::uint32_t block_size) {
    const auto refuse = [&](std::string what) {
        return std::unexpected(
            Error::of(ErrorCode::invalid_argument, store.name(), std::move(what)));
    };
    for (const std::uint32_t sector : {options.logical_sector_size, options.physical_sector_size}) {
        if (sector != 512 && sector != 4096)
            return refuse(fmt::format("sector size: found {}, expected 512 or 4096", sector));
    }
    if (!std::has_single_bit(block_size) || block_size < block_size_min ||
        block_size > block_size_max)
        return refuse(fmt::format(
            "block size: found {}, expected a power of two from 1 MiB to 256 MiB", block_size));
    if (options.size == 0 || options.size > disk_size_max ||
        options.size % options.logical_sector_size != 0)
        return refuse(fmt::format("size: found {}, expected a multiple of {} up to 64 TiB",
            options.size, options.logical_sector_size));
    return {};
}

Result<void> write_fixed_bat(Store& store, const BatShape& shape, std::uint64_t disk_size,
    std::uint64_t bat_offset, std::uint64_t data_offset) {
    std::vector<Little<std::uint64_t>> entries;
    const std::uint64_t count = shape.entries(disk_size);
    for (std::uint64_t first = 0; first < count; first += entries.size()) {
        entries.assign(std::min<std::uint64_t>(128 * kibibyte, count - first), std::uint64_t{0});
        for (std::size_t i = 0; i < entries.size(); ++i) {
            if (!shape.is_bitmap(first + i))
                entries[i] = bat_entry(BlockState::fully_present,
                    data_offset + shape.block_of(first + i) * shape.block_size);
        }
        CROFT_DISK_TRY(store.write(
            bat_offset + first * sizeof(std::uint64_t), std::as_bytes(std::span{entries})));
    }
    return {};
}

Result<void> copy_bytes(
    Store& from, std::uint64_t from_at, Store& to, std::uint64_t to_at, std::uint64_t length) {
    std::vector<std::byte> buffer(std::min<std::uint64_t>(length, mebibyte));
    for (std::uint64_t done = 0; done < length; done += buffer.size()) {
        buffer.resize(std::min<std::uint64_t>(buffer.size(), length - done));
        CROFT_DISK_TRY(from.read(from_at + done, buffer));
        CROFT_DISK_TRY(to.write(to_at + done, buffer));
    }
    return {};
}

Result<void> write_metadata(Store& store, const MetadataRegion& region, std::uint64_t at,
    const CreateOptions::Unknown& unknown) {
    for (const MetadataRegion::Piece& piece : region.pieces)
        CROFT_DISK_TRY(store.write(at + piece.offset, piece.bytes));
    for (std::size_t i = 0; i < unknown.items.size(); ++i) {
        const UnknownItem& item = unknown.items[i];
        CROFT_DISK_TRY(
            copy_bytes(*unknown.from, item.offset, store, at + region.unknown_at[i], item.length));
    }
    return {};
}

} // namespace

std::uint32_t default_block_size(std::uint64_t disk_size, bool differencing) {
    if (differencing || disk_size <= 2 * tebibyte)
        return 2 * mebibyte;
    return disk_size <= 16 * tebibyte ? 8 * mebibyte : 32 * mebibyte;
}

Result<void> create(Store& store, const CreateOptions& options) {
    Metadata metadata;
    metadata.differencing = !options.parent_locator.empty();
    metadata.block_size = options.block_size != 0
        ? options.block_size
        : default_block_size(options.size, metadata.differencing);
    CROFT_DISK_TRY(check(store, options, metadata.block_size));
    metadata.fixed = options.fixed;
    metadata.disk_size = options.size;
    metadata.logical_sector_size = options.logical_sector_size;
    metadata.physical_sector_size = options.physical_sector_size;
    metadata.disk_id = options.disk_id.is_zero() ? Guid::random() : options.disk_id;
    metadata.parent_locator = options.parent_locator;
    metadata.unknown = options.unknown.items;

    const BatShape shape{metadata.block_size, metadata.logical_sector_size, metadata.differencing};
    const std::uint64_t bat_length = shape.region_length(options.size);
    const std::uint32_t log_length = log_length_for(bat_length);
    const std::uint64_t metadata_offset = log_offset + log_length;
    const MetadataRegion metadata_content = make_metadata_region(metadata);
    const std::uint64_t bat_offset = metadata_offset + metadata_content.length;
    std::uint64_t data_offset = bat_offset + bat_length;
    std::vector<Regions::Region> regions{
        {bat_region, bat_offset, static_cast<std::uint32_t>(bat_length), true},
        {metadata_region, metadata_offset, metadata_content.length, true}};
    for (Regions::Region region : options.unknown.regions) {
        region.offset = data_offset;
        data_offset += region.length;
        regions.push_back(region);
    }
    const std::uint64_t data_length =
        options.fixed ? shape.blocks(options.size) * shape.block_size : 0;
    CROFT_DISK_TRY(store.resize(data_offset + data_length));
    if (store.traits().block_device)
        CROFT_DISK_TRY(store.zero(0, data_offset + data_length));
    else if (options.fixed)
        CROFT_DISK_TRY(store.allocate(data_offset, data_length));
    CROFT_DISK_TRY(store.allocate(log_offset, log_length));
    if (options.fixed)
        CROFT_DISK_TRY(write_fixed_bat(store, shape, options.size, bat_offset, data_offset));
    CROFT_DISK_TRY(write_metadata(store, metadata_content, metadata_offset, options.unknown));
    for (std::size_t i = 0; i < options.unknown.regions.size(); ++i) {
        const Regions::Region& from = options.unknown.regions[i];
        CROFT_DISK_TRY(copy_bytes(
            *options.unknown.from, from.offset, store, regions[i + 2].offset, from.length));
    }
    const auto table = make_region_table(regions);
    Header header{};
    header.signature = header_signature;
    header.file_write_guid = Guid::random();
    header.data_write_guid =
        options.data_write_guid.is_zero() ? Guid::random() : options.data_write_guid;
    header.version = supported_version;
    header.log_version = supported_log_version;
    header.log_length = log_length;
    header.log_offset = log_offset;
    for (std::size_t i = 0; i < 2; ++i) {
        CROFT_DISK_TRY(store.write(region_table_offsets[i], table));
        header.sequence_number = i;
        const Header sealed = Headers::sealed(header);
        CROFT_DISK_TRY(store.write(header_offsets[i], bytes_of(sealed)));
    }
    CROFT_DISK_TRY(store.flush());
    FileIdentifier identifier{};
    identifier.signature = file_signature;
    std::ranges::copy(utf16_from_utf8("Undercroft"), identifier.creator.begin());
    CROFT_DISK_TRY(store.write(file_identifier_offset, bytes_of(identifier)));
    return store.flush();
}

} // namespace croft::disk::vhdx
