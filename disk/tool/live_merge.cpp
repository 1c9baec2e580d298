// SPDX-License-Identifier: Apache-2.0
#include "disk/tool/live_merge.hpp"

#include "disk/open.hpp"
#include "disk/tool/announce.hpp"
#include "disk/write_tracker.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <vector>

namespace croft::disk::tool {

namespace {

constexpr std::size_t live_buffer_size = 1U << 20U;
// So little may be left for the moment in which requests wait: some milliseconds.
constexpr std::uint64_t little = 16U << 20U;
// Who writes faster than this copies would keep it busy for ever.
constexpr unsigned rounds_max = 8;

class LiveMerge {
public:
    LiveMerge(Disk::Maintenance& maintenance, const Progress& progress)
        : maintenance_{maintenance},
          chain_{maintenance.disk().chain()},
          progress_{progress},
          buffer_(live_buffer_size) {}

    Result<std::string> run();

private:
    Image& child() { return chain_.top(); }
    Image& parent() { return *chain_.images()[1]; }
    Result<void> begin();
    Result<void> open_parent();
    Result<void> copy_while_in_use();
    Result<void> copy_marked(bool tell);
    Result<void> copy_part(const Store::Range& part);
    Result<void> copy_extent(const Extent& extent);
    Result<void> zero(std::uint64_t offset, std::uint64_t length);
    Result<std::unique_ptr<Image>> change_over();

    Disk::Maintenance& maintenance_;
    Chain& chain_;
    const Progress& progress_;
    std::vector<std::byte> buffer_;
    std::optional<WriteTracker> tracker_;
};

// The parent has been opened for reading, together with its child.
Result<void> LiveMerge::open_parent() {
    if (!parent().info().read_only)
        return {}; // an earlier attempt was stopped
    auto store = parent().store().open_for_writing();
    if (!store)
        return std::unexpected(std::move(store).error());
    auto image = open_image(*std::move(store), parent().info().format, OpenOptions{}.cache_bytes);
    if (!image)
        return std::unexpected(std::move(image).error());
    // Nobody can have written it: it was locked for reading all the time. But a log in use has been
    // replayed, so that the old view of the file is of no use any more.
    chain_.retire(chain_.replace(1, *std::move(image)));
    return {};
}

Result<void> LiveMerge::begin() {
    if (chain_.images().size() < 2)
        return std::unexpected(Error::of(
            ErrorCode::invalid_argument, child().store().name(), "has no parent to merge into"));
    if (child().info().read_only)
        return std::unexpected(Error::of(
            ErrorCode::read_only, child().store().name(), "the disk was opened for reading"));
    // The disk must not change its size under its user.
    if (parent().size() > child().size())
        return std::unexpected(Error::of(ErrorCode::invalid_argument, parent().store().name(),
            fmt::format("found {} bytes, expected at most the child's {}: resize the child first",
                parent().size(), child().size())));
    CROFT_DISK_TRY(open_parent());
    CROFT_DISK_TRY(announce(child(), parent()));
    CROFT_DISK_TRY(child().flush());
    CROFT_DISK_TRY(make_as_large(child(), chain_.images().subspan(1)));
    tracker_.emplace(child().size());
    maintenance_.track(&*tracker_);
    return {};
}

// Rounds, each of what was written during the one before, until little is left or it does not
// become less.
Result<void> LiveMerge::copy_while_in_use() {
    std::uint64_t before = ~std::uint64_t{0};
    for (unsigned round = 0; round < rounds_max; ++round) {
        const std::uint64_t marked = tracker_->marked();
        if (round > 0 && (marked <= little || marked >= before))
            break;
        before = marked;
        CROFT_DISK_TRY(copy_marked(round == 0));
    }
    return parent().flush(); // now, so that little is left to flush while requests wait
}

Result<void> LiveMerge::copy_marked(bool tell) {
    const std::uint64_t size = child().size();
    for (std::uint64_t offset = 0; const auto part = tracker_->take(offset);) {
        CROFT_DISK_TRY(copy_part(*part));
        offset = part->offset + part->length;
        if (tell)
            CROFT_DISK_TRY(report(progress_, child().store().name(), offset, size));
    }
    return {};
}

// What the child itself holds of a part. A write that comes meanwhile marks the part again.
Result<void> LiveMerge::copy_part(const Store::Range& part) {
    const std::uint64_t end = part.offset + part.length;
    for (std::uint64_t offset = part.offset; offset < end;) {
        const Extent extent = child().find(offset, end - offset);
        if (extent.where == Extent::Where::absent) {
            CROFT_DISK_TRY(child().prepare(extent.offset, extent.length, Image::Access::read));
            continue;
        }
        auto outcome = copy_extent(extent);
        child().finish(extent, Image::Outcome::was_read);
        CROFT_DISK_TRY(std::move(outcome));
        offset += extent.length;
    }
    return {};
}

Result<void> LiveMerge::copy_extent(const Extent& extent) {
    if (extent.where == Extent::Where::zero)
        return zero(extent.offset, extent.length);
    if (extent.where != Extent::Where::data)
        return {};
    for (std::uint64_t done = 0; done < extent.length;) {
        const auto bytes = std::span{buffer_}.first(static_cast<std::size_t>(
            std::min<std::uint64_t>(buffer_.size(), extent.length - done)));
        CROFT_DISK_TRY(child().store().read(extent.store_offset + done, bytes));
        CROFT_DISK_TRY(write_to(parent(), extent.offset + done, bytes));
        done += bytes.size();
    }
    return {};
}

Result<void> LiveMerge::zero(std::uint64_t offset, std::uint64_t length) {
    std::vector<Store::Range> skipped;
    CROFT_DISK_TRY(parent().discard(offset, length, skipped));
    if (skipped.empty())
        return {};
    std::ranges::fill(buffer_, std::byte{0});
    for (auto range : skipped) {
        while (range.length > 0) {
            const auto bytes = std::span{buffer_}.first(
                static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), range.length)));
            CROFT_DISK_TRY(write_to(parent(), range.offset, bytes));
            range.offset += bytes.size();
            range.length -= bytes.size();
        }
    }
    return {};
}

// Requests wait. First the parent holds it all, durably; then the child gives up what it holds, so
// that it never hides what is written to the parent later; then the parent takes its place.
Result<std::unique_ptr<Image>> LiveMerge::change_over() {
    CROFT_DISK_TRY(copy_marked(false));
    CROFT_DISK_TRY(parent().flush());
    CROFT_DISK_TRY(child().forget_all());
    maintenance_.track(nullptr);
    return chain_.drop_top();
}

Result<std::string> LiveMerge::run() {
    {
        const Disk::Maintenance::Pause pause{maintenance_};
        CROFT_DISK_TRY(begin());
    }
    Result<void> outcome = copy_while_in_use();
    std::unique_ptr<Image> old;
    {
        const Disk::Maintenance::Pause pause{maintenance_};
        if (outcome) {
            auto changed = change_over();
            if (changed)
                old = *std::move(changed);
            else
                outcome = std::unexpected(std::move(changed).error());
        }
        maintenance_.track(nullptr);
    }
    CROFT_DISK_TRY(std::move(outcome));
    CROFT_DISK_TRY(old->close());
    return old->store().name();
}

} // namespace

Result<std::string> merge(Disk& disk, const Progress& progress) {
    auto maintenance = Disk::Maintenance::begin(disk);
    if (!maintenance)
        return std::unexpected(std::move(maintenance).error());
    return LiveMerge{*maintenance, progress}.run();
}

} // namespace croft::disk::tool
