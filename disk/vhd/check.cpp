// SPDX-License-Identifier: Apache-2.0
#include "disk/vhd/check.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace croft::disk::vhd {

namespace {

using Severity = Finding::Severity;

// Opening the file for writing has mended them.
void check_footers(const DynamicImage& image, bool mend, CheckReport& report) {
    if (!mend && !image.info().read_only)
        return;
    if (!image.footer_at_end())
        report.add({Severity::damage, image.store().size(),
            "the footer at the end is missing or damaged; its copy at the beginning is in use", 0,
            true});
    if (image.footer_copy() == DynamicImage::FooterCopy::damaged)
        report.add({Severity::damage, 0,
            "the copy of the footer at the beginning is missing or damaged", 0, true});
    if (image.footer_copy() == DynamicImage::FooterCopy::older)
        report.add({Severity::note, 0,
            "the copy of the footer at the beginning is that of before a change that was "
            "interrupted; whoever next writes to the disk renews it",
            0, false});
}

struct Used {
    std::uint32_t entry;
    std::uint64_t block;
};

template <class Text>
Result<void> drop(
    DynamicImage& image, std::uint64_t block, const Text& what, bool mend, CheckReport& report) {
    const std::uint64_t lost = image.info().block_size;
    if (report.wants(Severity::loss))
        report.add({Severity::loss, image.header().table_offset + block * sizeof(std::uint32_t),
            what(), lost, true});
    else
        report.count(lost);
    return mend ? image.forget_entry(block) : Result<void>{};
}

} // namespace

Result<CheckReport> check(DynamicImage& image, bool mend) {
    CheckReport report;
    check_footers(image, mend, report);
    const std::uint64_t count = image.blocks();
    const std::uint64_t length = image.stored_block_length();
    // No more blocks than these fit the file without overlapping, so a hostile table can't ask for
    // more memory than that.
    const std::uint64_t most = image.store().size() / length;
    std::vector<Used> used;
    std::vector<std::uint32_t> entries(16 * 1024);
    std::uint64_t next_in_file = 0;
    for (std::uint64_t first = 0; first < count; first += entries.size()) {
        const auto some =
            std::span{entries}.first(std::min<std::uint64_t>(entries.size(), count - first));
        CROFT_DISK_TRY(image.read_entries(first, some));
        for (std::size_t i = 0; i < some.size(); ++i) {
            if (some[i] == unused_block)
                continue;
            if (!image.entry_valid(some[i])) {
                const auto defect = [&] {
                    return image.entry_defect(first + i, some[i]);
                };
                CROFT_DISK_TRY(drop(image, first + i, defect, mend, report));
                continue;
            }
            if (used.size() > most)
                return std::unexpected(
                    Error::corrupt(image.store().name(), image.header().table_offset,
                        "block allocation table: more blocks than the file has room for"));
            used.push_back({some[i], first + i});
            ++report.blocks_used;
            const std::uint64_t offset = std::uint64_t{some[i]} * sector_size;
            report.fragments += next_in_file == 0 || offset - next_in_file >= payload_alignment;
            next_in_file = offset + length;
        }
    }
    std::ranges::sort(used, {}, &Used::entry);
    std::uint64_t end = 0;
    std::uint64_t padding = 0;
    std::uint64_t holes = 0;
    const auto pass_gap = [&](std::uint64_t offset) {
        if (offset > end && offset - end < payload_alignment)
            padding += offset - end;
        else if (offset > end)
            holes += offset - end - image.store().count_data(end, offset);
    };
    for (const Used& block : used) {
        const std::uint64_t offset = std::uint64_t{block.entry} * sector_size;
        pass_gap(offset);
        if (offset < end)
            CROFT_DISK_TRY(drop(
                image, block.block,
                [&] {
                    return fmt::format("block {}: its place at {} belongs to another one as well",
                        block.block, offset);
                },
                mend, report));
        end = std::max(end, offset + length);
    }
    pass_gap(image.store().size() - std::min<std::uint64_t>(image.store().size(), sector_size));
    // Of each block that was given up a page stays, with its bitmap and padding.
    holes += holes / image.info().block_size * payload_alignment;
    const std::uint64_t tables = sector_size + sizeof(DynamicHeader) +
        (count * sizeof(std::uint32_t) + sector_size - 1) / sector_size * sector_size + sector_size;
    const std::uint64_t needed = tables + used.size() * length + padding;
    const std::uint64_t free = image.store().size() - std::min(image.store().size(), needed);
    report.leaked = free - std::min(free, holes);
    if (free >= length && !mend)
        report.add({Severity::note, 0,
            fmt::format("{} bytes of the file belong to nothing, and {} of them take room; "
                        "compacting gives them back",
                free, report.leaked),
            0, false});
    if (mend)
        CROFT_DISK_TRY(image.flush());
    return report;
}

} // namespace croft::disk::vhd
