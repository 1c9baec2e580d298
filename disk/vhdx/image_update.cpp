// SPDX-License-Identifier: Apache-2.0
#include "disk/vhdx/image.hpp"

#include <algorithm>
#include <fmt/format.h>

// How metadata comes into memory, and how its changes become durable.
namespace croft::disk::vhdx {

namespace {

// The file grows in steps of this size, so that writes rarely have to wait for that.
constexpr std::uint64_t growth = 64 * mebibyte;
// Room that one prepare() provides for: as many pages as one reserve() may change.
constexpr std::size_t update_claim_max = 20;

} // namespace

Result<void> VhdxImage::prepare(std::uint64_t offset, std::uint64_t length, Access access) {
    static_cast<void>(length); // one step: the first block of the range
    const std::lock_guard turn{turn_};
    CROFT_DISK_TRY(load_for(offset / shape_.block_size, offset, access));
    if (access == Access::read)
        return {};
    CROFT_DISK_TRY(begin(Changes::contents));
    return make_room();
}

// Mostly the kernel has the page, and to hand the work to another thread takes longer than it does.
bool VhdxImage::prepare_at_once(std::uint64_t offset) {
    const std::unique_lock turn{turn_, std::try_to_lock};
    if (!turn.owns_lock())
        return false;
    const std::uint64_t entry = entry_offset(shape_.payload_entry(shape_.block_at(offset)));
    const std::uint64_t page = entry / log_sector_size * log_sector_size;
    std::array<std::byte, log_sector_size> bytes;
    if (has_page(page) || !store().read_at_once(page, bytes))
        return false;
    insert_page(page, bytes);
    return true;
}

bool VhdxImage::has_page(std::uint64_t offset) {
    const std::lock_guard lock{state_};
    return cache_.find(offset) != nullptr;
}

// Nobody else has brought it in since it was looked for: this is our turn.
void VhdxImage::insert_page(std::uint64_t offset, std::span<std::byte> bytes) {
    replay_.lay_over(offset, bytes);
    const std::lock_guard lock{state_};
    cache_.insert(offset, bytes);
}

Result<void> VhdxImage::load_page(std::uint64_t offset) {
    offset = offset / log_sector_size * log_sector_size;
    if (has_page(offset))
        return {};
    std::array<std::byte, log_sector_size> bytes;
    CROFT_DISK_TRY(store().read(offset, bytes));
    insert_page(offset, bytes);
    return {};
}

Result<std::uint64_t> VhdxImage::checked_entry(std::uint64_t index) {
    CROFT_DISK_TRY(load_page(entry_offset(index)));
    const std::lock_guard lock{state_};
    const std::uint64_t entry = entry_at(*entry_page(index), index);
    if (std::string defect = entry_defect(index, entry); !defect.empty())
        return std::unexpected(
            Error::corrupt(store().name(), entry_offset(index), std::move(defect)));
    return entry;
}

Result<void> VhdxImage::load_for(std::uint64_t block, std::uint64_t offset, Access access) {
    const auto entry = checked_entry(shape_.payload_entry(block));
    if (!entry)
        return std::unexpected(entry.error());
    if (!shape_.differencing)
        return {};
    const auto state = static_cast<BlockState>(bat_state(*entry));
    if (state == BlockState::partially_present ||
        (access == Access::write && state == BlockState::not_present))
        return load_bitmap(block, offset, state);
    return {};
}

Result<void> VhdxImage::load_bitmap(std::uint64_t block, std::uint64_t offset, BlockState state) {
    const std::uint64_t index = shape_.bitmap_entry(block);
    const auto entry = checked_entry(index);
    if (!entry)
        return std::unexpected(entry.error());
    if (bat_offset(*entry) == 0) {
        if (state == BlockState::partially_present)
            return std::unexpected(Error::corrupt(store().name(), entry_offset(index),
                fmt::format(
                    "block {} is partially present, but its chunk has no sector bitmap", block)));
        return {};
    }
    if (state == BlockState::partially_present)
        return load_page(bat_offset(*entry) + sector_in_chunk(offset) / 8);
    // All bits of the block are going to be looked at.
    const std::uint64_t first = sector_in_chunk(block * shape_.block_size) / 8;
    const std::uint64_t end = first + shape_.block_size / shape_.sector_size / 8;
    for (std::uint64_t at = first; at < end; at += log_sector_size)
        CROFT_DISK_TRY(load_page(bat_offset(*entry) + at));
    return {};
}

Result<void> VhdxImage::writable() const {
    if (info().read_only)
        return std::unexpected(
            Error::of(ErrorCode::read_only, store().name(), "the file was opened for reading"));
    return {};
}

// [MS-VHDX] 2.2.2: before the first change of anything else the file has a new FileWriteGuid, and
// before the first change of what the disk's user sees a new DataWriteGuid; by the latter the
// children of the disk know it, so nothing else may change it.
Result<void> VhdxImage::begin(Changes changes) {
    if (changing_ || (writing_ && changes == Changes::file))
        return {};
    CROFT_DISK_TRY(writable());
    Header header = headers_.current();
    if (!writing_)
        header.file_write_guid = Guid::random();
    if (changes == Changes::contents)
        header.data_write_guid = next_data_write_guid_.value_or(Guid::random());
    if (writing_)
        CROFT_DISK_TRY(store().order());
    else
        CROFT_DISK_TRY(find_end());
    CROFT_DISK_TRY(headers_.update(store(), header));
    CROFT_DISK_TRY(store().flush());
    const std::lock_guard lock{state_};
    writing_ = true;
    changing_ = changes == Changes::contents;
    return {};
}

// At the first commit that needs it: what only writes payload in its place has no use for a log. It
// holds an entry before the header names it.
Result<void> VhdxImage::start_log(std::uint64_t end) {
    if (logging_)
        return {};
    Header header = headers_.current();
    header.log_guid = Guid::random();
    log_ = LogWriter{header, header.log_guid};
    CROFT_DISK_TRY(log_.write(store(), {}, store().size(), end));
    CROFT_DISK_TRY(store().order());
    CROFT_DISK_TRY(headers_.update(store(), header));
    CROFT_DISK_TRY(store().order());
    logging_ = true;
    return {};
}

// In a file, everything is before its end. A device doesn't tell how much of it is in use, and what
// is beyond that is no zeros.
Result<void> VhdxImage::find_end() {
    std::uint64_t end = (store().size() + mebibyte - 1) / mebibyte * mebibyte;
    if (store().traits().block_device) {
        end = log_place_.offset + log_place_.length;
        for (const Regions::Region& region : regions_.all)
            end = std::max(end, region.offset + region.length);
        std::vector<std::uint64_t> entries(64 * kibibyte);
        const std::uint64_t count = shape_.entries(size());
        for (std::uint64_t first = 0; first < count; first += entries.size()) {
            const auto some =
                std::span{entries}.first(std::min<std::uint64_t>(entries.size(), count - first));
            CROFT_DISK_TRY(read_entries_in_turn(first, some));
            for (std::size_t i = 0; i < some.size(); ++i) {
                const bool bitmap = shape_.is_bitmap(first + i);
                if (bat_state(some[i]) >= 6)
                    end = std::max(end,
                        bat_offset(some[i]) + (bitmap ? bitmap_block_size : shape_.block_size));
            }
        }
        end = std::min(end, store().size());
    }
    const std::lock_guard lock{state_};
    // Not a new Space: reads that began earlier hold tickets of this one.
    space_.set_end(end);
    space_.set_limit(end);
    return {};
}

// What only gives room up needs none in the file, and works on a file system that is full.
Result<void> VhdxImage::make_page_room() {
    bool pages = false;
    {
        const std::lock_guard lock{state_};
        pages = cache_.has_room(update_claim_max);
    }
    if (pages)
        return {};
    CROFT_DISK_TRY(commit());
    return all_in_place_ ? Result<void>{} : not_in_place();
}

Result<void> VhdxImage::not_in_place() const {
    return std::unexpected(Error::of(ErrorCode::io, store().name(),
        "changes of metadata are durable in the log, but can't be written to their places"));
}

// Pages that are pinned by writes become free when those are over; no new ones come in meanwhile.
Result<void> VhdxImage::set_aside_pages(std::size_t pages) {
    {
        const std::lock_guard lock{state_};
        if (pages > cache_.dirty_limit())
            return std::unexpected(Error::of(ErrorCode::no_space, store().name(),
                fmt::format("the log is too small for a change of {} pages", pages)));
        cache_.set_aside(pages);
    }
    Result<void> outcome;
    while (outcome) {
        {
            std::unique_lock lock{state_};
            room_.wait(lock, [this] { return cache_.fits() || cache_.any_dirty(); });
            if (cache_.fits())
                return {};
        }
        outcome = commit();
        if (outcome && !all_in_place_)
            outcome = not_in_place();
    }
    const std::lock_guard lock{state_};
    cache_.take_back(pages);
    return outcome;
}

Result<void> VhdxImage::make_room() {
    bool blocks = false;
    std::uint64_t end = 0;
    const auto look = [&] {
        const std::lock_guard lock{state_};
        end = space_.end();
        // A block, and maybe the bitmap of its chunk, which has to be new room.
        blocks = shape_.differencing ? space_.limit() - end >= shape_.block_size + bitmap_block_size
                                     : space_.has_room(shape_.block_size);
    };
    CROFT_DISK_TRY(make_page_room());
    look();
    if (blocks)
        return {};
    recycle(Space::few);
    look();
    if (blocks)
        return {};
    const std::uint64_t needed = end + shape_.block_size + bitmap_block_size;
    const std::uint64_t limit = store().traits().block_device
        ? std::max(needed, std::min(space_.limit() + growth, store().size() / mebibyte * mebibyte))
        : std::max(needed, store().size() + growth) / mebibyte * mebibyte;
    CROFT_DISK_TRY(store().resize(limit));
    if (store().traits().block_device) // what a device held before is no zeros
        CROFT_DISK_TRY(store().zero(space_.limit(), limit - space_.limit()));
    const std::lock_guard lock{state_};
    space_.set_limit(limit);
    return {};
}

// Blocks that were given up, whose giving up is durable, and which no I/O can reach: zeros again. A
// sector bitmap's pages in memory are of its old place; nobody holds one of them any more.
void VhdxImage::recycle(std::size_t most) {
    std::vector<Store::Range> ranges;
    {
        const std::lock_guard lock{state_};
        ranges = space_.collect(most);
    }
    const bool zeroed = std::ranges::all_of(ranges, [this](const Store::Range& range) {
        return store().zero(range.offset, range.length).has_value();
    });
    const std::lock_guard lock{state_};
    if (!zeroed) {
        space_.commit_done(std::move(ranges), true); // and once more, later
        return;
    }
    for (const Store::Range& range : ranges) {
        if (shape_.differencing && range.length == bitmap_block_size)
            cache_.drop(range.offset, range.length);
    }
    space_.reuse(ranges);
}

Result<void> VhdxImage::flush() {
    const std::lock_guard turn{turn_};
    if (info().read_only)
        return {};
    CROFT_DISK_TRY(commit());
    if (store().traits().zero_gives_back)
        recycle(Space::all);
    return {};
}

// Payload first, so that nothing durable points to what is not; then all changed pages in one log
// entry; then the pages in their places, which the next commit's first flush makes durable before
// the log lets go of them.
Result<void> VhdxImage::commit() {
    std::vector<Page*> pages;
    std::vector<Store::Range> given_up;
    std::vector<std::byte> copy;
    std::uint64_t end = 0;
    {
        const std::lock_guard lock{state_};
        pages = cache_.begin_commit();
        given_up = space_.begin_commit();
        end = space_.end();
        copy.reserve(pages.size() * log_sector_size);
        for (const Page* page : pages)
            copy.insert(copy.end(), page->bytes().begin(), page->bytes().end());
    }
    const auto done = [&](bool durable, bool in_place) {
        const std::lock_guard lock{state_};
        cache_.commit_done(pages, in_place);
        space_.commit_done(std::move(given_up), durable);
    };
    std::vector<LogWriter::Page> logged;
    for (std::size_t i = 0; i < pages.size(); ++i)
        logged.push_back(
            {pages[i]->offset(), std::span{copy}.subspan(i * log_sector_size, log_sector_size)});
    Result<void> outcome = pages.empty() ? store().flush() : store().order();
    if (outcome && !pages.empty())
        outcome = start_log(end);
    if (outcome && !pages.empty())
        outcome = log_.write(store(), logged, store().size(), end);
    if (outcome && !pages.empty())
        outcome = store().order();
    if (!outcome) {
        done(false, false);
        return outcome;
    }
    bool in_place = true;
    for (const LogWriter::Page& page : logged)
        in_place &= store().write(page.file_offset, page.bytes).has_value();
    // What did not reach its place is still durable in the log, and goes into the next entry.
    done(true, in_place);
    all_in_place_ = in_place;
    return {};
}

// Before the log is given up, or pages are read behind the cache: nothing may live in the log
// alone.
Result<void> VhdxImage::commit_in_place() {
    for (int attempt = 0; attempt < 2; ++attempt) {
        CROFT_DISK_TRY(commit());
        if (all_in_place_)
            return {};
    }
    return not_in_place();
}

void VhdxImage::exchange(Change& change) {
    std::span bytes{change.bytes};
    for (std::uint64_t at = change.offset; !bytes.empty();) {
        const std::uint64_t within = at % log_sector_size;
        const auto step = static_cast<std::size_t>(
            std::min<std::uint64_t>(bytes.size(), log_sector_size - within));
        Page& page = *cache_.find(at - within);
        std::ranges::swap_ranges(bytes.first(step), page.bytes().subspan(within));
        cache_.mark_dirty(page);
        at += step;
        bytes = bytes.subspan(step);
    }
}

// No commit comes in between: all of it is in one log entry.
Result<void> VhdxImage::change(std::span<Change> changes) {
    std::size_t pages = 0;
    for (const Change& change : changes) {
        const std::uint64_t end = change.offset + change.bytes.size();
        for (std::uint64_t at = change.offset / log_sector_size * log_sector_size; at < end;
             at += log_sector_size, ++pages)
            CROFT_DISK_TRY(load_page(at));
    }
    CROFT_DISK_TRY(set_aside_pages(pages));
    const std::lock_guard lock{state_};
    for (Change& change : changes)
        exchange(change);
    cache_.take_back(pages);
    return {};
}

// What could not be made durable is undone, or a later commit would make it so behind our back. The
// pages are in memory still, since they are dirty.
Result<void> VhdxImage::commit_change(std::span<Change> changes) {
    CROFT_DISK_TRY(change(changes));
    Result<void> outcome = commit();
    if (outcome)
        return outcome;
    const std::lock_guard lock{state_};
    for (Change& change : changes)
        exchange(change);
    return outcome;
}

Result<void> VhdxImage::discard(
    std::uint64_t offset, std::uint64_t length, std::vector<Store::Range>& skipped) {
    const std::lock_guard turn{turn_};
    CROFT_DISK_TRY(writable());
    const std::uint64_t block_size = shape_.block_size;
    const std::uint64_t end = offset + length;
    const std::uint64_t first = (offset + block_size - 1) / block_size;
    const std::uint64_t last = end == size() ? shape_.blocks(end) : end / block_size;
    if (metadata_.fixed || first >= last) {
        skipped.push_back({offset, length});
        return {};
    }
    if (first * block_size > offset)
        skipped.push_back({offset, first * block_size - offset});
    for (std::uint64_t block = first; block < last; ++block)
        CROFT_DISK_TRY(forget_block(block));
    if (last * block_size < end)
        skipped.push_back({last * block_size, end - last * block_size});
    return {};
}

Result<void> VhdxImage::forget_block(std::uint64_t block) {
    const std::uint64_t index = shape_.payload_entry(block);
    const auto entry = checked_entry(index);
    if (!entry)
        return std::unexpected(entry.error());
    const auto state = static_cast<BlockState>(bat_state(*entry));
    const bool is_empty = state != BlockState::fully_present &&
        state != BlockState::partially_present &&
        (state != BlockState::not_present || !shape_.differencing);
    if (is_empty)
        return {};
    CROFT_DISK_TRY(begin(Changes::contents));
    CROFT_DISK_TRY(set_aside_pages(1));
    const std::lock_guard lock{state_};
    cache_.take_back(1);
    Page& page = *entry_page(index);
    // The block may have been written since it was looked at: what counts is what is there now.
    const std::uint64_t now = entry_at(page, index);
    if (bat_state(now) == static_cast<std::uint8_t>(BlockState::fully_present) ||
        bat_state(now) == static_cast<std::uint8_t>(BlockState::partially_present))
        space_.give_up({bat_offset(now), shape_.block_size});
    set_entry(page, index, bat_entry(BlockState::zero, 0));
    return {};
}

Result<void> VhdxImage::forget_all() {
    const std::lock_guard turn{turn_};
    CROFT_DISK_TRY(writable());
    if (!shape_.differencing)
        return Image::forget_all();
    // What the disk shows is the parent's by now.
    CROFT_DISK_TRY(begin(Changes::file));
    CROFT_DISK_TRY(clear_blocks(0, size()));
    return commit();
}

Result<void> VhdxImage::read_entries(std::uint64_t first, std::span<std::uint64_t> entries) {
    const std::lock_guard turn{turn_};
    return read_entries_in_turn(first, entries);
}

// As it is now: what is in memory counts.
Result<void> VhdxImage::read_current(std::uint64_t offset, std::span<std::byte> bytes) {
    CROFT_DISK_TRY(store().read(offset, bytes));
    replay_.lay_over(offset, bytes);
    const std::lock_guard lock{state_};
    for (std::uint64_t at = 0; at < bytes.size();) {
        const std::uint64_t within = (offset + at) % log_sector_size;
        const std::uint64_t step = std::min(bytes.size() - at, log_sector_size - within);
        if (const Page* page = cache_.find(offset + at - within))
            std::ranges::copy(page->bytes().subspan(within, step), bytes.subspan(at).begin());
        at += step;
    }
    return {};
}

Result<void> VhdxImage::read_entries_in_turn(
    std::uint64_t first, std::span<std::uint64_t> entries) {
    CROFT_DISK_TRY(read_current(entry_offset(first), std::as_writable_bytes(entries)));
    for (std::uint64_t& entry : entries)
        entry = load<Little<std::uint64_t>>(bytes_of(entry));
    return {};
}

} // namespace croft::disk::vhdx
