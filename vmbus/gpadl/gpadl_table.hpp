// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/guest_pages.hpp"
#include "vmbus/protocol/message.hpp"
#include "vmbus/vsp/channel_service.hpp"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace croft::vmbus {

/// How much of the host's memory a guest's GPADLs may take: 8 bytes a page, and a little for each.
struct GpadlLimits {
    /// Those of the network have three, storage and the rest one.
    std::size_t per_channel = 64;
    std::size_t per_vm = 4096;
    /// Pages of all GPADLs together: 1 Mi pages are 4 GiB of the guest's memory, 8 MiB of ours.
    std::size_t pages = std::size_t{1} << 20;
};

enum class GpadlError : std::uint8_t {
    duplicate,
    too_many,
    too_many_pages,
    bad_ranges,
    not_memory,
    unknown,
};

/// For the log.
[[nodiscard]] std::string_view name_of(GpadlError error);

/// One GPADL and how far it is.
struct GpadlEntry {
    enum class State : std::uint8_t {
        /// Some of its page numbers haven't come.
        incomplete,
        /// The service has been told and hasn't answered.
        creating,
        created,
        /// The service has been told to let go of it.
        tearing_down,
    };

    State state = State::incomplete;
    /// The guest waits for GPADL_CREATED.
    bool answer_creation = false;
    /// It is to go: when the rings of an open channel aren't in it any more, and when the service
    /// has let go of it.
    bool end_wanted = false;
    /// The guest waits for GPADL_TORNDOWN; it doesn't when the channel has ended.
    bool answer_teardown = false;
    std::uint16_t range_count = 0;
    /// Of the ranges as the guest sends them, and how many there will be.
    std::size_t expected_words = 0;
    std::vector<std::uint64_t> words;
    /// From `created` on.
    Gpadl gpadl;
};

/// All GPADLs of a VM. A guest names them by channel and number; but what follows a header names
/// only the number, so of those that are incomplete each has a number of its own.
class GpadlTable {
public:
    /// Channel and GPADL.
    using Key = std::pair<std::uint32_t, std::uint32_t>;
    using Entries = std::map<Key, GpadlEntry>;

    explicit GpadlTable(GpadlLimits limits) : limits_(limits) {}

    /// Begins one, with as much of the ranges as came in the header. Errors: duplicate, too_many,
    /// too_many_pages, bad_ranges; then there is none.
    [[nodiscard]] std::expected<void, GpadlError> begin(
        const protocol::GpadlHeader& header, std::span<const std::uint8_t> ranges);
    /// Adds what came in a body; answers whose it was. Errors: unknown.
    [[nodiscard]] std::expected<Key, GpadlError> append(
        std::uint32_t id, std::span<const std::uint8_t> ranges);
    [[nodiscard]] bool is_complete(const Key& key) const;
    /// Makes sense of the ranges of a complete one. Errors: bad_ranges, not_memory; the entry
    /// stays.
    [[nodiscard]] std::expected<void, GpadlError> parse(const Key& key, const GuestPages& memory);

    /// Puts one in that has been checked, as when a VM is restored. Errors: duplicate, too_many,
    /// too_many_pages.
    [[nodiscard]] std::expected<void, GpadlError> insert(const Key& key, GpadlEntry entry);

    [[nodiscard]] GpadlEntry* find(const Key& key);
    void remove(const Key& key);

    [[nodiscard]] const Entries& entries() const { return entries_; }
    /// The GPADLs of a channel, for a caller that may remove them one by one.
    [[nodiscard]] std::vector<Key> of_channel(std::uint32_t relid) const;
    void clear();

private:
    [[nodiscard]] std::expected<void, GpadlError> check_space(
        const Key& key, std::size_t words) const;

    GpadlLimits limits_;
    Entries entries_;
    std::map<std::uint32_t, std::uint32_t> incomplete_; // number to channel
    std::size_t words_ = 0;
};

} // namespace croft::vmbus
