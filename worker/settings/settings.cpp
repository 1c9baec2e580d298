// SPDX-License-Identifier: Apache-2.0
#include "worker/settings/settings.hpp"

#include "vsp/network/frame.hpp"
#include "worker/error.hpp"
#include "worker/settings/mac.hpp"
#include "worker/settings/share_option.hpp"

#include <algorithm>
#include <array>
#include <bitset>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

namespace croft::worker {

using nlohmann::json;

namespace {

[[noreturn]] void refuse(
    std::string_view place, std::string_view found, std::string_view expected) {
    throw SettingsError(
        fmt::format("settings, {}: found {}, expected {}; correct it", place, found, expected));
}

/// Reads the members of one JSON object and finds those that nobody asked for.
class ObjectReader {
public:
    ObjectReader(const json& object, std::string place)
        : object_(object),
          place_(std::move(place)) {
        if (!object_.is_object()) {
            refuse(place_.empty() ? "the whole" : place_, object_.type_name(), "an object");
        }
    }

    void read(const char* key, std::string& value) {
        with(key, [&](const json& member, const std::string& place) {
            value = require(member, place, member.is_string(), "text").get<std::string>();
        });
    }
    void read(const char* key, bool& value) {
        with(key, [&](const json& member, const std::string& place) {
            value = require(member, place, member.is_boolean(), "true or false").get<bool>();
        });
    }
    void read(const char* key, std::uint32_t& value, std::uint32_t most) {
        with(key, [&](const json& member, const std::string& place) {
            const bool fits = member.is_number_unsigned() && member.get<std::uint64_t>() <= most;
            value = require(member, place, fits, fmt::format("a whole number up to {}", most))
                        .get<std::uint32_t>();
        });
    }
    /// One of some words, each of which stands for a value.
    template <typename Value, std::size_t count>
    void read_word(const char* key, Value& value,
        const std::array<std::pair<std::string_view, Value>, count>& words) {
        with(key, [&](const json& member, const std::string& place) {
            for (const auto& [word, meaning] : words) {
                if (member == word) {
                    value = meaning;
                    return;
                }
            }
            std::string known;
            for (const auto& [word, meaning] : words) {
                known += fmt::format("{}\"{}\"", known.empty() ? "" : " or ", word);
            }
            refuse(place, member.dump(), known);
        });
    }
    /// Bytes, as a number or as text with a unit.
    void read_size(const char* key, std::uint64_t& value) {
        with(key, [&](const json& member, const std::string& place) {
            if (member.is_string()) {
                value = parse_size(member.get<std::string>(), place);
                return;
            }
            value =
                require(member, place, member.is_number_unsigned(), "bytes, or text as \"512M\"")
                    .get<std::uint64_t>();
        });
    }
    void read_object(const char* key, const std::function<void(ObjectReader&)>& reader) {
        with(key, [&](const json& member, const std::string& place) {
            ObjectReader inner(member, place);
            reader(inner);
            inner.finish();
        });
    }
    void read_list(const char* key, const std::function<void(ObjectReader&)>& reader) {
        with(key, [&](const json& member, const std::string& place) {
            require(member, place, member.is_array(), "a list");
            for (std::size_t index = 0; index < member.size(); ++index) {
                ObjectReader inner(member[index], fmt::format("{}[{}]", place, index));
                reader(inner);
                inner.finish();
            }
        });
    }

    /// Refuses what has not been read.
    void finish() const {
        for (const auto& [key, value] : object_.items()) {
            if (std::find(known_.begin(), known_.end(), key) == known_.end()) {
                refuse(place_of(key), "a setting that isn't known",
                    fmt::format("one of: {}", fmt::join(known_, ", ")));
            }
        }
    }

private:
    void with(const char* key, const std::function<void(const json&, const std::string&)>& reader) {
        known_.emplace_back(key);
        const auto member = object_.find(key);
        if (member != object_.end()) {
            reader(*member, place_of(key));
        }
    }
    [[nodiscard]] std::string place_of(const std::string& key) const {
        return place_.empty() ? key : place_ + "." + key;
    }
    static const json& require(
        const json& member, const std::string& place, bool fits, const std::string& expected) {
        if (!fits) {
            refuse(place, member.dump(), expected);
        }
        return member;
    }

