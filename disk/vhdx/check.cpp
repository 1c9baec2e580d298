// SPDX-License-Identifier: Apache-2.0
#include "disk/vhdx/check.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace croft::disk::vhdx {

namespace {

using Severity = Finding::Severity;

class Checker {
public:
    Checker(VhdxImage& image, bool mend)
        : image_{image},
          mend_{mend},
          used_(std::min(image.store().size(), 80 * tebibyte) / mebibyte + 1) {}

    Result<CheckReport> run();

private:
    void check_headers();
    Result<void> check_region_tables();
    Result<void> check_entries();
    Result<void> check_entry(std::uint64_t index, std::uint64_t entry, std::uint64_t bitmap);
    template <class Text>
    Result<void> drop_entry(std::uint64_t index, const Text& what);
    bool claim(std::uint64_t offset, std::uint64_t length);
    void count_leaks();

    VhdxImage& image_;
    bool mend_;
    CheckReport report_;
    std::vector<bool> used_; // MiB of the file
    std::uint64_t next_in_file_ = 0;
};

// Opening the file for writing has mended them.
void Checker::check_headers() {
    if (mend_ || image_.info().read_only) {
        for (const std::uint64_t offset : image_.headers().damaged())
            report_.add(
                {Severity::damage, offset, "header is damaged; the other one is in use", 0, true});
    }
    if (!image_.headers().current().log_guid.is_zero() && image_.info().read_only)
        report_.add({Severity::note, image_.headers().current().log_offset,
            "the log is in use: the file was not closed; opening it for writing replays the log", 0,
            false});
}

Result<void> Checker::check_region_tables() {
    std::vector<std::byte> good;
    std::vector<std::uint64_t> bad;
    for (const std::uint64_t offset : region_table_offsets) {
        std::vector<std::byte> table(region_table_size);
        CROFT_DISK_TRY(image_.store().read(offset, table));
        image_.replay().lay_over(offset, table);
        const bool whole = is_whole_region_table(table);
        if (whole && good.empty())
            good = table;
        else if (!whole || table != good)
            bad.push_back(offset);
    }
    for (const std::uint64_t offset : bad) {
        report_.add({Severity::damage, offset,
            "region table is damaged or differs; the other one is in use", 0, true});
        if (mend_ && !good.empty())
            CROFT_DISK_TRY(image_.mend_region_table(offset, good));
    }
    return {};
}

bool Checker::claim(std::uint64_t offset, std::uint64_t length) {
    bool free = true;
    for (std::uint64_t at = offset / mebibyte; at < (offset + length) / mebibyte; ++at) {
        if (at >= used_.size())
            return false;
        free &= !used_[at];
        used_[at] = true;
    }
    return free;
}

template <class Text>
Result<void> Checker::drop_entry(std::uint64_t index, const Text& what) {
    const std::uint64_t lost = image_.shape().is_bitmap(index) ? 0 : image_.shape().block_size;
    if (report_.wants(Severity::loss))
        report_.add({Severity::loss, image_.regions().bat.offset + index * sizeof(std::uint64_t),
            what(), lost, true});
    else
        report_.count(lost);
    return mend_ ? image_.forget_entry(index) : Result<void>{};
}

Result<void> Checker::check_entry(std::uint64_t index, std::uint64_t entry, std::uint64_t bitmap) {
    const BatShape& shape = image_.shape();
    if (!image_.entry_valid(index, entry))
        return drop_entry(index, [&] { return image_.entry_defect(index, entry); });
    if (bat_state(entry) < 6)
        return {};
    const std::uint64_t offset = bat_offset(entry);
    const std::uint64_t length = shape.is_bitmap(index) ? bitmap_block_size : shape.block_size;
    if (!claim(offset, length))
        return drop_entry(index, [&] {
            return fmt::format("{}: its place at {} belongs to another one as well",
                shape.is_bitmap(index) ? "sector bitmap"
                                       : fmt::format("block {}", shape.block_of(index)),
                offset);
        });
    if (shape.is_bitmap(index))
        return {};
    if (bat_state(entry) == static_cast<std::uint8_t>(BlockState::partially_present) &&
        bat_offset(bitmap) == 0)
        return drop_entry(index, [&] {
            return fmt::format("block {} is partially present, but its chunk has no sector bitmap",
                shape.block_of(index));
        });
    ++report_.blocks_used;
    report_.fragments += offset != next_in_file_;
    next_in_file_ = offset + length;
    return {};
}

Result<void> Checker::check_entries() {
    const BatShape& shape = image_.shape();
    const std::uint64_t count = shape.entries(image_.size());
    // A chunk's bitmap comes after its blocks, so whole chunks are read.
    const std::uint64_t chunk = shape.chunk_ratio() + 1;
    const std::uint64_t step = std::max<std::uint64_t>(1, 64 * kibibyte / chunk) * chunk;
    std::vector<std::uint64_t> entries(step);
    for (std::uint64_t first = 0; first < count; first += step) {
        const auto some = std::span{entries}.first(std::min(step, count - first));
        CROFT_DISK_TRY(image_.read_entries(first, some));
        for (std::size_t i = 0; i < some.size(); ++i) {
            if (some[i] == 0)
                continue;
            const std::size_t bitmap = i / chunk * chunk + chunk - 1;
            CROFT_DISK_TRY(
                check_entry(first + i, some[i], bitmap < some.size() ? some[bitmap] : 0));
        }
    }
    return {};
}

// Room that was given up is a hole of the file, which costs nothing.
void Checker::count_leaks() {
    Store& store = image_.store();
    const std::uint64_t end = store.size() / mebibyte;
    std::uint64_t free = 0;
    for (std::uint64_t first = 0; first < end; ++first) {
        std::uint64_t next = first;
        while (next < end && !used_[next])
            ++next;
        if (next == first)
            continue;
        free += next - first;
        report_.leaked += store.count_data(first * mebibyte, next * mebibyte);
        first = next;
    }
    if (free != 0)
        report_.add({Severity::note, 0,
            fmt::format("{} MiB of the file belong to nothing, and {} KiB of that take room; "
                        "compacting gives them back",
                free, report_.leaked / kibibyte),
            0, false});
}

Result<CheckReport> Checker::run() {
    claim(0, header_section_size);
    claim(image_.headers().current().log_offset, image_.headers().current().log_length);
    for (const Regions::Region& region : image_.regions().all)
        claim(region.offset, region.length);
    check_headers();
    CROFT_DISK_TRY(check_region_tables());
    CROFT_DISK_TRY(check_entries());
    if (mend_)
        CROFT_DISK_TRY(image_.flush());
    else
        count_leaks();
    return std::move(report_);
}

} // namespace

Result<CheckReport> check(VhdxImage& image, bool mend) {
    return Checker{image, mend}.run();
}

} // namespace croft::disk::vhdx
