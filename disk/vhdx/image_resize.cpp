// SPDX-License-Identifier: Apache-2.0
#include "disk/vhdx/image.hpp"

#include <algorithm>
#include <fmt/format.h>

// Changes to the shape of an open VHDX file: its size and its parent.
namespace croft::disk::vhdx {

Result<void> VhdxImage::resize(std::uint64_t new_size) {
    const std::lock_guard turn{turn_};
    CROFT_DISK_TRY(writable());
    if (new_size == 0 || new_size > disk_size_max || new_size % shape_.sector_size != 0)
        return std::unexpected(Error::of(ErrorCode::invalid_argument, store().name(),
            fmt::format("size: found {}, expected a multiple of {} up to 64 TiB", new_size,
                shape_.sector_size)));
    if (new_size == size())
        return {};
    CROFT_DISK_TRY(begin(Changes::contents));
    return new_size > size() ? grow(new_size) : shrink(new_size);
}

// The new part is made ready while nobody sees it; one step makes it visible.
Result<void> VhdxImage::grow(std::uint64_t new_size) {
    if (const std::uint64_t length = shape_.region_length(new_size); length > regions_.bat.length)
        CROFT_DISK_TRY(move_bat(length));
    CROFT_DISK_TRY(zero_tail(size()));
    CROFT_DISK_TRY(clear_blocks(shape_.blocks(size()), new_size));
    if (metadata_.fixed)
        CROFT_DISK_TRY(allocate_blocks(shape_.blocks(size()), shape_.blocks(new_size)));
    CROFT_DISK_TRY(commit());
    return store_size(new_size);
}

Result<void> VhdxImage::store_size(std::uint64_t size) {
    std::array changes{change_to(metadata_.disk_size_offset, Little<std::uint64_t>{size})};
    CROFT_DISK_TRY(commit_change(changes));
    set_size(size);
    return {};
}

// First the size, then the blocks beyond it: a power cut in between leaves room that nobody uses,
// which is no damage.
Result<void> VhdxImage::shrink(std::uint64_t new_size) {
    const std::uint64_t old_size = size();
    CROFT_DISK_TRY(store_size(new_size));
    CROFT_DISK_TRY(clear_blocks(shape_.blocks(new_size), old_size));
    CROFT_DISK_TRY(commit());
    if (store().traits().zero_gives_back)
        recycle(Space::all);
    return {};
}

// Empties the entries of the blocks from `first` on, of a disk of that size, and gives up what they
// point to. A chunk's sector bitmap goes with the last of its blocks; its entry comes after theirs,
// so that no power cut leaves a block without it.
Result<void> VhdxImage::clear_blocks(std::uint64_t first, std::uint64_t disk_size) {
    std::vector<std::uint64_t> entries(64 * kibibyte);
    const std::uint64_t end = shape_.entries(disk_size);
    for (std::uint64_t from = shape_.payload_entry(first); from < end; from += entries.size()) {
        const auto some =
            std::span{entries}.first(std::min<std::uint64_t>(entries.size(), end - from));
        CROFT_DISK_TRY(read_entries_in_turn(from, some));
        for (std::size_t i = 0; i < some.size(); ++i) {
            const std::uint64_t index = from + i;
            const bool is_bitmap = shape_.is_bitmap(index);
            if (some[i] == 0 || (is_bitmap && shape_.first_block(index) < first))
                continue;
            CROFT_DISK_TRY(change(change_to(entry_offset(index), Little<std::uint64_t>{0})));
            if (bat_state(some[i]) < 6 || !entry_valid(index, some[i]))
                continue;
            const std::lock_guard lock{state_};
            space_.give_up(
                {bat_offset(some[i]), is_bitmap ? bitmap_block_size : shape_.block_size});
        }
    }
    return {};
}

// Gives every block its room, as a fixed disk has it.
Result<void> VhdxImage::allocate_blocks(std::uint64_t first, std::uint64_t end) {
    for (std::uint64_t block = first; block < end; ++block) {
        CROFT_DISK_TRY(make_room());
        std::uint64_t place = 0;
        {
            const std::lock_guard lock{state_};
            place = space_.take(shape_.block_size).value();
        }
        CROFT_DISK_TRY(change(change_to(entry_offset(shape_.payload_entry(block)),
            Little<std::uint64_t>{bat_entry(BlockState::fully_present, place)})));
    }
    return {};
}

// What the last block holds beyond the end of the disk must not come to light.
Result<void> VhdxImage::zero_tail(std::uint64_t from) {
    const std::uint64_t within = from % shape_.block_size;
    if (within == 0)
        return {};
    const auto entry = checked_entry(shape_.payload_entry(from / shape_.block_size));
    if (!entry)
        return std::unexpected(entry.error());
    if (bat_state(*entry) < 6)
        return {};
    return store().zero(bat_offset(*entry) + within, shape_.block_size - within);
}

// Moves the block allocation table to the end of the file, with room for `length` bytes.
Result<void> VhdxImage::move_bat(std::uint64_t length) {
    if (length > 0xffffffff / mebibyte * mebibyte)
        return std::unexpected(Error::of(ErrorCode::invalid_argument, store().name(),
            "the block allocation table would not fit its region; larger blocks are needed"));
    {
        const std::lock_guard lock{state_};
        frozen_ = true;
    }
    const Result<void> moved = move_frozen_bat(length);
    const std::lock_guard lock{state_};
    frozen_ = false;
    return moved;
}

Result<void> VhdxImage::move_frozen_bat(std::uint64_t length) {
    CROFT_DISK_TRY(commit_in_place());
    const Regions::Region old = regions_.bat;
    const std::uint64_t place = space_.end();
    CROFT_DISK_TRY(store().resize(std::max(store().size(), place + length)));
    CROFT_DISK_TRY(store().zero(place, length));
    std::vector<std::byte> bytes(mebibyte);
    for (std::uint64_t done = 0; done < old.length; done += bytes.size()) {
        CROFT_DISK_TRY(store().read(old.offset + done, bytes));
        CROFT_DISK_TRY(store().write(place + done, bytes));
    }
    {
        const std::lock_guard lock{state_};
        space_.set_end(place + length);
        space_.set_limit(std::max(space_.limit(), store().size()));
    }
    CROFT_DISK_TRY(change_region(old.entry, place, static_cast<std::uint32_t>(length)));
    const std::lock_guard lock{state_};
    cache_.drop(old.offset, old.length);
    regions_.bat.offset = place;
    regions_.bat.length = static_cast<std::uint32_t>(length);
    *std::ranges::find(regions_.all, old.entry, &Regions::Region::entry) = regions_.bat;
    space_.give_up({old.offset, old.length});
    return {};
}

// Changes an entry of both region tables, durably, in one step. A damaged one is mended by that.
Result<void> VhdxImage::change_region(
    std::uint32_t index, std::uint64_t offset, std::uint32_t length) {
    std::array<std::vector<std::byte>, region_table_offsets.size()> tables;
    std::vector<std::byte> table;
    for (std::size_t i = 0; i < tables.size(); ++i) {
        tables[i].resize(region_table_size);
        CROFT_DISK_TRY(read_current(region_table_offsets[i], tables[i]));
        if (table.empty() && is_whole_region_table(tables[i]))
            table = tables[i];
    }
    if (table.empty())
        return std::unexpected(Error::corrupt(
            store().name(), region_table_offsets[0], "neither region table is valid"));
    const std::size_t at = sizeof(RegionTableHeader) + index * sizeof(RegionTableEntry);
    auto entry = load<RegionTableEntry>(table, at);
    entry.file_offset = offset;
    entry.length = length;
    save(table, at, entry);
    seal_region_table(table);
    std::vector<Change> changes;
    for (std::size_t i = 0; i < tables.size(); ++i) {
        for (std::size_t page = 0; page < table.size(); page += log_sector_size) {
            const auto now = std::span{table}.subspan(page, log_sector_size);
            if (!std::ranges::equal(now, std::span{tables[i]}.subspan(page, log_sector_size)))
                changes.push_back({region_table_offsets[i] + page, {now.begin(), now.end()}});
        }
    }
    return commit_change(changes);
}

Result<void> VhdxImage::forget_entry(std::uint64_t index) {
    const std::lock_guard turn{turn_};
    CROFT_DISK_TRY(begin(Changes::contents));
    return change(change_to(entry_offset(index), Little<std::uint64_t>{0}));
}

Result<void> VhdxImage::mend_region_table(std::uint64_t offset, std::span<const std::byte> table) {
    const std::lock_guard turn{turn_};
    CROFT_DISK_TRY(begin(Changes::file));
    CROFT_DISK_TRY(commit_in_place());
    CROFT_DISK_TRY(store().write(offset, table));
    const std::lock_guard lock{state_};
    cache_.drop(offset, table.size());
    return {};
}

// The contents stay as they are: who gives a disk another parent sees to that.
Result<void> VhdxImage::set_parent_locator(
    const std::vector<std::pair<std::string, std::string>>& pairs) {
    const std::lock_guard turn{turn_};
    const std::vector<std::byte> item = make_parent_locator(pairs);
    CROFT_DISK_TRY(begin(Changes::file));
    std::vector<std::byte> table(metadata_table_size);
    CROFT_DISK_TRY(read_current(regions_.metadata.offset, table));
    const auto header = load<MetadataTableHeader>(table);
    std::uint64_t place = metadata_table_size;
    std::size_t own = 0;
    for (std::size_t i = 0; i < header.entry_count; ++i) {
        const std::size_t at = sizeof header + i * sizeof(MetadataTableEntry);
        const auto entry = load<MetadataTableEntry>(table, at);
        if (entry.item_id == parent_locator_item)
            own = at;
        else
            place = std::max<std::uint64_t>(place, entry.offset + entry.length);
    }
    if (own == 0)
        return std::unexpected(
            Error::of(ErrorCode::invalid_argument, store().name(), "not a differencing disk"));
    auto entry = load<MetadataTableEntry>(table, own);
    // Beside the old one, which counts until the table names the new one.
    place = (place + 7) / 8 * 8;
    const std::uint64_t own_end = std::uint64_t{entry.offset} + entry.length;
    if (place < own_end && entry.offset < place + item.size())
        place = (own_end + 7) / 8 * 8;
    if (place + item.size() > regions_.metadata.length)
        return std::unexpected(Error::of(ErrorCode::no_space, store().name(),
            "the metadata region has no room for the parent locator"));
    for (std::size_t done = 0; done < item.size();) {
        const auto piece = std::span{item}.subspan(
            done, std::min<std::size_t>(item.size() - done, log_sector_size));
        CROFT_DISK_TRY(
            change({regions_.metadata.offset + place + done, {piece.begin(), piece.end()}}));
        done += piece.size();
    }
    entry.offset = static_cast<std::uint32_t>(place);
    entry.length = static_cast<std::uint32_t>(item.size());
    std::array changes{change_to(regions_.metadata.offset + own, entry)};
    CROFT_DISK_TRY(commit_change(changes));
    metadata_.parent_locator = pairs;
    return {};
}

} // namespace croft::disk::vhdx
