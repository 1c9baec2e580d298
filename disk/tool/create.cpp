// SPDX-License-Identifier: Apache-2.0
#include "disk/tool/create.hpp"

#include "disk/file_store.hpp"
#include "disk/open.hpp"
#include "disk/tool/draft.hpp"
#include "disk/vhd/create.hpp"
#include "disk/vhd/dynamic_image.hpp"
#include "disk/vhdx/create.hpp"

#include <algorithm>
#include <bit>
#include <filesystem>
#include <fmt/format.h>

namespace croft::disk::tool {

namespace {

// What readers accept, ours too.
constexpr std::uint64_t vhd_block_min = 4U << 10U;
constexpr std::uint64_t vhdx_block_min = 1U << 20U;
constexpr std::uint64_t block_max = 256U << 20U;
constexpr std::uint64_t raw_sector_size = 512;

// Takes size, sectors and identity from the parent.
Result<void> follow_parent(const std::string& path, NewDisk& disk) {
    auto parent = open_chain(disk.parent, {.with_parents = false});
    if (!parent)
        return std::unexpected(std::move(parent).error());
    const ImageInfo& info = (*parent)->top().info();
    if (info.format != disk.format)
        return std::unexpected(Error::of(ErrorCode::invalid_argument, path,
            "a " + std::string{to_string(disk.format)} + " disk can't have a parent of format " +
                std::string{to_string(info.format)}));
    std::error_code error;
    if (std::filesystem::equivalent(path, disk.parent, error))
        return std::unexpected(Error::of(ErrorCode::invalid_argument, path,
            "found itself as the parent, expected another disk"));
    disk.allocation = Allocation::differencing;
    if (disk.size == 0)
        disk.size = (*parent)->size();
    disk.logical_sector_size = info.logical_sector_size;
    disk.physical_sector_size = info.physical_sector_size;
    disk.parent_identity = info.identity;
    disk.parent_modified = (*parent)->top().store().modified();
    disk.parent_paths = {
        windows_relative_path(path, disk.parent), windows_absolute_path(disk.parent)};
    return {};
}

std::string parent_path(const NewDisk& disk, std::size_t which) {
    return which < disk.parent_paths.size() ? disk.parent_paths[which] : std::string{};
}

Result<void> check_block_size(const Store& store, const NewDisk& disk, std::uint64_t least) {
    const std::uint64_t size = disk.block_size;
    if (size == 0 || (std::has_single_bit(size) && size >= least && size <= block_max))
        return {};
    return std::unexpected(Error::of(ErrorCode::invalid_argument, store.name(),
        fmt::format("block size: found {}, expected a power of two from {} KiB to {} MiB", size,
            least >> 10U, block_max >> 20U)));
}

Result<void> create_vhd(Store& store, const NewDisk& disk) {
    vhd::CreateOptions options{.size = disk.size};
    options.type = disk.allocation == Allocation::fixed ? vhd::DiskType::fixed
        : disk.allocation == Allocation::dynamic        ? vhd::DiskType::dynamic
                                                        : vhd::DiskType::differencing;
    CROFT_DISK_TRY(check_block_size(store, disk, vhd_block_min));
    if (disk.block_size != 0)
        options.block_size = static_cast<std::uint32_t>(disk.block_size);
    options.unique_id = disk.disk_id;
    options.parent_id = Guid::parse(disk.parent_identity).value_or(Guid{});
    if (disk.parent_modified)
        options.parent_time_stamp = vhd::time_stamp_of(*disk.parent_modified);
    options.parent_relative_path = parent_path(disk, 0);
    options.parent_absolute_path = parent_path(disk, 1);
    return vhd::create(store, options);
}

Result<void> create_vhdx(Store& store, const NewDisk& disk) {
    vhdx::CreateOptions options{.size = disk.size};
    CROFT_DISK_TRY(check_block_size(store, disk, vhdx_block_min));
    options.block_size = static_cast<std::uint32_t>(disk.block_size);
    options.logical_sector_size = disk.logical_sector_size;
    options.physical_sector_size = disk.physical_sector_size;
    options.fixed = disk.allocation == Allocation::fixed;
    options.disk_id = disk.disk_id;
    options.data_write_guid = disk.data_write_guid;
    options.unknown = disk.unknown;
    options.parent_locator = disk.parent_locator;
    if (disk.allocation == Allocation::differencing && options.parent_locator.empty()) {
        options.parent_locator = {{"parent_linkage", "{" + disk.parent_identity + "}"}};
        for (const auto& [key, path] : {std::pair{"relative_path", parent_path(disk, 0)},
                 std::pair{"absolute_win32_path", parent_path(disk, 1)}}) {
            if (!path.empty())
                options.parent_locator.emplace_back(key, path);
        }
    }
    return vhdx::create(store, options);
}

Result<void> create_raw(Store& store, const NewDisk& disk) {
    if (disk.size % raw_sector_size != 0)
        return std::unexpected(Error::of(ErrorCode::invalid_argument, store.name(),
            fmt::format("size: found {}, expected a multiple of {}", disk.size, raw_sector_size)));
    CROFT_DISK_TRY(store.resize(disk.size));
    return disk.allocation == Allocation::fixed ? store.allocate(0, disk.size) : Result<void>{};
}

} // namespace

std::optional<Format> format_of_word(const std::string& word) {
    for (const Format format : {Format::raw, Format::vhd, Format::vhdx, Format::iso}) {
        if (to_string(format) == word)
            return format;
    }
    if (word == "vpc") // as qemu-img calls it
        return Format::vhd;
    return std::nullopt;
}

std::optional<Format> format_of_name(const std::string& path) {
    std::string ending = std::filesystem::path{path}.extension().string();
    std::ranges::transform(ending, ending.begin(),
        [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    if (ending == ".vhdx" || ending == ".avhdx")
        return Format::vhdx;
    if (ending == ".vhd" || ending == ".avhd")
        return Format::vhd;
    if (ending == ".iso")
        return Format::iso;
    if (ending == ".raw" || ending == ".img")
        return Format::raw;
    return std::nullopt;
}

Result<void> create_in(Store& store, const std::string& path, const NewDisk& disk) {
    switch (disk.format) {
    case Format::vhd:
        return create_vhd(store, disk);
    case Format::vhdx:
        return create_vhdx(store, disk);
    case Format::raw:
        return create_raw(store, disk);
    case Format::iso:
        break;
    }
    return std::unexpected(
        Error::of(ErrorCode::unsupported, path, "ISO images can be read, not written"));
}

Result<void> create_file(const std::string& path, NewDisk disk, bool replace) {
    if (!disk.parent.empty())
        CROFT_DISK_TRY(follow_parent(path, disk));
    if (disk.size == 0)
        disk.size = default_disk_size;
    if (is_block_device(path)) {
        if (!replace)
            return std::unexpected(Error::of(ErrorCode::exists, path,
                "found a block device, expected nothing; --replace overwrites what is on it"));
        auto store = FileStore::open(path, {.write = true});
        return store ? create_in(**store, path, disk) : std::unexpected(std::move(store).error());
    }
    auto draft = Draft::begin(path, replace ? Draft::Existing::replaced : Draft::Existing::refused);
    if (!draft)
        return std::unexpected(std::move(draft).error());
    {
        auto store =
            FileStore::open(draft->path(), {.write = true, .create = true, .replace = true});
        if (!store)
            return std::unexpected(std::move(store).error());
        CROFT_DISK_TRY(draft->named(create_in(**store, path, disk)));
    }
    return draft->keep();
}

} // namespace croft::disk::tool
