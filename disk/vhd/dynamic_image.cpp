// SPDX-License-Identifier: Apache-2.0
#include "disk/vhd/dynamic_image.hpp"

#include "disk/vhd/create.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace croft::disk::vhd {

namespace {

constexpr std::uint64_t page_mask = sector_size - 1;
constexpr std::uint64_t bits_per_page = std::uint64_t{sector_size} * 8;
// The file grows in steps of this size, since the footer moves each time.
constexpr std::uint64_t growth = 64U << 20U;
constexpr std::uint64_t aligned_block_min = 2U << 20U;

// The first sector of a byte of the bitmap has its highest bit.
std::byte mask_of(std::uint64_t bit) {
    return std::byte{0x80} >> static_cast<int>(bit % 8);
}

bool bit_at(std::span<const std::byte> bytes, std::uint64_t bit) {
    return (bytes[bit / 8] & mask_of(bit)) != std::byte{0};
}

std::uint64_t run_of_bits(
    std::span<const std::byte> bytes, std::uint64_t first, std::uint64_t limit) {
    const bool value = bit_at(bytes, first);
    std::uint64_t run = 1;
    while (run < limit && bit_at(bytes, first + run) == value)
        ++run;
    return run;
}

bool set_run_of_bits(std::span<std::byte> bytes, std::uint64_t first, std::uint64_t count) {
    bool changed = false;
    for (std::uint64_t bit = first; bit < first + count; ++bit) {
        changed |= !bit_at(bytes, bit);
        bytes[bit / 8] |= mask_of(bit);
    }
    return changed;
}

} // namespace

Extent DynamicImage::find(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t block = offset / block_size_;
    Extent extent{
        Extent::Where::absent, offset, std::min(length, block_size_ - offset % block_size_)};
    const std::lock_guard lock{state_};
    const Page* page = entry_page(block);
    if (page == nullptr)
        return extent;
    const std::uint32_t entry = entry_at(*page, block);
    if (!entry_valid(entry))
        return extent; // prepare() tells what is wrong
    if (entry == unused_block) {
        extent.where = differencing_ ? Extent::Where::parent : Extent::Where::zero;
        for (std::uint64_t next = block + 1; extent.length < length; ++next) {
            if ((entry_offset(next) & ~page_mask) != page->offset() ||
                entry_at(*page, next) != unused_block)
                break;
            extent.length += std::min(length - extent.length, block_size_);
        }
        return extent;
    }
    if (differencing_) {
        const Page* bits = cache_.find(bitmap_page(entry, offset));
        if (bits == nullptr)
            return extent;
        const std::uint64_t first = offset % block_size_ / sector_size % bits_per_page;
        const std::uint64_t limit = std::min(extent.length / sector_size, bits_per_page - first);
        extent.length = run_of_bits(bits->bytes(), first, limit) * sector_size;
        if (!bit_at(bits->bytes(), first)) {
            extent.where = Extent::Where::parent;
            return extent;
        }
    }
    extent.where = Extent::Where::data;
    extent.store_offset = data_place(entry, offset);
    extent.ticket = space_.enter();
    return extent;
}

Extent DynamicImage::reserve(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t block = offset / block_size_;
    Extent extent{
        Extent::Where::absent, offset, std::min(length, block_size_ - offset % block_size_)};
    const std::lock_guard lock{state_};
    Page* page = entry_page(block);
    if (!writing_ || frozen_ || page == nullptr)
        return extent;
    if (entry_at(*page, block) == unused_block && !allocate(*page, block))
        return extent;
    const std::uint32_t entry = entry_at(*page, block);
    if (!entry_valid(entry))
        return extent;
    if (differencing_) {
        Page* bits = cache_.find(bitmap_page(entry, offset));
        if (bits == nullptr || !cache_.may_dirty(*bits))
            return extent;
        const std::uint64_t first = offset % block_size_ / sector_size % bits_per_page;
        extent.length = std::min(extent.length, (bits_per_page - first) * sector_size);
        extent.pin = bits;
        cache_.pin(*bits);
    }
    extent.where = Extent::Where::data;
    extent.store_offset = data_place(entry, offset);
    extent.ticket = space_.enter();
    return extent;
}

