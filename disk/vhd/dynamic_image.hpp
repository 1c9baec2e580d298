// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/image.hpp"
#include "disk/page_cache.hpp"
#include "disk/space.hpp"
#include "disk/vhd/structures.hpp"

#include <memory>
#include <mutex>
#include <optional>

namespace croft::disk::vhd {

// A dynamic or differencing VHD.
//
// The format has no log. What makes flush() safe is order: payload, then the bitmaps of sectors,
// then the sectors of the block allocation table, each of which is written as a whole; and the
// footer at the end is durable at its new place before the file's old end is used.
class DynamicImage final : public Image {
public:
    struct Options {
        std::size_t cache_pages = 8192; // of 512 bytes, at least 64
    };
    static Result<std::unique_ptr<DynamicImage>> open(
        std::unique_ptr<Store> store, const FoundFooter& found, const Options& options);

    Extent find(std::uint64_t offset, std::uint64_t length) override;
    Extent reserve(std::uint64_t offset, std::uint64_t length) override;
    void finish(const Extent& extent, Outcome outcome) override;
    Result<void> prepare(std::uint64_t offset, std::uint64_t length, Access access) override;
    Result<void> flush() override;
    Result<void> discard(
        std::uint64_t offset, std::uint64_t length, std::vector<Store::Range>& skipped) override;
    Result<void> forget_all() override;
    Result<void> resize(std::uint64_t size) override;
    Result<void> close() override;

    const Footer& footer() const { return footer_; }
    const DynamicHeader& header() const { return header_; }
    // What opening the file for writing has put right, or check() has to tell of: a power cut, or
    // damage, left one of the two footers, or an interruption the older one at the beginning.
    enum class FooterCopy : std::uint8_t { same, older, damaged };
    bool footer_at_end() const { return footer_at_end_; }
    FooterCopy footer_copy() const { return footer_copy_; }

    // Blocking: entries of the block allocation table as they are now, for tools.
    Result<void> read_entries(std::uint64_t first, std::span<std::uint32_t> entries);
    bool entry_valid(std::uint32_t entry) const;
    std::string entry_defect(std::uint64_t block, std::uint32_t entry) const;
    std::uint64_t blocks() const;
    // Bytes that a block takes in the file, with its bitmap.
    std::uint64_t stored_block_length() const { return bitmap_length_ + block_size_; }
    // For repair: a block's entry is emptied, its room is not used again.
    Result<void> forget_entry(std::uint64_t block);
    Result<void> set_parent(const Guid& id, std::uint32_t time_stamp,
        const std::string& relative_path, const std::string& absolute_path);

private:
    using Page = PageCache::Page;

    DynamicImage(std::unique_ptr<Store> store, const FoundFooter& found,
        const DynamicHeader& header, const Options& options);
    Result<void> mend_footers();

    // Under state_.
    Page* entry_page(std::uint64_t block);
    std::uint32_t entry_at(const Page& page, std::uint64_t block) const;
    std::uint64_t entry_offset(std::uint64_t block) const;
    bool allocate(Page& page, std::uint64_t block);
    std::uint64_t bitmap_page(std::uint32_t entry, std::uint64_t offset) const;
    std::uint64_t data_place(std::uint32_t entry, std::uint64_t offset) const;

    // Under turn_, and state_ not held.
    Result<void> load_page(std::uint64_t offset);
    Result<std::uint32_t> checked_entry(std::uint64_t block);
    Result<void> writable() const;
    Result<void> begin_writing();
    Result<void> make_page_room();
    Result<void> make_room();
    void recycle(std::size_t most);
    Result<void> commit();
    Result<void> forget_block(std::uint64_t block);
    Result<void> change_entry(std::uint64_t block, std::uint32_t entry);
    Result<void> grow(std::uint64_t new_size);
    Result<void> move_table(std::uint64_t entries);
    Result<void> write_footers(Footer footer);
    Result<void> replace_header(const DynamicHeader& header);
    Result<void> extend_to(std::uint64_t limit);
    Result<std::uint64_t> take_room(std::uint64_t length);

    Footer footer_;
    DynamicHeader header_{};
    bool footer_at_end_;                        // when the file was opened
    FooterCopy footer_copy_ = FooterCopy::same; // likewise
    bool footer_torn_ = false; // it could not be written, so that what is there is unknown
    std::uint64_t block_size_ = 0;
    std::uint64_t bitmap_length_ = 0;
    bool differencing_ = false;

    std::mutex turn_;  // blocking operations take turns; taken before state_
    std::mutex state_; // guards what follows; never held during I/O
    PageCache cache_;
    Space space_; // its limit is where the footer is
    std::uint64_t table_offset_ = 0;
    bool writing_ = false;
    bool frozen_ = false; // the table is being moved
};

} // namespace croft::disk::vhd
