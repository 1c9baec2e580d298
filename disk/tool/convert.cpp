// SPDX-License-Identifier: Apache-2.0
#include "disk/tool/convert.hpp"

#include "disk/file_store.hpp"
#include "disk/open.hpp"
#include "disk/tool/draft.hpp"
#include "disk/tool/own.hpp"
#include "disk/vhd/dynamic_image.hpp"
#include "disk/vhdx/image.hpp"

#include <algorithm>

namespace croft::disk::tool {

namespace {

constexpr std::uint64_t mebibyte = 1U << 20U;

std::uint64_t rounded_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

Result<std::unique_ptr<Chain>> open_single(std::unique_ptr<Store> store, Format format) {
    auto image = open_image(std::move(store), format, OpenOptions{}.cache_bytes);
    if (!image)
        return std::unexpected(std::move(image).error());
    std::vector<std::unique_ptr<Image>> images;
    images.push_back(*std::move(image));
    return std::make_unique<Chain>(std::move(images));
}

Result<void> copy_and_close(Chain& from, Chain& to, const ConvertOptions& options, bool empty) {
    CopyOptions copy;
    copy.threads = options.threads;
    copy.target_is_empty = empty;
    copy.progress = options.progress;
    CROFT_DISK_TRY(copy_contents(from, to, copy));
    return to.close();
}

Result<void> flush_file(const std::string& path) {
    auto store = FileStore::open(path, {.write = true, .lock = false});
    return store ? (*store)->flush() : std::unexpected(std::move(store).error());
}

Result<void> convert_into(Chain& from, const std::string& target, const ConvertOptions& options) {
    // The kernel writes it back in its own time, unless the caller wants to know; but a power cut
    // must not leave a file that can't be opened.
    const StoreOpener opener = [&](const std::string& path, bool write, bool direct,
                                   bool lock) -> Result<std::unique_ptr<Store>> {
        return FileStore::open(
            path, {.write = write, .direct = direct, .lock = lock, .durable = options.flush});
    };
    auto to = open_chain(target, {.write = true, .format = options.target.format}, opener);
    if (!to)
        return std::unexpected(std::move(to).error());
    return copy_and_close(from, **to, options, false);
}

Result<void> convert_to_new(
    Chain& from, const Draft& draft, const NewDisk& disk, const ConvertOptions& options) {
    auto store = FileStore::open(draft.path(),
        {.write = true, .create = true, .replace = true, .durable = false, .ordered = false});
    if (!store)
        return std::unexpected(std::move(store).error());
    CROFT_DISK_TRY(create_in(**store, draft.path(), disk));
    auto to = open_single(*std::move(store), disk.format);
    if (!to)
        return std::unexpected(std::move(to).error());
    CROFT_DISK_TRY(copy_and_close(from, **to, options, true));
    // What is there is not given up for something that a power cut could take.
    return options.flush || options.replace ? flush_file(draft.path()) : Result<void>{};
}

// In place: a file with the device's name would be no device.
Result<void> convert_to_device(
    Chain& from, const std::string& target, const NewDisk& disk, const ConvertOptions& options) {
    if (!options.replace)
        return std::unexpected(Error::of(ErrorCode::exists, target,
            "found a block device, expected nothing; --replace overwrites what is on it"));
    {
        auto store = FileStore::open(target, {.write = true});
        if (!store)
            return std::unexpected(std::move(store).error());
        CROFT_DISK_TRY(create_in(**store, target, disk));
    }
    return convert_into(from, target, options);
}

} // namespace

Result<void> convert(
    const std::string& source, const std::string& target, const ConvertOptions& options) {
    auto from = open_chain(source, {.format = options.source_format});
    if (!from)
        return std::unexpected(std::move(from).error());
    if (options.into_existing)
        return convert_into(**from, target, options);
    NewDisk disk = options.target;
    if (options.azure) {
        disk.format = Format::vhd;
        disk.allocation = Allocation::fixed;
    }
    disk.size = rounded_up((*from)->size(), options.azure ? mebibyte : disk.logical_sector_size);
    if (is_block_device(target))
        return convert_to_device(**from, target, disk, options);
    auto draft = Draft::begin(
        target, options.replace ? Draft::Existing::replaced : Draft::Existing::refused);
    if (!draft)
        return std::unexpected(std::move(draft).error());
    CROFT_DISK_TRY(draft->named(convert_to_new(**from, *draft, disk, options)));
    return draft->keep();
}

Result<std::uint64_t> compact(
    const std::string& path, const Progress& progress, std::optional<Format> format) {
    // For writing, so that nobody else has it, and its log is replayed.
    auto opened = open_chain(path, {.write = true, .format = format, .with_parents = false});
    if (!opened)
        return std::unexpected(std::move(opened).error());
    Chain& from = **opened;
    const ImageInfo& info = from.top().info();
    if (from.top().store().traits().block_device)
        return std::unexpected(Error::of(ErrorCode::invalid_argument, path,
            "found a block device, expected a file: a device does not become shorter"));
    auto draft = Draft::begin(path, Draft::Existing::replaced_by_user);
    if (!draft)
        return std::unexpected(std::move(draft).error());
    if (info.allocation == Allocation::fixed)
        return std::unexpected(
            Error::of(ErrorCode::invalid_argument, path, "a fixed disk has nothing to give back"));
    NewDisk disk;
    disk.format = info.format;
    disk.allocation = info.allocation;
    disk.size = from.size();
    disk.block_size = info.block_size;
    disk.logical_sector_size = info.logical_sector_size;
    disk.physical_sector_size = info.physical_sector_size;
    disk.parent_paths = info.parent_paths;
    disk.parent_modified = info.parent_modified;
    if (!info.parent_identities.empty())
        disk.parent_identity = info.parent_identities.front();
    const auto* vhdx = dynamic_cast<vhdx::VhdxImage*>(&from.top());
    disk.disk_id =
        vhdx != nullptr ? vhdx->metadata().disk_id : Guid::parse(info.identity).value_or(Guid{});
    if (vhdx != nullptr) {
        disk.data_write_guid = vhdx->headers().current().data_write_guid;
        disk.parent_locator = vhdx->metadata().parent_locator;
        disk.unknown = {&from.top().store(), vhdx->metadata().unknown, vhdx->regions().unknown()};
    }
    auto store = FileStore::open(draft->path(),
        {.write = true, .create = true, .replace = true, .durable = false, .ordered = false});
    if (!store)
        return std::unexpected(std::move(store).error());
    CROFT_DISK_TRY(draft->named(create_in(**store, path, disk)));
    auto to = open_single(*std::move(store), disk.format);
    if (!to)
        return std::unexpected(std::move(to).error());
    if (vhdx != nullptr)
        dynamic_cast<vhdx::VhdxImage&>((*to)->top()).use_data_write_guid(disk.data_write_guid);
    CROFT_DISK_TRY(draft->named(copy_own_contents(from, **to, progress)));
    CROFT_DISK_TRY(draft->named((*to)->close()));
    CROFT_DISK_TRY(draft->named(flush_file(draft->path())));
    const std::uint64_t before = from.top().store().size();
    const std::uint64_t after = (*to)->top().store().size();
    CROFT_DISK_TRY(draft->keep());
    return before > after ? before - after : 0;
}

} // namespace croft::disk::tool