// A new block has its bitmap in memory from the start: all sectors of a dynamic disk are its own,
// none yet of a differencing one.
bool DynamicImage::allocate(Page& page, std::uint64_t block) {
    const std::size_t bitmap_pages = bitmap_length_ / sector_size;
    if (!cache_.has_room(bitmap_pages + 1))
        return false;
    const auto place = space_.take(stored_block_length());
    if (!place)
        return false;
    const std::array<std::byte, sector_size> none{};
    for (std::size_t i = 0; i < bitmap_pages; ++i) {
        const std::uint64_t at = *place + i * sector_size;
        Page* bits = cache_.find(at);
        if (bits == nullptr)
            bits = &cache_.insert(at, none);
        std::ranges::fill(bits->bytes(), differencing_ ? std::byte{0} : std::byte{0xff});
        cache_.mark_dirty(*bits);
    }
    save(page.bytes(), entry_offset(block) & page_mask,
        Big<std::uint32_t>{static_cast<std::uint32_t>(*place / sector_size)});
    cache_.mark_dirty(page);
    return true;
}

void DynamicImage::finish(const Extent& extent, Outcome outcome) {
    const std::lock_guard lock{state_};
    if (extent.where != Extent::Where::data)
        return;
    if (extent.pin != nullptr) {
        auto& page = *static_cast<Page*>(extent.pin);
        const std::uint64_t first = extent.offset % block_size_ / sector_size % bits_per_page;
        if (outcome == Outcome::was_written &&
            set_run_of_bits(page.bytes(), first, extent.length / sector_size))
            cache_.mark_dirty(page);
        cache_.unpin(page);
    }
    space_.leave(extent.ticket);
}

std::uint64_t DynamicImage::entry_offset(std::uint64_t block) const {
    return table_offset_ + block * sizeof(std::uint32_t);
}

DynamicImage::Page* DynamicImage::entry_page(std::uint64_t block) {
    return cache_.find(entry_offset(block) & ~page_mask);
}

std::uint32_t DynamicImage::entry_at(const Page& page, std::uint64_t block) const {
    return load<Big<std::uint32_t>>(page.bytes(), entry_offset(block) & page_mask);
}

std::uint64_t DynamicImage::bitmap_page(std::uint32_t entry, std::uint64_t offset) const {
    return std::uint64_t{entry} * sector_size +
        offset % block_size_ / sector_size / bits_per_page * sector_size;
}

std::uint64_t DynamicImage::data_place(std::uint32_t entry, std::uint64_t offset) const {
    return std::uint64_t{entry} * sector_size + bitmap_length_ + offset % block_size_;
}

std::uint64_t DynamicImage::blocks() const {
    return (size() + block_size_ - 1) / block_size_;
}

bool DynamicImage::entry_valid(std::uint32_t entry) const {
    if (entry == unused_block)
        return true;
    const std::uint64_t offset = std::uint64_t{entry} * sector_size;
    const std::uint64_t end = offset + stored_block_length();
    const auto meets = [&](std::uint64_t start, std::uint64_t length) {
        return offset < start + length && start < end;
    };
    return offset >= sector_size && end <= store().size() &&
        !meets(table_offset_, blocks() * sizeof(std::uint32_t)) &&
        !meets(footer_.data_offset, sizeof(DynamicHeader));
}

std::string DynamicImage::entry_defect(std::uint64_t block, std::uint32_t entry) const {
    if (entry_valid(entry))
        return {};
    return fmt::format("block {}: found offset {}, expected {} bytes within the file of {} bytes, "
                       "apart from its tables",
        block, std::uint64_t{entry} * sector_size, stored_block_length(), store().size());
}

