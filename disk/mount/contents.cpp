// SPDX-License-Identifier: Apache-2.0
#include "disk/mount/contents.hpp"

#include "disk/open.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace croft::disk::mount {

namespace {

std::string listed(const std::vector<Volume>& volumes) {
    std::string words;
    for (const Volume& volume : volumes) {
        if (volume.mountable())
            words += fmt::format(
                "{}{} ({})", words.empty() ? "" : ", ", volume.partition.number, volume.type());
    }
    return words.empty() ? "none" : words;
}

} // namespace

std::vector<RawFile> DiskContents::raw_files() const {
    std::vector<RawFile> files{{"disk", 0, size}};
    for (const Volume& volume : volumes) {
        if (volume.partition.number != 0 && volume.usable())
            files.push_back({volume.raw_name(), volume.partition.offset, volume.partition.length});
    }
    return files;
}

Result<Volume> DiskContents::choose(
    const std::string& file, std::optional<unsigned> partition) const {
    if (!table_error.empty())
        return std::unexpected(Error::of(ErrorCode::corrupt, file, table_error));
    const auto refuse = [&file](ErrorCode code, std::string what) {
        return std::unexpected(Error::of(code, file, std::move(what)));
    };
    if (!partition) {
        if (std::ranges::count_if(volumes, &Volume::mountable) != 1)
            return refuse(ErrorCode::invalid_argument,
                fmt::format("found these file systems: {}; expected one, or --partition to say "
                            "which",
                    listed(volumes)));
        return *std::ranges::find_if(volumes, &Volume::mountable);
    }
    const auto found = std::ranges::find_if(
        volumes, [&](const Volume& volume) { return volume.partition.number == *partition; });
    if (found == volumes.end())
        return refuse(ErrorCode::not_found,
            fmt::format("found no partition {}; there are file systems in {}", *partition,
                listed(volumes)));
    if (!found->partition.problem.empty())
        return refuse(ErrorCode::corrupt,
            fmt::format("partition {}: {}", *partition, found->partition.problem));
    if (!found->mountable())
        return refuse(ErrorCode::unsupported,
            fmt::format("partition {}: found {}, expected a file system", *partition,
                found->file_system ? found->type() : "nothing known"));
    return *found;
}

Result<DiskContents> read_contents(const std::string& file, std::optional<Format> format) {
    auto chain = open_chain(file, {.format = format});
    if (!chain)
        return std::unexpected(std::move(chain).error());
    Chain& disk = **chain;
    DiskContents contents;
    contents.size = disk.size();
    contents.sector_size = disk.top().info().logical_sector_size;
    auto table = read_partition_table(disk);
    if (!table && table.error().code != ErrorCode::corrupt)
        return std::unexpected(std::move(table).error());
    if (table)
        contents.table = *std::move(table);
    else
        contents.table_error = table.error().what;
    for (const Partition& partition : contents.table.partitions)
        contents.volumes.push_back({partition, {}});
    if (contents.table.kind == PartitionTable::Kind::none && contents.table_error.empty()) {
        contents.volumes.emplace_back();
        contents.volumes.back().partition.length = disk.size();
    }
    for (Volume& volume : contents.volumes) {
        if (!volume.usable())
            continue;
        auto found = probe_file_system(disk, volume.partition.offset, volume.partition.length);
        if (!found)
            return std::unexpected(std::move(found).error());
        volume.file_system = *std::move(found);
    }
    return contents;
}

} // namespace croft::disk::mount