    const json& object_;
    std::string place_;
    std::vector<std::string> known_;
};

constexpr std::array<std::pair<std::string_view, DriveSettings::Type>, 2> drive_types = {{
    {"disk", DriveSettings::Type::disk},
    {"dvd", DriveSettings::Type::dvd},
}};

constexpr std::array<std::pair<std::string_view, NicSettings::Process>, 2> nic_processes = {{
    {"worker", NicSettings::Process::worker},
    {"own", NicSettings::Process::own},
}};

template <typename Value, std::size_t count>
std::string_view word_of(
    Value value, const std::array<std::pair<std::string_view, Value>, count>& words) {
    for (const auto& [word, meaning] : words) {
        if (meaning == value) {
            return word;
        }
    }
    return "";
}

constexpr std::size_t longest_serial = 36;

void check(const DriveSettings& drive, const std::string& place) {
    constexpr std::array<std::string_view, 5> formats = {"", "raw", "vhd", "vhdx", "iso"};
    if (std::ranges::find(formats, drive.format) == formats.end()) {
        refuse(place + ".format", fmt::format("\"{}\"", drive.format),
            "raw, vhd, vhdx or iso, or nothing to look into the file");
    }
    if (drive.type == DriveSettings::Type::disk && drive.path.empty()) {
        refuse(place + ".path", "no file", "a disk to have one; only DVD drives can be empty");
    }
    const auto is_wanted = [](char letter) {
        return letter > ' ' && letter <= '~' && letter != ',';
    };
    if (drive.serial.size() > longest_serial || !std::ranges::all_of(drive.serial, is_wanted)) {
        refuse(place + ".serial", fmt::format("\"{}\"", drive.serial),
            fmt::format("up to {} characters of ASCII without spaces and commas", longest_serial));
    }
    if (drive.type == DriveSettings::Type::dvd && !drive.serial.empty()) {
        refuse(place + ".serial", "one of a DVD drive", "only disks to have one");
    }
}

void read_share(ObjectReader& reader, ProcessorSettings& processor) {
    constexpr std::uint32_t no_node = ~std::uint32_t{0};
    std::uint32_t node = no_node;
    std::string list;
    reader.read("weight", processor.weight, ProcessorSettings::most_weight);
    reader.read("limit", processor.limit, ProcessorSettings::whole);
    reader.read("reservation", processor.reservation, ProcessorSettings::whole);
    reader.read("host_processors", list);
    reader.read("node", node, no_node - 1);
    if (!list.empty()) {
        processor.host_processors = parse_processor_list(list, "processor.host_processors");
    }
    if (node != no_node) {
        processor.node = node;
    }
}

json processor_to_json(const ProcessorSettings& processor) {
    json tree = {{"count", processor.count}, {"x2apic", processor.x2apic},
        {"weight", processor.weight}, {"limit", processor.limit},
        {"reservation", processor.reservation},
        {"host_processors", processor_list(processor.host_processors)}};
    if (processor.node) {
        tree["node"] = *processor.node;
    }
    return tree;
}

void check(const ProcessorSettings& processor) {
    if (processor.count == 0 || processor.count > ProcessorSettings::most) {
        refuse("processor.count", fmt::format("{}", processor.count),
            fmt::format("1 to {}", ProcessorSettings::most));
    }
    if (processor.weight == 0 || processor.weight > ProcessorSettings::most_weight) {
        refuse("processor.weight", fmt::format("{}", processor.weight),
            fmt::format("1 to {}", ProcessorSettings::most_weight));
    }
    if (processor.limit == 0) {
        refuse("processor.limit", "0", "more: the VM could not run");
    }
    if (processor.reservation > processor.limit) {
        refuse("processor.reservation", fmt::format("{}", processor.reservation),
            fmt::format("at most the limit, {}", processor.limit));
    }
}

void read(ObjectReader& reader, DriveSettings& drive) {
    std::uint32_t lun = DriveSettings::most;
    reader.read_word("type", drive.type, drive_types);
    reader.read("lun", lun, DriveSettings::most - 1);
    reader.read("path", drive.path);
    reader.read("format", drive.format);
    reader.read("read_only", drive.read_only);
    reader.read("serial", drive.serial);
    if (lun != DriveSettings::most) {
        drive.lun = lun;
    }
}

void check_drives(const std::vector<DriveSettings>& drives) {
    if (drives.size() > DriveSettings::most) {
        refuse("drives", fmt::format("{} drives", drives.size()),
            fmt::format("at most {}", DriveSettings::most));
    }
    std::bitset<DriveSettings::most> taken;
    for (std::size_t index = 0; index < drives.size(); ++index) {
        const std::string place = fmt::format("drives[{}]", index);
        check(drives[index], place);
        if (const auto lun = drives[index].lun; lun && taken[*lun]) {
            refuse(place + ".lun", fmt::format("{}, which another drive has", *lun), "a free one");
        } else if (lun) {
            taken.set(*lun);
        }
    }
}

void read(ObjectReader& reader, NicSettings& nic) {
    std::uint32_t number = NicSettings::most;
    reader.read("number", number, NicSettings::most - 1);
    reader.read("tap", nic.tap);
    reader.read("bridge", nic.bridge);
    reader.read("mac", nic.mac);
    reader.read("mtu", nic.mtu, vsp::network::largest_mtu);
    reader.read("queues", nic.queues, NicSettings::most_queues);
    reader.read("connected", nic.connected);
    reader.read_word("process", nic.process, nic_processes);
    if (number != NicSettings::most) {
        nic.number = number;
    }
}

void check(const NicSettings& nic, const std::string& place) {
    constexpr std::size_t longest_name = 15;
    for (const auto& [key, name] : {std::pair("tap", nic.tap), std::pair("bridge", nic.bridge)}) {
        if (name.size() > longest_name || name.find('/') != std::string::npos) {
            refuse(fmt::format("{}.{}", place, key), fmt::format("\"{}\"", name),
                fmt::format("the name of a network device, of up to {} letters", longest_name));
        }
    }
    if (nic.tap.empty()) {
        refuse(place + ".tap", "nothing", "the name of a TAP device");
    }
    if (!nic.mac.empty() && !parse_mac(nic.mac)) {
        refuse(place + ".mac", fmt::format("\"{}\"", nic.mac),
            "the address of one adapter, as 02:00:00:00:00:01");
    }
    if (nic.mtu != 0 &&
        (nic.mtu < vsp::network::smallest_mtu || nic.mtu > vsp::network::largest_mtu)) {
        refuse(place + ".mtu", fmt::format("{}", nic.mtu),
            fmt::format("{} to {}", vsp::network::smallest_mtu, vsp::network::largest_mtu));
    }
    if (nic.number.value_or(0) >= NicSettings::most) {
        refuse(place + ".number", fmt::format("{}", *nic.number),
            fmt::format("one below {}", NicSettings::most));
    }
    if (nic.queues > NicSettings::most_queues) {
        refuse(place + ".queues", fmt::format("{}", nic.queues),
            fmt::format("at most {}", NicSettings::most_queues));
    }
}

} // namespace

std::optional<std::string> SerialPortSettings::socket() const {
    constexpr std::string_view kind = "unix:";
    if (!connection.starts_with(kind)) {
        return std::nullopt;
    }
    return connection.substr(kind.size());
}

std::uint64_t parse_size(std::string_view text, std::string_view place) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
    static constexpr std::string_view units = "KMGT";
    const std::size_t power = unit.empty() ? 0 : units.find(unit.front()) + 1;
    const unsigned shift = static_cast<unsigned>(power) * 10;
    if (error != std::errc() || unit.size() > 1 || power > units.size() ||
        (!unit.empty() && power == 0) || (value << shift) >> shift != value) {
        refuse(place, fmt::format("\"{}\"", text), "bytes as a number with K, M, G or T, as 512M");
    }
    return value << shift;
}

