// SPDX-License-Identifier: Apache-2.0
#include "vmbus/gpadl/gpadl_table.hpp"

#include "vmbus/protocol/gpa_range.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

namespace croft::vmbus {

using protocol::GpaRangeHeader;

namespace {

void append_words(GpadlEntry& entry, std::span<const std::uint8_t> bytes) {
    const std::size_t missing = entry.expected_words - entry.words.size();
    const std::size_t count = std::min(bytes.size() / sizeof(std::uint64_t), missing);
    if (count == 0) {
        return;
    }
    const std::size_t before = entry.words.size();
    entry.words.resize(before + count);
    std::memcpy(&entry.words[before], bytes.data(), count * sizeof(std::uint64_t));
}

std::optional<GpadlRange> take_range(std::span<const std::uint64_t>& words) {
    if (words.empty()) {
        return std::nullopt;
    }
    const auto header = std::bit_cast<GpaRangeHeader>(words.front());
    words = words.subspan(1);
    const std::uint64_t pages = protocol::pages_of(header.byte_count, header.byte_offset);
    if (header.byte_count == 0 || header.byte_offset >= protocol::page_size ||
        pages > words.size()) {
        return std::nullopt;
    }
    const std::span<const std::uint64_t> numbers = words.first(pages);
    words = words.subspan(pages);
    return GpadlRange{header.byte_count, header.byte_offset, {numbers.begin(), numbers.end()}};
}

} // namespace

std::string_view name_of(GpadlError error) {
    switch (error) {
    case GpadlError::duplicate:
        return "there is a GPADL with this number";
    case GpadlError::too_many:
        return "too many GPADLs";
    case GpadlError::too_many_pages:
        return "too many pages in GPADLs";
    case GpadlError::bad_ranges:
        return "a GPADL's ranges contradict their length";
    case GpadlError::not_memory:
        return "a GPADL's page isn't memory";
    case GpadlError::unknown:
        return "there is no such GPADL";
    }
    return "unknown";
}

std::expected<void, GpadlError> GpadlTable::check_space(const Key& key, std::size_t words) const {
    if (entries_.contains(key)) {
        return std::unexpected(GpadlError::duplicate);
    }
    const auto first = entries_.lower_bound({key.first, 0});
    const auto end = entries_.upper_bound({key.first, 0xffffffff});
    if (entries_.size() >= limits_.per_vm ||
        static_cast<std::size_t>(std::distance(first, end)) >= limits_.per_channel) {
        return std::unexpected(GpadlError::too_many);
    }
    if (words > limits_.pages - std::min(limits_.pages, words_)) {
        return std::unexpected(GpadlError::too_many_pages);
    }
    return {};
}

std::expected<void, GpadlError> GpadlTable::begin(
    const protocol::GpadlHeader& header, std::span<const std::uint8_t> ranges) {
    const Key key{header.relid, header.gpadl};
    const std::size_t words = header.range_size / sizeof(std::uint64_t);
    if (header.range_count == 0 || header.range_size % sizeof(std::uint64_t) != 0 ||
        words < std::size_t{2} * header.range_count) {
        return std::unexpected(GpadlError::bad_ranges);
    }
    if (incomplete_.contains(header.gpadl)) {
        return std::unexpected(GpadlError::duplicate);
    }
    if (const auto space = check_space(key, words); !space) {
        return space;
    }
    GpadlEntry entry;
    entry.range_count = header.range_count;
    entry.expected_words = words;
    append_words(entry, ranges);
    if (entry.words.size() < words) {
        incomplete_.emplace(header.gpadl, header.relid);
    }
    words_ += words;
    entries_.emplace(key, std::move(entry));
    return {};
}

std::expected<GpadlTable::Key, GpadlError> GpadlTable::append(
    std::uint32_t id, std::span<const std::uint8_t> ranges) {
    const auto found = incomplete_.find(id);
    if (found == incomplete_.end()) {
        return std::unexpected(GpadlError::unknown);
    }
    const Key key{found->second, id};
    GpadlEntry& entry = entries_.at(key);
    append_words(entry, ranges);
    if (entry.words.size() == entry.expected_words) {
        incomplete_.erase(found);
    }
    return key;
}

bool GpadlTable::is_complete(const Key& key) const {
    const auto found = entries_.find(key);
    return found != entries_.end() && found->second.words.size() == found->second.expected_words;
}

std::expected<void, GpadlError> GpadlTable::parse(const Key& key, const GuestPages& memory) {
    GpadlEntry& entry = entries_.at(key);
    std::span<const std::uint64_t> words(entry.words);
    std::vector<GpadlRange> ranges;
    for (unsigned i = 0; i < entry.range_count; ++i) {
        std::optional<GpadlRange> range = take_range(words);
        if (!range) {
            return std::unexpected(GpadlError::bad_ranges);
        }
        if (!std::ranges::all_of(
                range->pages, [&](std::uint64_t page) { return memory.page(page) != nullptr; })) {
            return std::unexpected(GpadlError::not_memory);
        }
        ranges.push_back(std::move(*range));
    }
    if (!words.empty()) {
        return std::unexpected(GpadlError::bad_ranges);
    }
    entry.gpadl = {key.second, std::move(ranges)};
    return {};
}

std::expected<void, GpadlError> GpadlTable::insert(const Key& key, GpadlEntry entry) {
    const bool is_incomplete = entry.words.size() < entry.expected_words;
    if (is_incomplete && incomplete_.contains(key.second)) {
        return std::unexpected(GpadlError::duplicate);
    }
    if (const auto space = check_space(key, entry.expected_words); !space) {
        return space;
    }
    if (is_incomplete) {
        incomplete_.emplace(key.second, key.first);
    }
    words_ += entry.expected_words;
    entries_.emplace(key, std::move(entry));
    return {};
}

GpadlEntry* GpadlTable::find(const Key& key) {
    const auto found = entries_.find(key);
    return found == entries_.end() ? nullptr : &found->second;
}

void GpadlTable::remove(const Key& key) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) {
        return;
    }
    words_ -= found->second.expected_words;
    const auto incomplete = incomplete_.find(key.second);
    if (incomplete != incomplete_.end() && incomplete->second == key.first) {
        incomplete_.erase(incomplete);
    }
    entries_.erase(found);
}

std::vector<GpadlTable::Key> GpadlTable::of_channel(std::uint32_t relid) const {
    std::vector<Key> keys;
    const auto end = entries_.upper_bound({relid, 0xffffffff});
    for (auto entry = entries_.lower_bound({relid, 0}); entry != end; ++entry) {
        keys.push_back(entry->first);
    }
    return keys;
}

void GpadlTable::clear() {
    entries_.clear();
    incomplete_.clear();
    words_ = 0;
}

} // namespace croft::vmbus
