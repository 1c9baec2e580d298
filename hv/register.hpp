// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/abi.hpp"

#include <cstdint>

namespace croft::hv {

/// A register's name, to be filled in by VirtualProcessor::get_registers.
[[nodiscard]] inline hv_register_assoc register_name(std::uint32_t name) {
    hv_register_assoc result{};
    result.name = name;
    return result;
}

/// A register of up to 64 bits and its value.
[[nodiscard]] inline hv_register_assoc register_value(std::uint32_t name, std::uint64_t value) {
    hv_register_assoc result{};
    result.name = name;
    result.value.reg64 = value;
    return result;
}

/// A segment register and its value.
[[nodiscard]] inline hv_register_assoc register_value(
    std::uint32_t name, const hv_x64_segment_register& value) {
    hv_register_assoc result{};
    result.name = name;
    result.value.segment = value;
    return result;
}

/// A descriptor table register and its value.
[[nodiscard]] inline hv_register_assoc register_value(
    std::uint32_t name, const hv_x64_table_register& value) {
    hv_register_assoc result{};
    result.name = name;
    result.value.table = value;
    return result;
}

} // namespace croft::hv
