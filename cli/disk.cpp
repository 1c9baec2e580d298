// SPDX-License-Identifier: Apache-2.0
#include "cli/disk.hpp"

#include "cli/disk_command.hpp"
#include "cli/disk_copy.hpp"
#include "cli/disk_mount.hpp"
#include "cli/disk_report.hpp"
#include "disk/open.hpp"
#include "disk/tool/children.hpp"
#include "disk/tool/convert.hpp"
#include "disk/tool/create.hpp"
#include "disk/tool/map.hpp"
#include "disk/tool/merge.hpp"

#include <fmt/format.h>
#include <memory>
#include <unistd.h>
#include <utility>

namespace croft::cli {

namespace {

using disk::Result;
using nlohmann::json;

CLI::Validator size_words() {
    return {[](std::string& text) {
                std::uint64_t bytes = 0;
                if (!parse_size(text, bytes))
                    return "found '" + text + "', expected a size such as 127G or 512M";
                text = std::to_string(bytes);
                return std::string{};
            },
        "SIZE"};
}

// Zero stands for a default where there is one, which is not what who says "0" means.
CLI::Validator more_than_nothing() {
    return {[](std::string& text) {
                return text == "0" ? std::string{"found 0, expected more"} : std::string{};
            },
        ""};
}

// The options that describe a disk to be made.
struct NewDiskWords {
    std::string format;
    bool fixed = false;
    bool azure = false;
    std::uint64_t block_size = 0;
    std::uint32_t sector_size = 512;
    std::uint32_t physical_sector_size = 4096;

    void add_to(CLI::App& command) {
        command.add_option("-f,--format", format, "Of the new disk; its name decides otherwise")
            ->check(format_words());
        command.add_flag("--fixed", fixed, "All room is allocated now");
        command.add_flag("--azure", azure, "What Azure takes: a fixed VHD of whole MiB");
        command.add_option("--block-size", block_size, "Unit of allocation")
            ->check(more_than_nothing())
            ->transform(size_words());
        command.add_option("--sector-size", sector_size, "Logical, 512 or 4096");
        command.add_option("--physical-sector-size", physical_sector_size, "512 or 4096");
    }