Result<std::unique_ptr<DynamicImage>> DynamicImage::open(
    std::unique_ptr<Store> store, const FoundFooter& found, const Options& options) {
    auto header = read_dynamic_header(*store, found.footer);
    if (!header)
        return std::unexpected(std::move(header).error());
    std::unique_ptr<DynamicImage> image{
        new DynamicImage{std::move(store), found, *header, options}};
    CROFT_DISK_TRY(image->mend_footers());
    // Payload on whole pages of the file: it can then be shared with other files, and no sector of
    // the host is written in part. Of small blocks a full disk would no longer fit the format.
    if (header->block_size >= aligned_block_min)
        image->space_.align(
            payload_alignment, payload_alignment - image->bitmap_length_ % payload_alignment);
    ImageInfo& info = image->mutable_info();
    info.block_size = header->block_size;
    if (!image->differencing_)
        return image;
    info.parent_identities.push_back(header->parent_unique_id.text());
    if (header->parent_time_stamp != 0) // some programs leave it out
        info.parent_modified = host_seconds_of(header->parent_time_stamp);
    auto paths = read_parent_paths(image->store(), *header);
    if (!paths)
        return std::unexpected(std::move(paths).error());
    info.parent_paths = *std::move(paths);
    return image;
}

namespace {

// At least as many pages as one new block of that size dirties, twice: half of all may be dirty.
std::size_t cache_pages(std::size_t wanted, std::uint32_t block_size) {
    const std::size_t needed = 2 * (bitmap_length(block_size) / sector_size + 1);
    return std::max<std::size_t>({wanted, 64, needed});
}

} // namespace

DynamicImage::DynamicImage(std::unique_ptr<Store> store, const FoundFooter& found,
    const DynamicHeader& header, const Options& options)
    : Image{std::move(store)},
      footer_{found.footer},
      header_{header},
      footer_at_end_{found.at_end},
      block_size_{header.block_size},
      bitmap_length_{bitmap_length(header.block_size)},
      cache_{sector_size, cache_pages(options.cache_pages, header.block_size),
          cache_pages(options.cache_pages, header.block_size) / 2},
      space_{found.end_offset, found.end_offset},
      table_offset_{header.table_offset} {
    describe(footer_, mutable_info());
    mutable_info().read_only = this->store().traits().read_only;
    differencing_ = info().allocation == Allocation::differencing;
    set_size(footer_.current_size);
}

// A power cut while the footer was written or moved leaves one at one end of the file only, or an
// older one at the beginning.
Result<void> DynamicImage::mend_footers() {
    const auto copy = read_footer_at(store(), 0);
    if (!copy && copy.error().code != ErrorCode::corrupt)
        return std::unexpected(copy.error());
    if (!copy || copy->unique_id != footer_.unique_id)
        footer_copy_ = FooterCopy::damaged;
    else if (!std::ranges::equal(bytes_of(*copy), bytes_of(footer_)))
        footer_copy_ = FooterCopy::older;
    if (info().read_only || (footer_at_end_ && footer_copy_ == FooterCopy::same))
        return {};
    return write_footers(footer_);
}

Result<void> DynamicImage::prepare(std::uint64_t offset, std::uint64_t length, Access access) {
    static_cast<void>(length); // one step: the first block of the range
    const std::lock_guard turn{turn_};
    const auto entry = checked_entry(offset / block_size_);
    if (!entry)
        return std::unexpected(entry.error());
    if (differencing_ && *entry != unused_block)
        CROFT_DISK_TRY(load_page(bitmap_page(*entry, offset)));
    if (access == Access::read)
        return {};
    CROFT_DISK_TRY(begin_writing());
    return make_room();
}

Result<void> DynamicImage::load_page(std::uint64_t offset) {
    offset &= ~page_mask;
    {
        const std::lock_guard lock{state_};
        if (cache_.find(offset) != nullptr)
            return {};
    }
    std::array<std::byte, sector_size> bytes;
    CROFT_DISK_TRY(store().read(offset, bytes));
    const std::lock_guard lock{state_};
    // A new block's bitmap may have come in meanwhile; what is in memory is newer.
    if (cache_.find(offset) == nullptr)
        cache_.insert(offset, bytes);
    return {};
}

Result<std::uint32_t> DynamicImage::checked_entry(std::uint64_t block) {
    CROFT_DISK_TRY(load_page(entry_offset(block)));
    const std::lock_guard lock{state_};
    const std::uint32_t entry = entry_at(*entry_page(block), block);
    if (std::string defect = entry_defect(block, entry); !defect.empty())
        return std::unexpected(
            Error::corrupt(store().name(), entry_offset(block), std::move(defect)));
    return entry;
}

Result<void> DynamicImage::writable() const {
    if (info().read_only)
        return std::unexpected(
            Error::of(ErrorCode::read_only, store().name(), "the file was opened for reading"));
    return {};
}

