// SPDX-License-Identifier: Apache-2.0
#include "cli/disk_copy.hpp"

#include "cli/disk_command.hpp"
#include "disk/mount/mount.hpp"
#include "disk/mount/private_mount.hpp"
#include "disk/mount/tree_copy.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fmt/format.h>

namespace croft::cli {

namespace {

namespace mount = disk::mount;

struct CopyWords : Common {
    std::vector<std::string> paths;
    unsigned partition = 0;
    bool archive = false;
};

// "FILE:/path" or "FILE:2:/path"; a path of this host has no file.
struct Named {
    std::string word;
    std::string file;
    unsigned partition = 0;
    std::string path;

    bool on_disk() const { return !file.empty(); }
};

Named parse(const std::string& word) {
    std::error_code error;
    Named of_host{word, {}, 0, word};
    if (std::filesystem::exists(std::filesystem::symlink_status(word, error)))
        return of_host;
    for (std::size_t colon = word.find(':'); colon != std::string::npos;
         colon = word.find(':', colon + 1)) {
        unsigned partition = 0;
        const char* const end = word.data() + word.size();
        const char* next = word.data() + colon + 1;
        const auto number = std::from_chars(next, end, partition);
        if (number.ec == std::errc{} && number.ptr != end && *number.ptr == ':')
            next = number.ptr + 1;
        if (colon > 0 && next != end && *next == '/')
            return {word, word.substr(0, colon), partition, std::string{next, end}};
    }
    return of_host;
}

disk::Error wrong(const std::string& word, std::string what) {
    return disk::Error::of(disk::ErrorCode::invalid_argument, word, std::move(what));
}

// The one disk that takes part, and in which direction.
disk::Result<const Named*> disk_of(const std::vector<Named>& names) {
    const Named& destination = names.back();
    if (names.size() < 2)
        return std::unexpected(
            wrong(destination.word, "found no destination, expected SOURCE … DESTINATION"));
    const Named& first = destination.on_disk() ? destination : names.front();
    if (!first.on_disk())
        return std::unexpected(wrong(
            first.word, "found only paths of this host; expected the disk's side as FILE:/path"));
    for (auto source = names.begin(); source != names.end() - 1; ++source) {
        if (source->on_disk() == destination.on_disk())
            return std::unexpected(wrong(source->word,
                destination.on_disk() ? "found a disk on both sides, expected it on one"
                                      : "found a path of this host, expected FILE:/path"));
        if (source->on_disk() &&
            (source->file != first.file || source->partition != first.partition))
            return std::unexpected(
                wrong(source->word, "expected it on the same disk and partition as " + first.word));
    }
    return &first;
}

Outcome copy(const CopyWords& words) {
    std::vector<Named> names;
    std::ranges::transform(words.paths, std::back_inserter(names), parse);
    const auto disk = disk_of(names);
    if (!disk)
        return std::unexpected(disk.error());
    const auto stopped = [] {
        return interrupted.load();
    };
    mount::PrivateOptions options{
        .write = names.back().on_disk(), .format = words.opened_as(), .stopped = stopped};
    const unsigned partition = (*disk)->partition != 0 ? (*disk)->partition : words.partition;
    if (partition != 0)
        options.partition = partition;
    auto mounted = mount::PrivateMount::create((*disk)->file, options);
    if (!mounted)
        return std::unexpected(std::move(mounted).error());
    std::vector<mount::Place> places;
    places.reserve(names.size());
    for (const Named& name : names)
        places.push_back({name.on_disk() ? (*mounted)->root() : -1, name.path, name.word});
    const mount::Place destination = places.back();
    places.pop_back();
    const auto copied = mount::copy_trees(places, destination,
        {.archive = words.archive, .stopped = stopped, .note = [&words](const std::string& text) {
             words.note(text);
         }});
    // What was copied before an error is kept, and has to be whole.
    auto finished = (*mounted)->finish();
    if (!copied)
        return std::unexpected(copied.error());
    CROFT_DISK_TRY(std::move(finished));
    words.print({{"files", copied->files}, {"bytes", copied->bytes}},
        fmt::format("{} files, {}\n", copied->files, size_text(copied->bytes)));
    return Exit::success;
}

} // namespace

void add_copy_command(CLI::App& app, Exit& exit) {
    const auto words = std::make_shared<CopyWords>();
    CLI::App* command = add_command(app, exit, "cp", "Copy files into a disk, or out of it", words,
        [words] { return copy(*words); });
    command->add_option("PATH", words->paths, "SOURCE … DESTINATION; on the disk: FILE:/path")
        ->required();
    add_format_option(*command, *words);
    command->add_option("-p,--partition", words->partition, "Which, like FILE:N:/path")
        ->check(CLI::PositiveNumber);
    command->add_flag("-a,--archive", words->archive, "Keep owners, attributes and device nodes");
}

} // namespace croft::cli