    disk::tool::NewDisk disk(const std::string& path) const {
        disk::tool::NewDisk made;
        const auto by_name = disk::tool::format_of_name(path).value_or(disk::Format::raw);
        made.format = format.empty() ? by_name : disk::tool::format_of_word(format).value();
        made.allocation = fixed ? disk::Allocation::fixed : disk::Allocation::dynamic;
        if (azure) {
            made.format = disk::Format::vhd;
            made.allocation = disk::Allocation::fixed;
        }
        made.block_size = block_size;
        made.logical_sector_size = sector_size;
        made.physical_sector_size = physical_sector_size;
        return made;
    }
};

void add_create(CLI::App& app, Exit& exit) {
    struct Words : Common {
        NewDiskWords disk;
        std::string path, parent;
        std::uint64_t size = 0;
        bool replace = false;
    };
    const auto words = std::make_shared<Words>();
    CLI::App* command =
        add_command(app, exit, "create", "Make a new disk", words, [words]() -> Outcome {
            disk::tool::NewDisk made = words->disk.disk(words->path);
            made.size = words->size;
            made.parent = words->parent;
            if (words->disk.azure)
                made.size = (made.size + (1U << 20U) - 1) >> 20U << 20U;
            CROFT_DISK_TRY(disk::tool::create_file(words->path, made, words->replace));
            auto chain =
                disk::open_chain(words->path, {.format = made.format, .with_parents = false});
            if (!chain)
                return std::unexpected(std::move(chain).error());
            const auto object = describe((*chain)->top());
            if (!object)
                return std::unexpected(object.error());
            words->print(*object,
                fmt::format("created {}: {}, {}, {}\n", words->path,
                    (*object)["format"].get<std::string>(),
                    (*object)["allocation"].get<std::string>(), size_text((*chain)->size())));
            return Exit::success;
        });
    command->add_option("FILE", words->path)->required();
    command->add_option("SIZE", words->size, "Of the disk; by default 127 GiB, or the parent's")
        ->check(more_than_nothing())
        ->transform(size_words());
    CLI::Option* parent =
        command->add_option("-p,--parent", words->parent, "Make a differencing disk of this one");
    command->add_flag("--replace", words->replace, "Overwrite a file that exists");
    words->disk.add_to(*command);
    // A child has its parent's sectors, and is as large as what is written to it.
    for (const char* other : {"--fixed", "--azure", "--sector-size", "--physical-sector-size"})
        parent->excludes(command->get_option(other));
}

void add_info(CLI::App& app, Exit& exit) {
    struct Words : Common {
        std::string path;
    };
    const auto words = std::make_shared<Words>();
    CLI::App* command = add_command(
        app, exit, "info", "Show a disk and its ancestors", words, [words]() -> Outcome {
            auto chain = disk::open_chain(words->path, {.format = words->opened_as()});
            if (!chain)
                return std::unexpected(std::move(chain).error());
            json images = json::array();
            for (const auto& image : (*chain)->images()) {
                auto object = describe(*image);
                if (!object)
                    return std::unexpected(std::move(object).error());
                images.push_back(*std::move(object));
            }
            words->print({{"chain", images}}, text_of_images(images));
            return Exit::success;
        });
    command->add_option("FILE", words->path)->required();
    add_format_option(*command, *words);
}

void add_convert(CLI::App& app, Exit& exit) {
    struct Words : Common {
        NewDiskWords disk;
        std::string source, target, source_format;
        disk::tool::ConvertOptions options;
    };
    const auto words = std::make_shared<Words>();
    CLI::App* command = add_command(
        app, exit, "convert", "Copy a disk into another format", words, [words]() -> Outcome {
            words->options.target = words->disk.disk(words->target);
            words->options.azure = words->disk.azure;
            if (!words->source_format.empty())
                words->options.source_format = disk::tool::format_of_word(words->source_format);
            words->options.progress = words->progress();
            CROFT_DISK_TRY(disk::tool::convert(words->source, words->target, words->options));
            words->print({{"source", words->source}, {"target", words->target}}, "");
            return Exit::success;
        });
    command->add_option("SOURCE", words->source)->required();
    command->add_option("TARGET", words->target)->required();
    command
        ->add_option("-F,--source-format", words->source_format, "Instead of looking into the file")
        ->check(format_words());
    command->add_flag("-n,--into-existing", words->options.into_existing,
        "Write into a target that is there already");
    command->add_flag("--replace", words->options.replace, "Replace a target that exists");
    command->add_flag("--flush", words->options.flush, "Return when the target is durable");
    command->add_option("-j,--threads", words->options.threads, "How many copy at once")
        ->check(CLI::Range(1, 64));
    words->disk.add_to(*command);
}

Exit verdict_of(const disk::CheckReport& report, const disk::Image& image) {
    if (!report.clean())
        return Exit::damaged;
    // The end of a VHD need not be that of a block.
    const std::uint64_t slack =
        image.info().format == disk::Format::vhd ? image.info().block_size : 0;
    // What is beyond the disk on a device is the device's.
    return report.leaked > slack && !image.store().traits().block_device ? Exit::leaks
                                                                         : Exit::success;
}

Outcome look_at(const Common& common, const std::string& path, bool azure, bool repair) {
    const disk::OpenOptions as_told{
        .write = repair, .format = common.opened_as(), .with_parents = false};
    auto chain = disk::open_chain(path, as_told);
    if (!chain)
        return std::unexpected(std::move(chain).error());
    disk::Image& image = (*chain)->top();
    auto report = repair ? disk::repair(image) : disk::check(image);
    if (!report)
        return std::unexpected(std::move(report).error());
    std::string text = text_of_check(*report);
    json object = json_of(*report);
    Exit verdict = verdict_of(*report, image);
    if (repair) {
        CROFT_DISK_TRY((*chain)->close());
        chain->reset(); // lets go of the file
        auto again = disk::open_chain(path, {.format = common.opened_as(), .with_parents = false});
        if (!again)
            return std::unexpected(std::move(again).error());
        const auto after = disk::check((*again)->top());
        if (!after)
            return std::unexpected(after.error());
        // What a repair gives up stays in the file, and is no failure of it.
        verdict = after->clean() ? Exit::success : Exit::damaged;
        object = {{"before", std::move(object)}, {"after", json_of(*after)}};
        text += "after the repair:\n" + text_of_check(*after);
    }
    if (azure && !repair) {
        const auto objections = azure_objections(image);
        if (!objections.empty())
            verdict = Exit::damaged;
        object["azure"] = objections;
        for (const std::string& objection : objections)
            text += "azure: " + objection + "\n";
    }
    common.print(object, text);
    return verdict;
}

// A file that is too damaged to be opened is damaged; for what else can't be, the answer is
// unknown.
Outcome check_disk(const Common& common, const std::string& path, bool azure, bool repair) {
    Outcome outcome = look_at(common, path, azure, repair);
    if (outcome || outcome.error().code == disk::ErrorCode::corrupt ||
        outcome.error().code == disk::ErrorCode::interrupted)
        return outcome;
    common.tell(outcome.error());
    return Exit::unchecked;
}

void add_check(CLI::App& app, Exit& exit) {
    struct Words : Common {
        std::string path;
        bool azure = false;
    };
    const auto words = std::make_shared<Words>();
    CLI::App* check = add_command(app, exit, "check", "Look for damage; change nothing", words,
        [words] { return check_disk(*words, words->path, words->azure, false); });
    check->add_option("FILE", words->path)->required();
    add_format_option(*check, *words);
    check->add_flag("--azure", words->azure, "Say why Azure would turn the disk away");
    const auto repair_words = std::make_shared<Words>();
    CLI::App* repair =
        add_command(app, exit, "repair", "Mend what check calls repairable", repair_words,
            [words = repair_words] { return check_disk(*words, words->path, false, true); });
    repair->add_option("FILE", repair_words->path)->required();
    add_format_option(*repair, *repair_words);
}

void add_resize(CLI::App& app, Exit& exit) {
    struct Words : Common {
        std::string path;
        std::uint64_t size = 0;
        bool shrink = false;
    };
    const auto words = std::make_shared<Words>();
    CLI::App* command =
        add_command(app, exit, "resize", "Change the size of a disk", words, [words]() -> Outcome {
            auto chain = disk::open_chain(
                words->path, {.write = true, .format = words->opened_as(), .with_parents = false});
            if (!chain)
                return std::unexpected(std::move(chain).error());
            const std::uint64_t before = (*chain)->size();
            if (words->size < before && !words->shrink)
                return std::unexpected(
                    disk::Error::of(disk::ErrorCode::invalid_argument, words->path,
                        fmt::format("the disk has {}; --shrink gives up what is beyond {}",
                            size_text(before), size_text(words->size))));
            CROFT_DISK_TRY((*chain)->top().resize(words->size));
            CROFT_DISK_TRY((*chain)->close());
            words->print({{"before", before}, {"after", words->size}},
                fmt::format(
                    "{}: {}, was {}\n", words->path, size_text(words->size), size_text(before)));
            return Exit::success;
        });
    command->add_option("FILE", words->path)->required();
    add_format_option(*command, *words);
    command->add_option("SIZE", words->size)->required()->transform(size_words());
    command->add_flag("--shrink", words->shrink, "Allow a smaller size");
}

void add_compact(CLI::App& app, Exit& exit) {
    struct Words : Common {
        std::string path;
    };
    const auto words = std::make_shared<Words>();
    CLI::App* command = add_command(
        app, exit, "compact", "Give back what the disk does not need", words, [words]() -> Outcome {
            const auto freed =
                disk::tool::compact(words->path, words->progress(), words->opened_as());
            if (!freed)
                return std::unexpected(freed.error());
            words->print({{"freed", *freed}},
                fmt::format("{}: {} given back\n", words->path, size_text(*freed)));
            return Exit::success;
        });
    command->add_option("FILE", words->path)->required();
    add_format_option(*command, *words);
}

void add_merge(CLI::App& app, Exit& exit) {
    struct Words : Common {
        std::string child, parent;
        bool only_locator = false;
        bool remove = false;
    };
    const auto words = std::make_shared<Words>();
    CLI::App* merge = add_command(app, exit, "merge", "Write a child's contents into its parent",
        words, [words]() -> Outcome {
            if (words->remove)
                CROFT_DISK_TRY(disk::tool::refuse_if_parent(words->child));
            const auto parent =
                disk::tool::merge(words->child, words->opened_as(), words->progress());
            if (!parent)
                return std::unexpected(parent.error());
            if (words->remove && ::unlink(words->child.c_str()) != 0)
                return std::unexpected(disk::Error::system(words->child, "remove", errno));
            words->print(
                {{"parent", *parent}}, fmt::format("merged {} into {}\n", words->child, *parent));
            return Exit::success;
        });
    merge->add_option("CHILD", words->child)->required();
    add_format_option(*merge, *words);
    merge->add_flag("--remove", words->remove, "Remove the child afterwards");
    const auto other = std::make_shared<Words>();
    CLI::App* rebase = add_command(
        app, exit, "rebase", "Give a child another parent", other, [words = other]() -> Outcome {
            CROFT_DISK_TRY(disk::tool::rebase(words->child, words->opened_as(), words->parent,
                words->only_locator, words->progress()));
            words->print({{"parent", words->parent}}, "");
            return Exit::success;
        });
    rebase->add_option("CHILD", other->child)->required();
    add_format_option(*rebase, *other);
    rebase->add_option("PARENT", other->parent)->required();
    rebase->add_flag("-u,--only-locator", other->only_locator,
        "Do not keep what the child shows: the parent only has another place");
}

void add_map(CLI::App& app, Exit& exit) {
    struct Words : Common {
        std::string path;
    };
    const auto words = std::make_shared<Words>();
    CLI::App* command = add_command(
        app, exit, "map", "Show what of a disk holds data, and where", words, [words]() -> Outcome {
            auto chain = disk::open_chain(words->path, {.format = words->opened_as()});
            if (!chain)
                return std::unexpected(std::move(chain).error());
            // A map can be long, so it is told as it is found.
            std::string_view before = "[";
            if (!words->as_json)
                fmt::print("{:>16} {:>16} {:>16}  {}\n", "offset", "length", "in file", "file");
            const auto visit = [&](const disk::tool::MapRange& range) -> Result<void> {
                const std::string& file = (*chain)->images()[range.depth]->store().name();
                if (words->as_json) {
                    json object{{"start", range.offset}, {"length", range.length},
                        {"data", range.data}, {"zero", !range.data}, {"depth", range.depth}};
                    if (range.data)
                        object["offset"] = range.store_offset;
                    fmt::print("{}{}", std::exchange(before, ",\n "), object.dump());
                } else if (range.data) {
                    fmt::print("{:>16} {:>16} {:>16}  {}\n", range.offset, range.length,
                        range.store_offset, file);
                }
                return disk::tool::report(
                    [](std::uint64_t, std::uint64_t) { return !interrupted.load(); }, file, 0, 0);
            };
            auto outcome = disk::tool::for_each_range(**chain, visit);
            if (!words->as_json)
                return outcome ? Outcome{Exit::success}
                               : std::unexpected(std::move(outcome).error());
            if (outcome) {
                fmt::print("{}]\n", before == "[" ? before : "");
                return Exit::success;
            }
            // What was told already stays valid JSON: the error is the array's last element.
            fmt::print("{}{}]\n", before, json{{"error", json_of(outcome.error())}}.dump());
            return words->tell_people(outcome.error());
        });
    command->add_option("FILE", words->path)->required();
    add_format_option(*command, *words);
}

void add_compare(CLI::App& app, Exit& exit) {
    struct Words : Common {
        std::string first, second, second_format;
        bool strict = false;
    };
    const auto words = std::make_shared<Words>();
    CLI::App* command = add_command(
        app, exit, "compare", "Tell whether two disks hold the same", words, [words]() -> Outcome {
            const auto difference = disk::tool::compare({words->first, words->opened_as()},
                {words->second, disk::tool::format_of_word(words->second_format)}, words->strict,
                words->progress());
            if (!difference)
                return std::unexpected(difference.error());
            if (!*difference) {
                words->print({{"identical", true}}, "Images are identical.\n");
                return Exit::success;
            }
            words->print({{"identical", false}, {"offset", (*difference)->offset},
                             {"size", (*difference)->size}},
                (*difference)->size
                    ? std::string{"Images differ in size.\n"}
                    : fmt::format("Content mismatch at offset {}!\n", (*difference)->offset));
            return Exit::differs;
        });
    command->add_option("FIRST", words->first)->required();
    command->add_option("SECOND", words->second)->required();
    add_format_option(*command, *words);
    command->add_option("-F,--second-format", words->second_format, "The same, of the second disk")
        ->check(format_words());
    command->add_flag("-s,--strict", words->strict, "Sizes have to be the same, too");
}

} // namespace

void print_usage_error(const std::string& what) {
    fmt::print("{}\n",
        json{{"error", {{"code", "usage"}, {"file", ""}, {"what", what}}}}.dump(
            2, ' ', false, json::error_handler_t::replace));
}

void add_disk_commands(CLI::App& app, Exit& exit) {
    CLI::App* disk = app.add_subcommand("disk", "Virtual disks: VHD, VHDX, raw and ISO");
    disk->require_subcommand(1);
    add_create(*disk, exit);
    add_info(*disk, exit);
    add_convert(*disk, exit);
    add_check(*disk, exit);
    add_resize(*disk, exit);
    add_compact(*disk, exit);
    add_merge(*disk, exit);
    add_map(*disk, exit);
    add_compare(*disk, exit);
    add_mount_commands(*disk, exit);
    add_copy_command(*disk, exit);
}

} // namespace croft::cli