Result<void> DynamicImage::begin_writing() {
    if (writing_)
        return {};
    CROFT_DISK_TRY(writable());
    const std::lock_guard lock{state_};
    writing_ = true;
    return {};
}

// What only gives room up needs none in the file, and works on a file system that is full.
Result<void> DynamicImage::make_page_room() {
    bool pages = false;
    {
        const std::lock_guard lock{state_};
        pages = cache_.has_room(bitmap_length_ / sector_size + 1);
    }
    return pages ? Result<void>{} : commit();
}

Result<void> DynamicImage::make_room() {
    bool blocks = false;
    std::uint64_t next = 0;
    const auto look = [&] {
        const std::lock_guard lock{state_};
        blocks = space_.has_room(stored_block_length());
        next = space_.next();
    };
    CROFT_DISK_TRY(make_page_room());
    look();
    if (blocks)
        return {};
    recycle(Space::few);
    look();
    if (blocks)
        return {};
    return extend_to(std::max(next + stored_block_length(), space_.limit() + growth));
}

// The footer is durable at its new place before its old one becomes room for blocks.
Result<void> DynamicImage::extend_to(std::uint64_t limit) {
    const std::uint64_t old_limit = space_.limit();
    if (limit / sector_size >= unused_block)
        return std::unexpected(
            Error::of(ErrorCode::no_space, store().name(), "a VHD file can't grow beyond 2 TiB"));
    CROFT_DISK_TRY(store().write(limit, bytes_of(footer_)));
    CROFT_DISK_TRY(store().order());
    const bool zeroed = store().zero(old_limit, sector_size).has_value();
    const std::lock_guard lock{state_};
    space_.set_limit(limit);
    if (!zeroed) // room has to be zeros: what is before the end of the old footer is left unused
        space_.set_end(old_limit + sector_size);
    return {};
}

// Room for a part of the file that is no block.
Result<std::uint64_t> DynamicImage::take_room(std::uint64_t length) {
    for (;;) {
        std::uint64_t next = 0;
        {
            const std::lock_guard lock{state_};
            if (const auto place = space_.take(length))
                return *place;
            next = space_.next();
        }
        CROFT_DISK_TRY(extend_to(next + length));
    }
}

void DynamicImage::recycle(std::size_t most) {
    std::vector<Store::Range> ranges;
    {
        const std::lock_guard lock{state_};
        ranges = space_.collect(most);
    }
    const bool zeroed = std::ranges::all_of(ranges, [this](const Store::Range& range) {
        return store().zero(range.offset, range.length).has_value();
    });
    const std::lock_guard lock{state_};
    if (zeroed)
        space_.reuse(ranges);
    else
        space_.commit_done(std::move(ranges), true); // and once more, later
}

Result<void> DynamicImage::flush() {
    const std::lock_guard turn{turn_};
    if (info().read_only)
        return {};
    CROFT_DISK_TRY(commit());
    if (store().traits().zero_gives_back)
        recycle(Space::all);
    return {};
}

Result<void> DynamicImage::commit() {
    std::vector<Page*> pages;
    std::vector<Store::Range> given_up;
    std::vector<std::byte> copy;
    {
        const std::lock_guard lock{state_};
        pages = cache_.begin_commit();
        given_up = space_.begin_commit();
        for (const Page* page : pages)
            copy.insert(copy.end(), page->bytes().begin(), page->bytes().end());
    }
    const std::uint64_t table_end =
        table_offset_ + header_.max_table_entries * std::uint64_t{sizeof(std::uint32_t)};
    const auto write_those = [&](bool of_table) -> Result<void> {
        bool any = false;
        for (std::size_t i = 0; i < pages.size(); ++i) {
            const std::uint64_t offset = pages[i]->offset();
            if ((offset >= table_offset_ && offset < table_end) != of_table)
                continue;
            any = true;
            CROFT_DISK_TRY(
                store().write(offset, std::span{copy}.subspan(i * sector_size, sector_size)));
        }
        return any ? store().order() : Result<void>{};
    };
    Result<void> outcome = pages.empty() ? store().flush() : store().order();
    if (outcome)
        outcome = write_those(false);
    if (outcome)
        outcome = write_those(true);
    const std::lock_guard lock{state_};
    cache_.commit_done(pages, outcome.has_value());
    space_.commit_done(std::move(given_up), outcome.has_value());
    return outcome;
}