Settings settings_from_json(const json& tree) {
    Settings settings;
    ObjectReader root(tree, "");
    root.read("name", settings.name);
    root.read_object("processor", [&](ObjectReader& reader) {
        reader.read("count", settings.processor.count, ProcessorSettings::most);
        reader.read("x2apic", settings.processor.x2apic);
        read_share(reader, settings.processor);
    });
    root.read_object("memory", [&](ObjectReader& reader) {
        reader.read_size("size", settings.memory.size);
        reader.read("populated", settings.memory.populated);
    });
    if (tree.contains("serial_ports")) {
        settings.serial_ports.clear();
    }
    root.read_list("serial_ports", [&](ObjectReader& reader) {
        SerialPortSettings port;
        reader.read("connection", port.connection);
        settings.serial_ports.push_back(std::move(port));
    });
    root.read_list("drives", [&](ObjectReader& reader) {
        DriveSettings drive;
        read(reader, drive);
        settings.drives.push_back(std::move(drive));
    });
    root.read_list("nics", [&](ObjectReader& reader) {
        NicSettings nic;
        read(reader, nic);
        settings.nics.push_back(std::move(nic));
    });
    root.read_object("boot", [&](ObjectReader& reader) {
        reader.read("kernel", settings.boot.kernel);
        reader.read("initial_ram_disk", settings.boot.initial_ram_disk);
        reader.read("command_line", settings.boot.command_line);
    });
    root.read_object(
        "control", [&](ObjectReader& reader) { reader.read("socket", settings.control.socket); });
    root.finish();
    return settings;
}

