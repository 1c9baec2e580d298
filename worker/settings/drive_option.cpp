// SPDX-License-Identifier: Apache-2.0
#include "worker/settings/drive_option.hpp"

#include <string_view>
#include <utility>

namespace croft::worker {

namespace {
constexpr std::string_view serial_word = "serial=";
} // namespace

DriveSettings parse_disk_option(std::string text) {
    DriveSettings drive;
    for (;;) {
        const std::size_t comma = text.rfind(',');
        const std::string word = comma == std::string::npos ? "" : text.substr(comma + 1);
        if (word == "read-only") {
            drive.read_only = true;
        } else if (word == "raw" || word == "vhd" || word == "vhdx") {
            drive.format = word;
        } else if (word.starts_with(serial_word)) {
            drive.serial = word.substr(serial_word.size());
        } else {
            drive.path = std::move(text);
            return drive;
        }
        text.erase(comma);
    }
}

DriveSettings parse_dvd_option(const std::string& text) {
    DriveSettings drive;
    drive.type = DriveSettings::Type::dvd;
    drive.format = "iso";
    drive.read_only = true;
    drive.path = text == "none" ? "" : text;
    return drive;
}

} // namespace croft::worker