// A differencing VHD can't say that a block is zeros: its parent would show through.
Result<void> DynamicImage::discard(
    std::uint64_t offset, std::uint64_t length, std::vector<Store::Range>& skipped) {
    const std::lock_guard turn{turn_};
    CROFT_DISK_TRY(writable());
    const std::uint64_t end = offset + length;
    const std::uint64_t first = (offset + block_size_ - 1) / block_size_;
    const std::uint64_t last = end == size() ? blocks() : end / block_size_;
    if (differencing_ || first >= last) {
        skipped.push_back({offset, length});
        return {};
    }
    if (first * block_size_ > offset)
        skipped.push_back({offset, first * block_size_ - offset});
    for (std::uint64_t block = first; block < last; ++block)
        CROFT_DISK_TRY(forget_block(block));
    if (last * block_size_ < end)
        skipped.push_back({last * block_size_, end - last * block_size_});
    return {};
}

Result<void> DynamicImage::forget_block(std::uint64_t block) {
    const auto entry = checked_entry(block);
    if (!entry)
        return std::unexpected(entry.error());
    if (*entry == unused_block)
        return {};
    CROFT_DISK_TRY(begin_writing());
    CROFT_DISK_TRY(make_page_room());
    return change_entry(block, unused_block);
}

Result<void> DynamicImage::forget_all() {
    const std::lock_guard turn{turn_};
    CROFT_DISK_TRY(writable());
    if (!differencing_)
        return Image::forget_all();
    for (std::uint64_t block = 0; block < blocks(); ++block)
        CROFT_DISK_TRY(forget_block(block));
    return commit();
}

Result<void> DynamicImage::change_entry(std::uint64_t block, std::uint32_t entry) {
    CROFT_DISK_TRY(load_page(entry_offset(block)));
    const std::lock_guard lock{state_};
    Page& page = *entry_page(block);
    const std::uint32_t now = entry_at(page, block);
    if (now == entry)
        return {};
    if (now != unused_block && entry_valid(now))
        space_.give_up({std::uint64_t{now} * sector_size, stored_block_length()});
    save(page.bytes(), entry_offset(block) & page_mask, Big<std::uint32_t>{entry});
    cache_.mark_dirty(page);
    return {};
}

Result<void> DynamicImage::read_entries(std::uint64_t first, std::span<std::uint32_t> entries) {
    const std::lock_guard turn{turn_};
    const std::uint64_t start = entry_offset(first);
    const auto bytes = std::as_writable_bytes(entries);
    CROFT_DISK_TRY(store().read(start, bytes));
    {
        const std::lock_guard lock{state_};
        for (std::uint64_t at = 0; at < bytes.size();) {
            const std::uint64_t within = (start + at) & page_mask;
            const std::uint64_t step = std::min(bytes.size() - at, sector_size - within);
            if (const Page* page = cache_.find(start + at - within))
                std::ranges::copy(page->bytes().subspan(within, step), bytes.subspan(at).begin());
            at += step;
        }
    }
    for (std::uint32_t& entry : entries)
        entry = load<Big<std::uint32_t>>(bytes_of(entry));
    return {};
}

Result<void> DynamicImage::close() {
    const std::lock_guard turn{turn_};
    if (!writing_)
        return info().read_only ? Result<void>{} : store().flush();
    CROFT_DISK_TRY(commit());
    if (store().traits().zero_gives_back)
        recycle(Space::all); // what is given up takes no room in the closed file
    if (space_.end() == space_.limit() && footer_torn_)
        CROFT_DISK_TRY(store().write(space_.limit(), bytes_of(footer_)));
    if (space_.end() < space_.limit() && !store().traits().block_device) {
        CROFT_DISK_TRY(store().write(space_.end(), bytes_of(footer_)));
        CROFT_DISK_TRY(store().order());
        CROFT_DISK_TRY(store().resize(space_.end() + sector_size));
    }
    const std::lock_guard lock{state_};
    writing_ = false;
    return {};
}

} // namespace croft::disk::vhd
