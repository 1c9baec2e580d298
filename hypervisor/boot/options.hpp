// SPDX-License-Identifier: Apache-2.0
// The hypervisor's command line: words of the form name=value, separated by blanks.
#pragma once

#include "hypervisor/debug/console.hpp"

#include <cstdint>
#include <string_view>

namespace hypervisor {

struct BootOptions {
    LogLevel log_level = LogLevel::info; ///< loglevel=1 (errors) … 5 (trace)
    std::uint16_t console_port = 0x3f8;  ///< console=com1|com2|none
    bool root_schedules = false;         ///< scheduler=classic|root
    std::string_view unknown{};          ///< the first word that is not understood
};

BootOptions parse_options(std::string_view command_line);

} // namespace hypervisor
