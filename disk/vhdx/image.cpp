// SPDX-License-Identifier: Apache-2.0
#include "disk/vhdx/image.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fmt/format.h>

namespace croft::disk::vhdx {

namespace {

constexpr std::uint32_t page_size = log_sector_size;
constexpr std::uint64_t page_mask = page_size - 1;
constexpr std::uint64_t bits_per_page = std::uint64_t{page_size} * 8;
// The most pages that one reserve() changes: two of the table, and the bits of a block of 256 MiB.
constexpr std::size_t claim_max = 2 + block_size_max / 512 / bits_per_page;

std::uint64_t page_of(std::uint64_t offset) {
    return offset & ~page_mask;
}

bool bit_at(std::span<const std::byte> bytes, std::uint64_t bit) {
    return (std::to_integer<unsigned>(bytes[bit / 8]) >> (bit % 8) & 1U) != 0;
}

// How many bits from `first` on, `limit` at most, are alike.
std::uint64_t run_of_bits(
    std::span<const std::byte> bytes, std::uint64_t first, std::uint64_t limit) {
    const bool value = bit_at(bytes, first);
    const std::byte whole = value ? std::byte{0xff} : std::byte{0};
    std::uint64_t run = 1;
    while (run < limit) {
        const std::uint64_t bit = first + run;
        if (bit % 8 == 0 && limit - run >= 8 && bytes[bit / 8] == whole)
            run += 8;
        else if (bit_at(bytes, bit) == value)
            ++run;
        else
            break;
    }
    return run;
}

// Sets bits; answers whether any was clear.
bool set_run_of_bits(std::span<std::byte> bytes, std::uint64_t first, std::uint64_t count) {
    bool changed = false;
    for (std::uint64_t bit = first; bit < first + count;) {
        const bool whole = bit % 8 == 0 && first + count - bit >= 8;
        const std::byte mask = whole ? std::byte{0xff} : std::byte{1} << static_cast<int>(bit % 8);
        changed |= (bytes[bit / 8] & mask) != mask;
        bytes[bit / 8] |= mask;
        bit += whole ? 8 : 1;
    }
    return changed;
}

} // namespace

Extent VhdxImage::find(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t block = shape_.block_at(offset);
    const std::uint64_t index = shape_.payload_entry(block);
    Extent extent{Extent::Where::zero, offset,
        std::min(length, shape_.block_size - shape_.within_block(offset))};
    const std::lock_guard lock{state_};
    const Page* page = entry_page(index);
    if (page == nullptr) {
        extent.where = Extent::Where::absent;
        return extent;
    }
    const std::uint64_t entry = entry_at(*page, index);
    if (!payload_valid(entry)) {
        extent.where = Extent::Where::absent; // prepare() tells what is wrong
        return extent;
    }
    switch (static_cast<BlockState>(bat_state(entry))) {
    case BlockState::fully_present:
        extent.where = Extent::Where::data;
        extent.store_offset = bat_offset(entry) + shape_.within_block(offset);
        return extend_data(extent, length, *page, block);
    case BlockState::partially_present:
        return find_partial(extent, block, entry);
    case BlockState::not_present:
        extent.where = shape_.differencing ? Extent::Where::parent : Extent::Where::zero;
        return extend_empty(extent, length, *page, block);
    case BlockState::undefined:
    case BlockState::zero:
    case BlockState::unmapped:
        break;
    }
    return extend_empty(extent, length, *page, block);
}

// Goes on into the blocks that follow without a gap in the file, as far as this page tells.
Extent VhdxImage::extend_data(
    Extent extent, std::uint64_t wanted, const Page& page, std::uint64_t block) {
    std::uint64_t end = extent.store_offset + extent.length;
    while (extent.length < wanted) {
        const std::uint64_t index = shape_.payload_entry(++block);
        if (page_of(entry_offset(index)) != page.offset())
            break;
        const std::uint64_t entry = entry_at(page, index);
        if (entry != bat_entry(BlockState::fully_present, end) || !payload_valid(entry))
            break;
        const std::uint64_t step = std::min(wanted - extent.length, shape_.block_size);
        extent.length += step;
        end += step;
    }
    extent.ticket = space_.enter();
    return extent;
}

// Goes on into the blocks that follow with the same state.
Extent VhdxImage::extend_empty(
    Extent extent, std::uint64_t wanted, const Page& page, std::uint64_t block) {
    const std::uint64_t first = entry_at(page, shape_.payload_entry(block));
    while (extent.length < wanted) {
        const std::uint64_t index = shape_.payload_entry(++block);
        if (page_of(entry_offset(index)) != page.offset() || entry_at(page, index) != first)
            break;
        extent.length += std::min(wanted - extent.length, shape_.block_size);
    }
    return extent;
}

Extent VhdxImage::find_partial(const Extent& asked, std::uint64_t block, std::uint64_t entry) {
    Extent extent = asked;
    extent.where = Extent::Where::absent;
    const std::uint64_t bitmap_index = shape_.bitmap_entry(block);
    const Page* page = entry_page(bitmap_index);
    if (page == nullptr)
        return extent;
    const std::uint64_t bitmap = entry_at(*page, bitmap_index);
    if (!entry_valid(bitmap_index, bitmap) || bat_offset(bitmap) == 0)
        return extent;
    const std::uint64_t sector = sector_in_chunk(extent.offset);
    const Page* bits = cache_.find(page_of(bat_offset(bitmap) + sector / 8));
    if (bits == nullptr)
        return extent;
    const std::uint64_t first = sector % bits_per_page;
    const std::uint64_t limit = std::min(extent.length / shape_.sector_size, bits_per_page - first);
    extent.length = run_of_bits(bits->bytes(), first, limit) * shape_.sector_size;
    extent.where = Extent::Where::parent;
    if (bit_at(bits->bytes(), first)) {
        extent.where = Extent::Where::data;
        extent.store_offset = bat_offset(entry) + shape_.within_block(extent.offset);
        extent.ticket = space_.enter();
    }
    return extent;
}

Extent VhdxImage::reserve(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t block = shape_.block_at(offset);
    const std::uint64_t index = shape_.payload_entry(block);
    Extent extent{Extent::Where::absent, offset,
        std::min(length, shape_.block_size - shape_.within_block(offset))};
    const std::lock_guard lock{state_};
    Page* page = entry_page(index);
    if (!changing_ || frozen_ || page == nullptr)
        return extent;
    std::uint64_t entry = entry_at(*page, index);
    if (!payload_valid(entry))
        return extent;
    const auto allocated = [&entry] {
        const auto state = static_cast<BlockState>(bat_state(entry));
        return state == BlockState::fully_present || state == BlockState::partially_present;
    };
    if (!allocated()) {
        if (!allocate(*page, block, entry))
            return extent;
        entry = entry_at(*page, index);
    }
    if (static_cast<BlockState>(bat_state(entry)) == BlockState::partially_present)
        return reserve_partial(extent, block, entry).value_or(extent);
    extent.where = Extent::Where::data;
    extent.store_offset = bat_offset(entry) + shape_.within_block(offset);
    return extend_data(extent, length, *page, block);
}

bool VhdxImage::allocate(Page& page, std::uint64_t block, std::uint64_t entry) {
    if (!cache_.has_room(claim_max))
        return false;
    if (shape_.differencing && static_cast<BlockState>(bat_state(entry)) == BlockState::not_present)
        return allocate_partial(page, block);
    const auto place = space_.take(shape_.block_size);
    if (!place)
        return false;
    set_entry(page, shape_.payload_entry(block), bat_entry(BlockState::fully_present, *place));
    return true;
}

// A block of which the parent keeps all sectors that are not written: none of its bits may be set.
bool VhdxImage::allocate_partial(Page& page, std::uint64_t block) {
    const std::uint64_t bitmap_index = shape_.bitmap_entry(block);
    Page* bitmap_page = entry_page(bitmap_index);
    if (bitmap_page == nullptr)
        return false;
    const std::uint64_t bitmap = entry_at(*bitmap_page, bitmap_index);
    if (!entry_valid(bitmap_index, bitmap))
        return false;
    if (bat_offset(bitmap) != 0) {
        if (!space_.has_room(shape_.block_size) || !clear_bits(block, bat_offset(bitmap)))
            return false;
    } else {
        if (space_.limit() - space_.end() < shape_.block_size + bitmap_block_size)
            return false;
        const auto place = space_.take(bitmap_block_size);
        set_entry(
            *bitmap_page, bitmap_index, *place | static_cast<std::uint64_t>(BitmapState::present));
    }
    const auto place = space_.take(shape_.block_size);
    set_entry(page, shape_.payload_entry(block), bat_entry(BlockState::partially_present, *place));
    return true;
}

bool VhdxImage::clear_bits(std::uint64_t block, std::uint64_t bitmap_offset) {
    const std::uint64_t first = sector_in_chunk(block * shape_.block_size) / 8;
    const std::uint64_t end = first + shape_.block_size / shape_.sector_size / 8;
    for (const bool only_look : {true, false}) {
        for (std::uint64_t at = first; at < end;) {
            const std::uint64_t within = at & page_mask;
            const std::uint64_t step = std::min(end - at, page_size - within);
            Page* page = cache_.find(bitmap_offset + (at & ~page_mask));
            if (page == nullptr)
                return false;
            const auto bytes = page->bytes().subspan(within, step);
            if (!only_look &&
                std::ranges::any_of(bytes, [](std::byte byte) { return byte != std::byte{0}; })) {
                std::ranges::fill(bytes, std::byte{0});
                cache_.mark_dirty(*page);
            }
            at += step;
        }
    }
    return true;
}

std::optional<Extent> VhdxImage::reserve_partial(
    const Extent& asked, std::uint64_t block, std::uint64_t entry) {
    const std::uint64_t bitmap_index = shape_.bitmap_entry(block);
    const Page* bitmap_page = entry_page(bitmap_index);
    if (bitmap_page == nullptr)
        return std::nullopt;
    const std::uint64_t bitmap = entry_at(*bitmap_page, bitmap_index);
    if (!entry_valid(bitmap_index, bitmap) || bat_offset(bitmap) == 0)
        return std::nullopt;
    const std::uint64_t sector = sector_in_chunk(asked.offset);
    Page* bits = cache_.find(page_of(bat_offset(bitmap) + sector / 8));
    if (bits == nullptr || !cache_.may_dirty(*bits))
        return std::nullopt;
    Extent extent = asked;
    extent.where = Extent::Where::data;
    extent.store_offset = bat_offset(entry) + shape_.within_block(extent.offset);
    extent.length =
        std::min(extent.length, (bits_per_page - sector % bits_per_page) * shape_.sector_size);
    extent.ticket = space_.enter();
    extent.pin = bits;
    cache_.pin(*bits);
    return extent;
}

void VhdxImage::finish(const Extent& extent, Outcome outcome) {
    const std::lock_guard lock{state_};
    if (extent.where != Extent::Where::data)
        return;
    if (extent.pin != nullptr) {
        auto& page = *static_cast<Page*>(extent.pin);
        if (outcome == Outcome::was_written) {
            set_bits(page, extent);
            complete_block(extent);
        }
        cache_.unpin(page);
        room_.notify_one();
    }
    space_.leave(extent.ticket);
}

// The block may have been discarded meanwhile; then nobody looks at its bits any more, since it
// never becomes partially present again.
void VhdxImage::set_bits(Page& page, const Extent& extent) {
    const std::uint64_t first = sector_in_chunk(extent.offset) % bits_per_page;
    if (set_run_of_bits(page.bytes(), first, extent.length / shape_.sector_size))
        cache_.mark_dirty(page);
}

// A block that was written as a whole needs its bits no more.
void VhdxImage::complete_block(const Extent& extent) {
    if (extent.length != shape_.block_size || frozen_)
        return;
    const std::uint64_t index = shape_.payload_entry(shape_.block_at(extent.offset));
    Page* page = entry_page(index);
    if (page == nullptr || !cache_.may_dirty(*page) ||
        entry_at(*page, index) != bat_entry(BlockState::partially_present, extent.store_offset))
        return;
    set_entry(*page, index, bat_entry(BlockState::fully_present, extent.store_offset));
}

std::uint64_t VhdxImage::entry_offset(std::uint64_t index) const {
    return regions_.bat.offset + index * sizeof(std::uint64_t);
}

VhdxImage::Page* VhdxImage::entry_page(std::uint64_t index) {
    return cache_.find(page_of(entry_offset(index)));
}

std::uint64_t VhdxImage::entry_at(const Page& page, std::uint64_t index) const {
    return load<Little<std::uint64_t>>(page.bytes(), entry_offset(index) & page_mask);
}

void VhdxImage::set_entry(Page& page, std::uint64_t index, std::uint64_t entry) {
    save(page.bytes(), entry_offset(index) & page_mask, Little<std::uint64_t>{entry});
    cache_.mark_dirty(page);
}

std::uint64_t VhdxImage::sector_in_chunk(std::uint64_t offset) const {
    return (offset >> std::countr_zero(shape_.sector_size)) % sectors_per_chunk;
}

bool VhdxImage::entry_valid(std::uint64_t index, std::uint64_t entry) const {
    if (!shape_.is_bitmap(index))
        return payload_valid(entry);
    if (bat_state(entry) == 0)
        return bat_offset(entry) == 0;
    return bat_state(entry) == static_cast<std::uint8_t>(BitmapState::present) &&
        place_valid(bat_offset(entry), bitmap_block_size);
}

bool VhdxImage::payload_valid(std::uint64_t entry) const {
    switch (static_cast<BlockState>(bat_state(entry))) {
    case BlockState::not_present:
    case BlockState::undefined:
    case BlockState::zero:
    case BlockState::unmapped:
        return true; // an offset is allowed to stay, and means nothing
    case BlockState::fully_present:
        return place_valid(bat_offset(entry), shape_.block_size);
    case BlockState::partially_present:
        return shape_.differencing && place_valid(bat_offset(entry), shape_.block_size);
    }
    return false;
}

// Within the file, and apart from its tables.
bool VhdxImage::place_valid(std::uint64_t offset, std::uint64_t length) const {
    const std::uint64_t size = store().size();
    if (offset < header_section_size || offset > size || length > size - offset)
        return false;
    const auto meets = [&](std::uint64_t start, std::uint64_t bytes) {
        return offset < start + bytes && start < offset + length;
    };
    return !meets(log_place_.offset, log_place_.length) &&
        std::ranges::none_of(regions_.all,
            [&](const Regions::Region& region) { return meets(region.offset, region.length); });
}

std::string VhdxImage::entry_defect(std::uint64_t index, std::uint64_t entry) const {
    if (entry_valid(index, entry))
        return {};
    return fmt::format("{} {}: found state {} and offset {}, expected {} within the file of {} "
                       "bytes, apart from its tables",
        shape_.is_bitmap(index) ? "sector bitmap" : "block",
        shape_.is_bitmap(index) ? index / (shape_.chunk_ratio() + 1) : shape_.block_of(index),
        bat_state(entry), bat_offset(entry),
        shape_.is_bitmap(index) ? "0 or 6" : "0 to 3, 6, or in a differencing disk 7",
        store().size());
}

} // namespace croft::disk::vhdx