DriveSettings drive_from_json(const json& tree, const std::string& place) {
    DriveSettings drive;
    ObjectReader reader(tree, place);
    read(reader, drive);
    reader.finish();
    check(drive, place);
    return drive;
}

json to_json(const DriveSettings& drive) {
    json tree = {{"type", word_of(drive.type, drive_types)}, {"path", drive.path},
        {"format", drive.format}, {"read_only", drive.read_only}};
    if (drive.lun) {
        tree["lun"] = *drive.lun;
    }
    if (!drive.serial.empty()) {
        tree["serial"] = drive.serial;
    }
    return tree;
}

NicSettings nic_from_json(const json& tree, const std::string& place) {
    NicSettings nic;
    ObjectReader reader(tree, place);
    read(reader, nic);
    reader.finish();
    check(nic, place);
    return nic;
}

json to_json(const NicSettings& nic) {
    json tree = {{"tap", nic.tap}, {"bridge", nic.bridge}, {"mac", nic.mac}, {"mtu", nic.mtu},
        {"queues", nic.queues}, {"connected", nic.connected},
        {"process", word_of(nic.process, nic_processes)}};
    if (nic.number) {
        tree["number"] = *nic.number;
    }
    return tree;
}

json to_json(const Settings& settings) {
    json nics = json::array();
    for (const NicSettings& nic : settings.nics) {
        nics.push_back(to_json(nic));
    }
    json drives = json::array();
    for (const DriveSettings& drive : settings.drives) {
        drives.push_back(to_json(drive));
    }
    json ports = json::array();
    for (const SerialPortSettings& port : settings.serial_ports) {
        ports.push_back({{"connection", port.connection}});
    }
    return {
        {"name", settings.name},
        {"processor", processor_to_json(settings.processor)},
        {"memory", {{"size", settings.memory.size}, {"populated", settings.memory.populated}}},
        {"serial_ports", std::move(ports)},
        {"drives", std::move(drives)},
        {"nics", std::move(nics)},
        {"boot",
            {{"kernel", settings.boot.kernel}, {"initial_ram_disk", settings.boot.initial_ram_disk},
                {"command_line", settings.boot.command_line}}},
        {"control", {{"socket", settings.control.socket}}},
    };
}

Settings settings_from_file(const std::string& path) {
    std::ifstream file(path);
    if (!file) {
        throw SettingsError(fmt::format(
            "settings file {}: {}; give a file that can be read", path, std::strerror(errno)));
    }
    try {
        return settings_from_json(json::parse(file));
    } catch (const json::parse_error& error) {
        throw SettingsError(fmt::format("settings file {}: found no JSON at byte {}, expected an "
                                        "object; correct it",
            path, error.byte));
    }
}

void check(const Settings& settings) {
    check(settings.processor);
    if (settings.serial_ports.size() > Settings::most_serial_ports) {
        refuse("serial_ports", fmt::format("{} ports", settings.serial_ports.size()),
            fmt::format("at most {}", Settings::most_serial_ports));
    }
    check_drives(settings.drives);
    if (settings.nics.size() > NicSettings::most) {
        refuse("nics", fmt::format("{} NICs", settings.nics.size()),
            fmt::format("at most {}", NicSettings::most));
    }
    for (std::size_t index = 0; index < settings.nics.size(); ++index) {
        check(settings.nics[index], fmt::format("nics[{}]", index));
    }
    if (settings.boot.kernel.empty()) {
        refuse("boot.kernel", "nothing", "the path of a kernel (--kernel FILE)");
    }
    std::size_t terminals = 0;
    for (const SerialPortSettings& port : settings.serial_ports) {
        terminals += port.connection == "stdio" ? 1U : 0U;
        if (port.socket() == "") {
            refuse("serial_ports", "\"unix:\"", "the path of a socket behind it");
        }
    }
    if (terminals > 1) {
        refuse("serial_ports", "more than one with connection \"stdio\"", "at most one");
    }
}

} // namespace croft::worker
