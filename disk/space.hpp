// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/store.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace croft::disk {

// Where in an image's file there is room for new blocks. Room that is handed out reads as zeros.
//
// A block that was given up is used again only when that is harmless: the change that gave it up is
// durable (or a power cut would show one block's contents in another's place), and all I/O that
// could have found it there before is over (or a late write would land in its successor). For the
// latter I/O is counted in two epochs, one of which is closed as soon as it is empty.
//
// Not thread-safe: the image's lock guards it.
class Space final {
public:
    using Range = Store::Range;

    // How many ranges collect() answers. Few are made zeros when room is needed, where that is to
    // write them.
    static constexpr std::size_t all = ~std::size_t{0};
    static constexpr std::size_t few = 4;

    Space() = default;
    // Everything from `end` on is free; the file has `limit` bytes.
    Space(std::uint64_t end, std::uint64_t limit) : end_{end}, limit_{limit} {}

    std::uint64_t end() const { return end_; }
    std::uint64_t limit() const { return limit_; }
    void set_limit(std::uint64_t limit) { limit_ = limit; }
    void set_end(std::uint64_t end) { end_ = end; }
    // New room begins `phase` bytes after a multiple of `unit`.
    void align(std::uint64_t unit, std::uint64_t phase) { unit_ = unit, phase_ = phase; }
    // Where the next new room would begin.
    std::uint64_t next() const { return end_ + (phase_ + unit_ - end_ % unit_) % unit_; }

    bool has_room(std::uint64_t length) const;
    std::optional<std::uint64_t> take(std::uint64_t length);
    void give_up(Range range) { given_up_.push_back(range); }

    // What was given up and is about to become durable.
    std::vector<Range> begin_commit() { return std::exchange(given_up_, {}); }
    void commit_done(std::vector<Range> ranges, bool durable);
    // At most `most` ranges that no I/O can reach any more. The caller zeroes them, then calls
    // reuse().
    std::vector<Range> collect(std::size_t most);
    void reuse(const std::vector<Range>& ranges);

    // Around each I/O on a block.
    std::uint32_t enter() { return ++in_flight_[epoch_ & 1U], epoch_ & 1U; }
    void leave(std::uint32_t ticket) { --in_flight_[ticket & 1U]; }

private:
    struct Retired {
        std::uint32_t epoch;
        std::vector<Range> ranges;
    };

    std::uint64_t end_ = 0;
    std::uint64_t limit_ = 0;
    std::uint64_t unit_ = 1;
    std::uint64_t phase_ = 0;
    std::map<std::uint64_t, std::vector<std::uint64_t>> free_; // offsets by length
    std::vector<Range> given_up_;
    std::deque<Retired> retired_;
    std::uint32_t epoch_ = 0;
    std::array<std::uint32_t, 2> in_flight_{};
};

} // namespace croft::disk
