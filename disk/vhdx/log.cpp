// SPDX-License-Identifier: Apache-2.0
#include "disk/vhdx/log.hpp"

#include "disk/crc32c.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <optional>

namespace croft::disk::vhdx {

namespace {

// A log of others may be of any size; this much of it is believed.
constexpr std::uint32_t log_length_max = 256 * mebibyte;
// No disk of 64 TiB with all its tables is larger.
constexpr std::uint64_t file_size_max = 80 * tebibyte;

constexpr std::size_t descriptor_size = sizeof(DataDescriptor);

// Descriptors begin after the entry's header and share its first sector.
constexpr std::uint64_t descriptor_area(std::uint64_t descriptors) {
    const std::uint64_t bytes = sizeof(LogEntryHeader) + descriptors * descriptor_size;
    return (bytes + log_sector_size - 1) / log_sector_size * log_sector_size;
}

} // namespace

struct Replay::Entry {
    LogEntryHeader header;
    std::uint32_t position = 0; // in the log
};

// Looks through the log for entries that are whole.
class Replay::Finder {
public:
    Finder(Store& store, const Header& header)
        : store_{store},
          header_{header},
          budget_{64 * std::uint64_t{header.log_length}} {}

    Result<void> scan();
    // The entries of the active sequence, oldest first.
    std::vector<Entry> active() const;

private:
    Result<bool> valid(const Entry& entry);
    std::optional<std::vector<Entry>> sequence_ending_in(const Entry& head) const;

