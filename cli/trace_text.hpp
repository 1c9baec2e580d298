// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/trace_session.hpp"

#include <bitset>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace croft::cli {

using ReasonSet = std::bitset<HV_EXIT_TRACE_REASONS>;

// "cpuid", "msr-write"; "unexpected" for one that this program doesn't know.
const char* reason_name(std::uint8_t reason);
// Those that a name stands for: one, or several as "msr" and "other", whose names are those of
// `croft host stats`. None if there is no such name.
ReasonSet reasons_named(std::string_view name);
// All names that there are.
std::vector<std::string> reason_names();

// "hypervisor", "parent", "waits", "stopped"
const char* outcome_name(std::uint8_t outcome);

// An exit as a line, whose columns the heading names; neither has a line's end.
std::string trace_heading();
std::string trace_line(const TraceSession& session, const TracedExit& exit);
// The same for programs.
nlohmann::json trace_json(const TraceSession& session, const TracedExit& exit);

} // namespace croft::cli
