// SPDX-License-Identifier: Apache-2.0
#include "cli/disk_mount.hpp"

#include "cli/disk_command.hpp"
#include "disk/mount/attach.hpp"
#include "disk/mount/mount.hpp"

#include <fmt/format.h>

namespace croft::cli {

namespace {

namespace mount = disk::mount;
using nlohmann::json;

bool is_interrupted() {
    return interrupted.load();
}

json json_of(const mount::Volume& volume) {
    const disk::Partition& partition = volume.partition;
    json object{{"number", partition.number}, {"offset", partition.offset},
        {"length", partition.length}, {"type", partition.type}, {"type_name", partition.type_name},
        {"name", partition.name}, {"id", partition.id}, {"bootable", partition.bootable},
        {"container", partition.container}, {"problem", partition.problem},
        {"file_system", nullptr}, {"driver", nullptr}};
    if (volume.file_system)
        object["file_system"] = {{"type", volume.file_system->type},
            {"label", volume.file_system->label}, {"id", volume.file_system->id}};
    if (volume.mountable()) {
        const std::string driver = mount::driver_for(volume.file_system->type);
        if (!driver.empty())
            object["driver"] = driver;
    }
    return object;
}

json json_of(const std::string& file, const mount::DiskContents& contents) {
    json volumes = json::array();
    for (const mount::Volume& volume : contents.volumes)
        volumes.push_back(json_of(volume));
    json notes = contents.table.notes;
    if (!contents.table_error.empty())
        notes.push_back(contents.table_error);
    return {{"file", file}, {"size", contents.size}, {"sector_size", contents.sector_size},
        {"table",
            {{"kind", to_string(contents.table.kind)}, {"id", contents.table.id},
                {"sector_size", contents.table.sector_size}}},
        {"volumes", std::move(volumes)}, {"notes", std::move(notes)}};
}

// Names come from the disk.
std::string printable(std::string text) {
    for (char& letter : text) {
        if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7f)
            letter = '?';
    }
    return text;
}

std::string text_of(const mount::Volume& volume) {
    const disk::Partition& partition = volume.partition;
    std::string holds = "nothing known";
    if (!partition.problem.empty())
        holds = "not used: " + partition.problem;
    else if (partition.container)
        holds = "holds the logical ones";
    else if (volume.file_system)
        holds = volume.file_system->type +
            (volume.file_system->label.empty() ? "" : " \"" + volume.file_system->label + "\"");
    if (volume.mountable()) {
        const std::string driver = mount::driver_for(volume.file_system->type);
        holds += driver.empty()                  ? ", which nothing here mounts"
            : driver == volume.file_system->type ? ""
                                                 : ", by " + driver;
    }
    const std::string type = !partition.name.empty() ? partition.name
        : partition.type_name.empty()                ? partition.type
                                                     : partition.type_name;
    return fmt::format("{:>4}  {:>10}  {:>10}  {:24}  {}\n", volume.raw_name(),
        size_text(partition.offset), size_text(partition.length), printable(type), holds);
}

Outcome show(const Common& common, const std::string& file) {
    const auto contents = mount::read_contents(file, common.opened_as());
    if (!contents)
        return std::unexpected(contents.error());
    std::string text = fmt::format("{}: {}, {}\n", file, size_text(contents->size),
        contents->table.kind == disk::PartitionTable::Kind::mbr       ? "MBR"
            : contents->table.kind == disk::PartitionTable::Kind::gpt ? "GPT"
            : contents->table_error.empty()                           ? "no partitions"
                                                                      : "a damaged table");
    for (const mount::Volume& volume : contents->volumes)
        text += text_of(volume);
    for (const std::string& note : contents->table.notes)
        text += "note: " + note + "\n";
    if (!contents->table_error.empty())
        text += "note: " + contents->table_error + "\n";
    common.print(json_of(file, *contents), text);
    return Exit::success;
}

json json_of(const mount::Record& record) {
    json file_systems = json::array();
    for (const mount::Attachment& it : record.attachments)
        file_systems.push_back({{"partition", it.partition}, {"driver", it.type},
            {"directory", it.directory}, {"device", it.device}});
    return {{"file", record.file}, {"directory", record.directory}, {"process", record.process},
        {"read_write", record.read_write}, {"raw", record.raw}, {"alive", record.alive},
        {"error", record.error}, {"file_systems", std::move(file_systems)}};
}

std::string text_of(const mount::Record& record) {
    std::string text = fmt::format("{} on {}, {}, process {}\n", record.file,
        record.directory.empty() ? "no directory (files are copied)" : record.directory,
        record.read_write ? "read-write" : "read-only", record.process);
    if (!record.error.empty())
        text += "     a write failed, not all is on the disk: " + record.error + "\n";
    if (record.error.empty() && !record.alive)
        text += "     the process ended early; croft disk umount clears it away\n";
    if (record.raw)
        text += "     its partitions as files\n";
    for (const mount::Attachment& it : record.attachments)
        text += fmt::format("{:>4}  {} on {}, {}\n",
            it.partition == 0 ? "disk" : fmt::format("p{}", it.partition), it.type, it.directory,
            it.device);
    return text;
}

Outcome list(const Common& common) {
    json mounts = json::array();
    std::string text;
    for (const mount::Record& record : mount::read_records()) {
        mounts.push_back(json_of(record));
        text += text_of(record);
    }
    common.print({{"mounts", mounts}}, text);
    return Exit::success;
}

void add_mount(CLI::App& app, Exit& exit) {
    struct Words : Common {
        std::string file, directory;
        mount::MountOptions options{.stopped = is_interrupted};
        unsigned partition = 0;
        bool force = false;
    };
    const auto words = std::make_shared<Words>();
    CLI::App* command = add_command(
        app, exit, "mount", "Show a disk's partitions, or mount them", words, [words]() -> Outcome {
            if (words->file.empty())
                return list(*words);
            if (words->directory.empty())
                return show(*words, words->file);
            if (words->partition != 0)
                words->options.partition = words->partition;
            words->options.format = words->opened_as();
            const auto mounted = mount::mount_disk(words->file, words->directory, words->options);
            if (!mounted)
                return std::unexpected(mounted.error());
            json object = json_of(mounted->record);
            object["notes"] = mounted->notes;
            words->print(object, text_of(mounted->record));
            if (!words->as_json) {
                for (const std::string& note : mounted->notes)
                    words->note(note);
            }
            return Exit::success;
        });
    command->add_option("FILE", words->file, "The disk; without, what is mounted is listed");
    command->add_option("DIR", words->directory, "Where; without, the partitions are listed");
    add_format_option(*command, *words);
    command->add_flag("-w,--read-write", words->options.write, "What is written goes to the disk");
    command->add_option("-p,--partition", words->partition, "Only this one, seen in DIR itself")
        ->check(CLI::PositiveNumber);
    command->add_flag("--raw", words->options.raw, "Partitions as files; mounts no file systems");
    const auto target = std::make_shared<Words>();
    command = add_command(app, exit, "umount", "Unmount a disk; returns when all is on it", target,
        [target]() -> Outcome {
            const auto record = mount::unmount_disk(
                target->file, {.force = target->force, .note = [&target](const std::string& text) {
                                   target->note(text);
                               }});
            if (!record)
                return std::unexpected(record.error());
            target->print({{"file", record->file}, {"directory", record->directory}}, "");
            return Exit::success;
        });
    command->add_option("TARGET", target->file, "The directory, or the disk's file")->required();
    command->add_flag(
        "--force", target->force, "Also when not all that was written can get to the disk");
}

} // namespace

void add_mount_commands(CLI::App& app, Exit& exit) {
    add_mount(app, exit);
}

} // namespace croft::cli
