// SPDX-License-Identifier: Apache-2.0
// The guests of guest_code.S and of the others ending in _code.S by their names.
#pragma once

#include <cstdint>

/// Declares a guest, at file scope.
#define GUEST(name)                               \
    extern "C" const std::uint8_t guest_##name[]; \
    extern "C" const std::uint8_t guest_##name##_end[];
/// Its code, for GuestMachine::load.
#define CODE(name) (::croft::guests::Code{guest_##name, guest_##name##_end})
