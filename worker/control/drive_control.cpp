// SPDX-License-Identifier: Apache-2.0
#include "worker/control/drive_control.hpp"

#include "worker/error.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>

namespace croft::worker {

using nlohmann::json;

namespace {

std::uint32_t lun_of(const json& request) {
    const auto lun = request.find("lun");
    if (lun == request.end() || !lun->is_number_unsigned() || *lun >= DriveSettings::most) {
        throw SettingsError(fmt::format("request: found no \"lun\" of a drive, expected a whole "
                                        "number below {}; send one that \"drives\" lists",
            DriveSettings::most));
    }
    return lun->get<std::uint32_t>();
}

std::optional<std::uint64_t> size_of(const json& request) {
    const auto size = request.find("size");
    if (size == request.end()) {
        return std::nullopt;
    }
    if (size->is_string()) {
        return parse_size(size->get<std::string>(), "size");
    }
    if (!size->is_number_unsigned()) {
        throw SettingsError("request: found another \"size\", expected bytes, or text as \"20G\"; "
                            "send one, or none");
    }
    return size->get<std::uint64_t>();
}

} // namespace

json list_drives(const StorageDevice& storage) {
    json drives = json::array();
    for (const StorageDevice::Drive& drive : storage.drives()) {
        drives.push_back(to_json(drive.settings));
        drives.back()["size"] = drive.size;
    }
    return drives;
}

void add_drive_commands(Commands& commands, StorageDevice& storage) {
    commands["drives"] = [&storage](const json& /*request*/) {
        return json{{"drives", list_drives(storage)}};
    };
    commands["add-drive"] = [&storage](const json& request) {
        return json{{"lun", storage.add_drive(drive_from_json(request.at("drive"), "drive"))}};
    };
    commands["remove-drive"] = [&storage](const json& request) {
        storage.remove_drive(lun_of(request));
        return json::object();
    };
    commands["resize-drive"] = [&storage](const json& request) {
        storage.resize_drive(lun_of(request), size_of(request));
        return json::object();
    };
    commands["change-disc"] = [&storage](const json& request) {
        storage.change_disc(lun_of(request), request.value("path", std::string()));
        return json::object();
    };
}

} // namespace croft::worker
