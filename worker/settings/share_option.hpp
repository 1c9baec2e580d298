// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// A VM's share of the host's processors as words. `place` says in messages where they stood.
/// Errors: SettingsError.
namespace croft::worker {

/// "25" or "12.5", in thousandths of a percent.
[[nodiscard]] std::uint32_t parse_percent(std::string_view text, std::string_view place);

/// Processors of the host as "0-3,8": a bit for each, below 64.
[[nodiscard]] std::uint64_t parse_processor_list(std::string_view text, std::string_view place);
/// The same back; "" for none.
[[nodiscard]] std::string processor_list(std::uint64_t set);

} // namespace croft::worker
