// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/image.hpp"
#include "disk/page_cache.hpp"
#include "disk/space.hpp"
#include "disk/vhdx/bat.hpp"
#include "disk/vhdx/headers.hpp"
#include "disk/vhdx/log.hpp"
#include "disk/vhdx/metadata.hpp"
#include "disk/vhdx/regions.hpp"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

namespace croft::disk::vhdx {

// An open VHDX file.
//
// Changes to the block allocation table and the sector bitmaps stay in memory until flush(), which
// makes them durable in one step: payload first, then one log entry with all changed pages, then
// the pages in their places. So a fresh disk takes random writes as fast as an allocated one.
class VhdxImage final : public Image {
public:
    struct Options {
        std::size_t cache_pages = 1024; // of 4 KiB, at least 64
    };
    // Writes if the store can. A log in use is replayed, into the file or, read-only, over it.
    static Result<std::unique_ptr<VhdxImage>> open(
        std::unique_ptr<Store> store, const Options& options);
    ~VhdxImage() override;

    Extent find(std::uint64_t offset, std::uint64_t length) override;
    Extent reserve(std::uint64_t offset, std::uint64_t length) override;
    void finish(const Extent& extent, Outcome outcome) override;
    Result<void> prepare(std::uint64_t offset, std::uint64_t length, Access access) override;
    bool prepare_at_once(std::uint64_t offset) override;
    Result<void> flush() override;
    Result<void> discard(
        std::uint64_t offset, std::uint64_t length, std::vector<Store::Range>& skipped) override;
    Result<void> forget_all() override;
    Result<void> resize(std::uint64_t size) override;
    Result<void> close() override;

    const Headers& headers() const { return headers_; }
    const Regions& regions() const { return regions_; }
    const Metadata& metadata() const { return metadata_; }
    const Replay& replay() const { return replay_; }
    const BatShape& shape() const { return shape_; }

    // Blocking: entries of the block allocation table as they are now, for tools.
    Result<void> read_entries(std::uint64_t first, std::span<std::uint64_t> entries);
    // What is wrong with an entry, or nothing.
    std::string entry_defect(std::uint64_t index, std::uint64_t entry) const;
    bool entry_valid(std::uint64_t index, std::uint64_t entry) const;
    // The DataWriteGuid that the first change of the contents gives the file, instead of a random
    // one. For tools that know what becomes of the contents; before that change only.
    void use_data_write_guid(const Guid& guid) { next_data_write_guid_ = guid; }

    // For repair: an entry is emptied, its room is not used again; a region table is written anew.
    Result<void> forget_entry(std::uint64_t index);
    Result<void> mend_region_table(std::uint64_t offset, std::span<const std::byte> table);
    // Replaces the parent locator, in the same step as all that has changed.
    Result<void> set_parent_locator(const std::vector<std::pair<std::string, std::string>>& pairs);

private:
    using Page = PageCache::Page;

    // Bytes of metadata; after change() the ones that were there before.
    struct Change {
        std::uint64_t offset;
        std::vector<std::byte> bytes;
    };
    template <class Structure>
    static Change change_to(std::uint64_t offset, const Structure& structure) {
        const auto bytes = bytes_of(structure);
        return {offset, {bytes.begin(), bytes.end()}};
    }

    VhdxImage(std::unique_ptr<Store> store, const Options& options, std::uint32_t log_length);
    Result<void> read_structures(Headers headers);
    Result<void> take_over();

    // Under state_.
    Page* entry_page(std::uint64_t index);
    bool payload_valid(std::uint64_t entry) const;
    bool place_valid(std::uint64_t offset, std::uint64_t length) const;
    std::uint64_t entry_at(const Page& page, std::uint64_t index) const;
    void set_entry(Page& page, std::uint64_t index, std::uint64_t entry);
    std::uint64_t entry_offset(std::uint64_t index) const;
    Extent find_partial(const Extent& asked, std::uint64_t block, std::uint64_t entry);
    Extent extend_data(Extent extent, std::uint64_t wanted, const Page& page, std::uint64_t block);
    Extent extend_empty(Extent extent, std::uint64_t wanted, const Page& page, std::uint64_t block);
    bool allocate(Page& page, std::uint64_t block, std::uint64_t entry);
    bool allocate_partial(Page& page, std::uint64_t block);
    bool clear_bits(std::uint64_t block, std::uint64_t bitmap_offset);
    std::optional<Extent> reserve_partial(
        const Extent& asked, std::uint64_t block, std::uint64_t entry);
    void set_bits(Page& page, const Extent& extent);
    void complete_block(const Extent& extent);
    std::uint64_t sector_in_chunk(std::uint64_t offset) const;

    // Under turn_, and state_ not held.
    Result<void> load_page(std::uint64_t offset);
    bool has_page(std::uint64_t offset);
    void insert_page(std::uint64_t offset, std::span<std::byte> bytes);
    Result<void> load_for(std::uint64_t block, std::uint64_t offset, Access access);
    Result<void> load_bitmap(std::uint64_t block, std::uint64_t offset, BlockState state);
    Result<std::uint64_t> checked_entry(std::uint64_t index);
    Result<void> read_current(std::uint64_t offset, std::span<std::byte> bytes);
    Result<void> read_entries_in_turn(std::uint64_t first, std::span<std::uint64_t> entries);
    // What is going to change: the file, or what the disk's user sees too.
    enum class Changes : std::uint8_t { file, contents };
    Result<void> begin(Changes changes);
    Result<void> start_log(std::uint64_t end);
    Result<void> leave_log();
    Result<void> find_end();
    Result<void> make_page_room();
    Result<void> make_room();
    void recycle(std::size_t most);
    Result<void> commit();
    Result<void> commit_in_place();
    Result<void> not_in_place() const;
    // Room for that many pages to be changed in one step; to be taken back afterwards, under
    // state_.
    Result<void> set_aside_pages(std::size_t pages);
    void exchange(Change& change); // under state_
    Result<void> change(std::span<Change> changes);
    Result<void> change(Change one) { return change({&one, 1}); }
    // Durable together, or not made at all.
    Result<void> commit_change(std::span<Change> changes);
    Result<void> store_size(std::uint64_t size);
    Result<void> forget_block(std::uint64_t block);
    Result<void> grow(std::uint64_t new_size);
    Result<void> shrink(std::uint64_t new_size);
    Result<void> clear_blocks(std::uint64_t first, std::uint64_t disk_size);
    Result<void> allocate_blocks(std::uint64_t first, std::uint64_t end);
    Result<void> zero_tail(std::uint64_t from);
    Result<void> move_bat(std::uint64_t length);
    Result<void> move_frozen_bat(std::uint64_t length);
    Result<void> change_region(std::uint32_t index, std::uint64_t offset, std::uint32_t length);
    Result<void> writable() const;

    Headers headers_;
    Regions regions_;
    Metadata metadata_;
    Replay replay_; // of a file that may not be written
    BatShape shape_;
    Store::Range log_place_{};

    std::mutex turn_;  // blocking operations take turns; taken before state_
    std::mutex state_; // guards what follows; never held during I/O
    PageCache cache_;
    Space space_;
    std::optional<Guid> next_data_write_guid_;
    std::condition_variable room_; // a page is not pinned any more
    bool changing_ = false;        // writing, and the contents have their new identifier
    bool writing_ = false;         // the file has its new identifier
    bool frozen_ = false;          // the block allocation table is being moved
    LogWriter log_;                // under turn_
    bool logging_ = false;         // under turn_: the log is in use
    bool all_in_place_ = true;     // under turn_: what the last commit logged is in its places too
};

} // namespace croft::disk::vhdx
