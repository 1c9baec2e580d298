// SPDX-License-Identifier: Apache-2.0
#include "disk/vhd/create.hpp"
#include "disk/vhd/dynamic_image.hpp"

#include "disk/utf16.hpp"

#include <algorithm>

// Changes to the shape of an open dynamic VHD: its size and its parent. What has to change in one
// step is within one sector each time.
namespace croft::disk::vhd {

Result<void> DynamicImage::resize(std::uint64_t new_size) {
    const std::lock_guard turn{turn_};
    CROFT_DISK_TRY(writable());
    CROFT_DISK_TRY(check_size(store().name(), new_size));
    if (new_size == size())
        return {};
    CROFT_DISK_TRY(begin_writing());
    const std::uint64_t old_blocks = blocks();
    if (new_size > size())
        CROFT_DISK_TRY(grow(new_size));
    Footer footer = footer_;
    footer.current_size = new_size;
    set_geometry(footer);
    CROFT_DISK_TRY(write_footers(sealed(footer)));
    for (std::uint64_t block = blocks(); block < old_blocks; ++block) {
        CROFT_DISK_TRY(make_page_room());
        CROFT_DISK_TRY(change_entry(block, unused_block));
    }
    return commit();
}

Result<void> DynamicImage::grow(std::uint64_t new_size) {
    const std::uint64_t needed = (new_size + block_size_ - 1) / block_size_;
    if (const std::uint64_t within = size() % block_size_; within != 0) {
        // What the last block holds beyond the end of the disk must not come to light.
        const auto entry = checked_entry(size() / block_size_);
        if (!entry)
            return std::unexpected(entry.error());
        if (*entry != unused_block)
            CROFT_DISK_TRY(store().zero(data_place(*entry, size()), block_size_ - within));
    }
    if (needed > header_.max_table_entries) {
        {
            const std::lock_guard lock{state_};
            frozen_ = true;
        }
        const Result<void> moved = move_table(needed);
        const std::lock_guard lock{state_};
        frozen_ = false;
        return moved;
    }
    for (std::uint64_t block = blocks(); block < needed; ++block) {
        CROFT_DISK_TRY(make_page_room());
        CROFT_DISK_TRY(change_entry(block, unused_block));
    }
    return commit();
}

Result<void> DynamicImage::move_table(std::uint64_t entries) {
    CROFT_DISK_TRY(commit());
    const std::uint64_t old_entries = blocks();
    const std::uint64_t length =
        (entries * sizeof(std::uint32_t) + sector_size - 1) / sector_size * sector_size;
    std::vector<std::byte> table(length, std::byte{0xff});
    CROFT_DISK_TRY(
        store().read(table_offset_, std::span{table}.first(old_entries * sizeof(std::uint32_t))));
    const auto place = take_room(length);
    if (!place)
        return std::unexpected(place.error());
    CROFT_DISK_TRY(store().write(*place, table));
    CROFT_DISK_TRY(store().order());
    DynamicHeader header = header_;
    header.table_offset = *place;
    header.max_table_entries = static_cast<std::uint32_t>(entries);
    header = sealed(header);
    // All that changes is in the header's first sector.
    CROFT_DISK_TRY(store().write(footer_.data_offset, bytes_of(header).first(sector_size)));
    CROFT_DISK_TRY(store().order());
    const std::lock_guard lock{state_};
    // Whole sectors, and not one more: a block that follows may have a bitmap in use.
    cache_.drop(table_offset_,
        (old_entries * sizeof(std::uint32_t) + sector_size - 1) / sector_size * sector_size);
    header_ = header;
    table_offset_ = *place;
    return {};
}

// The one at the end counts; the copy follows.
Result<void> DynamicImage::write_footers(Footer footer) {
    footer_torn_ = true;
    CROFT_DISK_TRY(store().write(space_.limit(), bytes_of(footer)));
    CROFT_DISK_TRY(store().order());
    footer_torn_ = false;
    {
        const std::lock_guard lock{state_};
        footer_ = footer;
    }
    set_size(footer.current_size);
    CROFT_DISK_TRY(store().write(0, bytes_of(footer)));
    return store().order();
}

Result<void> DynamicImage::forget_entry(std::uint64_t block) {
    const std::lock_guard turn{turn_};
    CROFT_DISK_TRY(begin_writing());
    CROFT_DISK_TRY(make_page_room());
    CROFT_DISK_TRY(load_page(entry_offset(block)));
    const std::lock_guard lock{state_};
    Page& page = *entry_page(block);
    save(page.bytes(), entry_offset(block) % sector_size, Big<std::uint32_t>{unused_block});
    cache_.mark_dirty(page);
    return {};
}

Result<void> DynamicImage::set_parent(const Guid& id, std::uint32_t time_stamp,
    const std::string& relative_path, const std::string& absolute_path) {
    const std::lock_guard turn{turn_};
    CROFT_DISK_TRY(begin_writing());
    CROFT_DISK_TRY(commit());
    DynamicHeader header = header_;
    header.parent_unique_id = id;
    header.parent_time_stamp = time_stamp;
    header.parent_name = {};
    const std::string& path = absolute_path.empty() ? relative_path : absolute_path;
    const auto wide = utf16_from_utf8(path.substr(path.find_last_of('\\') + 1), true);
    std::ranges::copy(std::span{wide}.first(std::min(wide.size(), header.parent_name.size() - 2)),
        header.parent_name.begin());
    header.parent_locators = {};
    std::size_t slot = 0;
    for (const auto& [platform, text] : {std::pair{platform_relative, &relative_path},
             std::pair{platform_absolute, &absolute_path}}) {
        if (text->empty())
            continue;
        LocatorArea area = make_locator(platform, *text, 0);
        const auto place = take_room(area.bytes.size());
        if (!place)
            return std::unexpected(place.error());
        area.locator.platform_data_offset = *place;
        CROFT_DISK_TRY(store().write(*place, area.bytes));
        header.parent_locators[slot++] = area.locator;
    }
    return replace_header(sealed(header));
}

// The header has two sectors, so it is written anew in another place, and the footer, which has
// one, points to that in one step.
Result<void> DynamicImage::replace_header(const DynamicHeader& header) {
    const auto place = take_room(sizeof header);
    if (!place)
        return std::unexpected(place.error());
    CROFT_DISK_TRY(store().write(*place, bytes_of(header)));
    CROFT_DISK_TRY(store().order());
    Footer footer = footer_;
    footer.data_offset = *place;
    CROFT_DISK_TRY(write_footers(sealed(footer)));
    header_ = header;
    return {};
}

} // namespace croft::disk::vhd
