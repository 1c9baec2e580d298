// SPDX-License-Identifier: Apache-2.0
#include "disk/vhdx/image.hpp"

#include <algorithm>
#include <fmt/format.h>

// Opening and closing of a VHDX file.
namespace croft::disk::vhdx {

namespace {

std::string identity_of(const Guid& data_write_guid) {
    return data_write_guid.text();
}

std::string lower(std::string_view text) {
    std::string result{text};
    for (char& letter : result)
        letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
    return result;
}

// "{83ED0EC3-…}" as identity_of() writes it; what is no GUID stays, and matches nothing.
std::string identity_in(std::string_view linkage) {
    const auto guid = Guid::parse(linkage);
    return guid ? identity_of(*guid) : lower(linkage);
}

} // namespace

VhdxImage::VhdxImage(std::unique_ptr<Store> store, const Options& options, std::uint32_t log_length)
    : Image{std::move(store)},
      cache_{log_sector_size, std::max<std::size_t>(options.cache_pages, 64),
          std::min(LogWriter::capacity(log_length),
              std::max<std::size_t>(options.cache_pages, 64) / 2)} {}

// Without close() the log stays in use, as after a power cut.
VhdxImage::~VhdxImage() = default;

Result<std::unique_ptr<VhdxImage>> VhdxImage::open(
    std::unique_ptr<Store> store, const Options& options) {
    auto headers = Headers::read(*store);
    if (!headers)
        return std::unexpected(std::move(headers).error());
    const std::uint32_t log_length = headers->current().log_length;
    std::unique_ptr<VhdxImage> image{new VhdxImage{std::move(store), options, log_length}};
    CROFT_DISK_TRY(image->read_structures(*std::move(headers)));
    return image;
}

Result<void> VhdxImage::read_structures(Headers headers) {
    headers_ = std::move(headers);
    log_place_ = {headers_.current().log_offset, headers_.current().log_length};
    CROFT_DISK_TRY(take_over());
    auto regions = Regions::read(store(), headers_.current(), replay_);
    if (!regions)
        return std::unexpected(std::move(regions).error());
    regions_ = *std::move(regions);
    auto metadata = Metadata::read(store(), regions_.metadata, replay_);
    if (!metadata)
        return std::unexpected(std::move(metadata).error());
    metadata_ = *std::move(metadata);
    shape_ = {metadata_.block_size, metadata_.logical_sector_size, metadata_.differencing};
    if (const std::uint64_t needed = shape_.entries(metadata_.disk_size) * sizeof(std::uint64_t);
        needed > regions_.bat.length)
        return std::unexpected(Error::corrupt(store().name(), regions_.bat.offset,
            fmt::format(
                "block allocation table: found {} bytes, expected at least {} for a disk of "
                "{} bytes",
                regions_.bat.length, needed, metadata_.disk_size)));
    ImageInfo& info = mutable_info();
    info.format = Format::vhdx;
    info.allocation = metadata_.differencing ? Allocation::differencing
        : metadata_.fixed                    ? Allocation::fixed
                                             : Allocation::dynamic;
    info.logical_sector_size = metadata_.logical_sector_size;
    info.physical_sector_size = metadata_.physical_sector_size;
    info.block_size = metadata_.block_size;
    info.read_only = store().traits().read_only;
    info.creator = headers_.creator();
    info.disk_id = metadata_.disk_id;
    info.identity = identity_of(headers_.current().data_write_guid);
    set_size(metadata_.disk_size);
    if (!metadata_.differencing)
        return {};
    info.parent_identities.push_back(identity_in(metadata_.locator("parent_linkage")));
    if (const auto second = metadata_.locator("parent_linkage2"); !second.empty())
        info.parent_identities.push_back(identity_in(second));
    for (const char* key : {"relative_path", "absolute_win32_path", "volume_path"}) {
        if (const auto path = metadata_.locator(key); !path.empty())
            info.parent_paths.emplace_back(path);
    }
    return {};
}

// What the last user left behind without closing the file: changes in the log, a header that was
// being written. The file has a new FileWriteGuid before any of that is put right.
Result<void> VhdxImage::take_over() {
    auto replay = Replay::read(store(), headers_.current());
    if (!replay)
        return std::unexpected(std::move(replay).error());
    const bool in_use = !headers_.current().log_guid.is_zero();
    if (store().traits().read_only || (!in_use && headers_.damaged().empty())) {
        replay_ = *std::move(replay);
        return {};
    }
    Header header = headers_.current();
    header.file_write_guid = Guid::random();
    CROFT_DISK_TRY(headers_.update(store(), header));
    CROFT_DISK_TRY(store().order());
    if (!in_use)
        return {};
    CROFT_DISK_TRY(replay->apply(store()));
    return leave_log();
}

// Both headers: should the newer one be damaged some day, the older must not bring back a log whose
// time is over.
Result<void> VhdxImage::leave_log() {
    Header header = headers_.current();
    header.log_guid = {};
    for (std::size_t i = 0; i < header_offsets.size(); ++i) {
        CROFT_DISK_TRY(headers_.update(store(), header));
        CROFT_DISK_TRY(store().order());
    }
    return {};
}

Result<void> VhdxImage::close() {
    const std::lock_guard turn{turn_};
    if (!writing_)
        return info().read_only ? Result<void>{} : store().flush();
    CROFT_DISK_TRY(commit_in_place());
    if (store().traits().zero_gives_back)
        recycle(Space::all); // what is given up takes no room in the closed file
    if (logging_) {
        CROFT_DISK_TRY(store().order()); // the pages are in their places
        CROFT_DISK_TRY(leave_log());
    }
    CROFT_DISK_TRY(store().flush());
    logging_ = false;
    const std::lock_guard lock{state_};
    writing_ = changing_ = false;
    if (store().traits().block_device || space_.end() >= store().size())
        return {};
    return store().resize(space_.end());
}

} // namespace croft::disk::vhdx