    Store& store_;
    const Header& header_;
    std::uint64_t budget_; // bytes; entries that overlap must not cost the square of the log
    std::map<std::uint32_t, Entry> entries_;
};

namespace {

// Reads from the log, which is a ring.
Result<void> read_ring(
    Store& store, const Header& header, std::uint64_t position, std::span<std::byte> bytes) {
    position %= header.log_length;
    const auto first = static_cast<std::size_t>(
        std::min<std::uint64_t>(bytes.size(), header.log_length - position));
    CROFT_DISK_TRY(store.read(header.log_offset + position, bytes.first(first)));
    if (first < bytes.size())
        CROFT_DISK_TRY(store.read(header.log_offset, bytes.subspan(first)));
    return {};
}

} // namespace

Result<void> Replay::Finder::scan() {
    for (std::uint32_t at = 0; at < header_.log_length; at += log_sector_size) {
        Entry entry{.header = {}, .position = at};
        CROFT_DISK_TRY(
            read_ring(store_, header_, at, std::as_writable_bytes(std::span{&entry.header, 1})));
        auto whole = valid(entry);
        if (!whole)
            return std::unexpected(std::move(whole).error());
        if (*whole)
            entries_.emplace(at, entry);
    }
    return {};
}

Result<bool> Replay::Finder::valid(const Entry& entry) {
    const LogEntryHeader& header = entry.header;
    const std::uint32_t length = header.entry_length;
    if (header.signature != log_entry_signature || header.log_guid != header_.log_guid ||
        length % log_sector_size != 0 || length == 0 || length > header_.log_length ||
        header.tail % log_sector_size != 0 || header.tail >= header_.log_length ||
        header.sequence_number == 0 || descriptor_area(header.descriptor_count) > length)
        return false;
    if (length > budget_)
        return std::unexpected(Error::corrupt(store_.name(), header_.log_offset + entry.position,
            "log: too many entries that overlap"));
    budget_ -= length;
    std::vector<std::byte> chunk(64 * kibibyte);
    std::uint32_t sum = 0;
    for (std::uint32_t done = 0; done < length;) {
        const auto step = std::min<std::size_t>(chunk.size(), length - done);
        const std::span bytes = std::span{chunk}.first(step);
        CROFT_DISK_TRY(read_ring(store_, header_, entry.position + done, bytes));
        if (done == 0)
            save(bytes, offsetof(LogEntryHeader, checksum), Little<std::uint32_t>{0});
        sum = crc32c(sum, bytes);
        done += static_cast<std::uint32_t>(step);
    }
    return sum == header.checksum;
}

std::optional<std::vector<Replay::Entry>> Replay::Finder::sequence_ending_in(
    const Entry& head) const {
    std::vector<Entry> sequence;
    std::uint32_t at = head.header.tail;
    for (std::uint64_t covered = 0; covered < header_.log_length;) {
        const auto found = entries_.find(at);
        if (found == entries_.end())
            return std::nullopt;
        const Entry& entry = found->second;
        if (!sequence.empty() &&
            entry.header.sequence_number != sequence.back().header.sequence_number + 1)
            return std::nullopt;
        sequence.push_back(entry);
        if (at == head.position)
            return sequence;
        covered += entry.header.entry_length;
        at = (at + entry.header.entry_length) % header_.log_length;
    }
    return std::nullopt;
}

std::vector<Replay::Entry> Replay::Finder::active() const {
    std::vector<const Entry*> heads;
    heads.reserve(entries_.size());
    for (const auto& [at, entry] : entries_)
        heads.push_back(&entry);
    std::ranges::sort(heads, [](const Entry* a, const Entry* b) {
        return a->header.sequence_number > b->header.sequence_number;
    });
    for (const Entry* head : heads) {
        if (auto sequence = sequence_ending_in(*head))
            return *std::move(sequence);
    }
    return {};
}

Result<Replay> Replay::read(Store& store, const Header& header) {
    Replay replay;
    if (header.log_guid.is_zero())
        return replay;
    if (header.log_length > log_length_max)
        return std::unexpected(Error::of(ErrorCode::unsupported, store.name(),
            fmt::format("log length: found {} bytes, expected at most {}", header.log_length.get(),
                log_length_max)));
    Finder finder{store, header};
    CROFT_DISK_TRY(finder.scan());
    const std::vector<Entry> entries = finder.active();
    if (entries.empty())
        return std::unexpected(Error::corrupt(store.name(), header.log_offset,
            "log: the header says that it is in use, but it has no valid sequence of entries"));
    for (const Entry& entry : entries)
        CROFT_DISK_TRY(replay.add(store, header, entry));
    return replay;
}

Result<void> Replay::add(Store& store, const Header& header, const Entry& entry) {
    const std::uint64_t at = header.log_offset + entry.position;
    if (entry.header.flushed_file_offset > store.size())
        return std::unexpected(Error::corrupt(store.name(), at,
            fmt::format("log: the file was cut: found {} bytes, expected at least {}", store.size(),
                entry.header.flushed_file_offset.get())));
    if (entry.header.last_file_offset > file_size_max)
        return std::unexpected(Error::corrupt(store.name(), at,
            fmt::format("log: last file offset: found {}, expected at most {}",
                entry.header.last_file_offset.get(), file_size_max)));
    last_file_offset_ = entry.header.last_file_offset;
    std::vector<std::byte> bytes(entry.header.entry_length);
    CROFT_DISK_TRY(read_ring(store, header, entry.position, bytes));
    return add_entry(store, at, bytes, entry);
}

Result<void> Replay::add_entry(
    Store& store, std::uint64_t at, std::span<const std::byte> bytes, const Entry& entry) {
    const auto corrupt = [&](std::uint64_t offset, std::string what) {
        return std::unexpected(Error::corrupt(store.name(), at + offset, std::move(what)));
    };
    std::uint64_t sector_at = descriptor_area(entry.header.descriptor_count);
    for (std::uint32_t i = 0; i < entry.header.descriptor_count; ++i) {
        const std::size_t offset = sizeof(LogEntryHeader) + i * descriptor_size;
        const auto descriptor = load<DataDescriptor>(bytes, offset);
        const std::uint64_t target = descriptor.file_offset;
        if (descriptor.sequence_number != entry.header.sequence_number)
            return corrupt(offset, "log descriptor: its sequence number is not its entry's");
        if (target % log_sector_size != 0 || target >= file_size_max)
            return corrupt(offset, fmt::format("log descriptor: file offset: found {}", target));
        if (descriptor.signature == zero_descriptor_signature) {
            const std::uint64_t length = load<ZeroDescriptor>(bytes, offset).zero_length;
            if (length % log_sector_size != 0 || length > file_size_max - target)
                return corrupt(
                    offset, fmt::format("log descriptor: zero length: found {}", length));
            // A later zero range wins over earlier pages, a later page over zero ranges.
            pages_.erase(pages_.lower_bound(target), pages_.lower_bound(target + length));
            auto& longest = zeros_[target];
            longest = std::max(longest, length);
            continue;
        }
        if (descriptor.signature != data_descriptor_signature)
            return corrupt(offset,
                fmt::format("log descriptor signature: found {:#x}", descriptor.signature.get()));
        if (sector_at + log_sector_size > bytes.size())
            return corrupt(offset, "log descriptor: its data lies beyond its entry");
        const auto sector = load<DataSector>(bytes, sector_at);
        const std::uint64_t sequence =
            std::uint64_t{sector.sequence_high} << 32U | sector.sequence_low;
        if (sector.signature != data_sector_signature || sequence != entry.header.sequence_number)
            return corrupt(sector_at, "log data sector: not of this entry");
        std::vector<std::byte> page(log_sector_size);
        save(page, 0, descriptor.leading_bytes);
        save(page, sizeof descriptor.leading_bytes, sector.data);
        save(page, log_sector_size - sizeof descriptor.trailing_bytes, descriptor.trailing_bytes);
        pages_.insert_or_assign(target, std::move(page));
        sector_at += log_sector_size;
    }
    return {};
}

Result<void> Replay::apply(Store& store) const {
    if (store.size() < last_file_offset_)
        CROFT_DISK_TRY(store.resize(last_file_offset_));
    for (const auto& [offset, length] : zeros_)
        CROFT_DISK_TRY(store.zero(offset, length));
    for (const auto& [offset, page] : pages_)
        CROFT_DISK_TRY(store.write(offset, page));
    return store.order();
}

void Replay::lay_over(std::uint64_t offset, std::span<std::byte> bytes) const {
    const std::uint64_t end = offset + bytes.size();
    for (const auto& [start, length] : zeros_) {
        const std::uint64_t from = std::max(start, offset);
        const std::uint64_t to = std::min(start + length, end);
        if (from < to)
            std::ranges::fill(bytes.subspan(from - offset, to - from), std::byte{0});
    }
    const std::uint64_t before = offset >= log_sector_size ? offset - log_sector_size + 1 : 0;
    for (auto page = pages_.lower_bound(before); page != pages_.end() && page->first < end;
         ++page) {
        const std::uint64_t from = std::max(page->first, offset);
        const std::uint64_t to = std::min(page->first + log_sector_size, end);
        std::ranges::copy(std::span{page->second}.subspan(from - page->first, to - from),
            bytes.subspan(from - offset).begin());
    }
}

std::size_t LogWriter::capacity(std::uint32_t log_length) {
    std::size_t sectors = log_length / 2 / log_sector_size;
    while (sectors > 0 && descriptor_area(sectors) + sectors * log_sector_size > log_length / 2)
        --sectors;
    return sectors;
}

Result<void> LogWriter::write(Store& store, std::span<const Page> pages,
    std::uint64_t flushed_file_offset, std::uint64_t last_file_offset) {
    const std::uint64_t area = descriptor_area(pages.size());
    // Who gathers the pages sees to it that they fit; beyond its place an entry would destroy the
    // other one, or what follows the log.
    if (area + pages.size() * log_sector_size > slot_size_)
        return std::unexpected(Error::of(ErrorCode::no_space, store.name(),
            fmt::format("log: found {} pages to be changed in one step, expected at most {}",
                pages.size(), capacity(2 * slot_size_))));
    std::vector<std::byte> entry(area + pages.size() * log_sector_size);
    const std::uint64_t sequence = sequence_number_ + 1;
    const std::uint32_t position = (sequence & 1U) != 0 ? 0 : slot_size_;
    for (std::size_t i = 0; i < pages.size(); ++i) {
        const std::span<const std::byte> bytes = pages[i].bytes;
        DataDescriptor descriptor;
        DataSector sector;
        descriptor.signature = data_descriptor_signature;
        descriptor.leading_bytes = load<Little<std::uint64_t>>(bytes);
        descriptor.trailing_bytes = load<Little<std::uint32_t>>(bytes, log_sector_size - 4);
        descriptor.file_offset = pages[i].file_offset;
        descriptor.sequence_number = sequence;
        sector.signature = data_sector_signature;
        sector.sequence_high = static_cast<std::uint32_t>(sequence >> 32U);
        sector.sequence_low = static_cast<std::uint32_t>(sequence);
        sector.data = load<decltype(sector.data)>(bytes, sizeof descriptor.leading_bytes);
        save(entry, sizeof(LogEntryHeader) + i * descriptor_size, descriptor);
        save(entry, area + i * log_sector_size, sector);
    }
    LogEntryHeader header{};
    header.signature = log_entry_signature;
    header.entry_length = static_cast<std::uint32_t>(entry.size());
    header.tail = position;
    header.sequence_number = sequence;
    header.descriptor_count = static_cast<std::uint32_t>(pages.size());
    header.log_guid = guid_;
    header.flushed_file_offset = flushed_file_offset;
    header.last_file_offset = last_file_offset;
    save(entry, 0, header);
    header.checksum = crc32c(0, entry);
    save(entry, 0, header);
    CROFT_DISK_TRY(store.write(offset_ + position, entry));
    sequence_number_ = sequence;
    return {};
}

} // namespace croft::disk::vhdx
