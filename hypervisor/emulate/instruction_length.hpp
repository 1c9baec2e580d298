// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/emulate/instruction_mode.hpp"
#include "hypervisor/emulate/instruction_reader.hpp"

#include <cstdint>
#include <expected>
#include <span>

namespace hypervisor {

/// Instructions that end in an intercept of their own (APM vol. 2, 15.9 and table 15-7).
enum class InterceptedInstruction : std::uint8_t {
    cpuid,
    rdmsr,
    wrmsr,
    hlt,
    vmmcall,
    vmcall,
    xsetbv,
    invd,
    wbinvd, ///< and WBNOINVD, which has the same intercept
    rdtsc,
    rdtscp,
    rdpmc,
    rdpru,
    pause,
    monitor,
    mwait,
    monitorx,
    mwaitx,
    rsm,
    invlpg,
    invlpga,
    invpcid,
    vmrun,
    vmload,
    vmsave,
    stgi,
    clgi,
    skinit,
    int_n,
    int3,
    icebp,
    into,
    iret,
    pushf,
    popf,
    mov_cr,
    mov_dr,
    clts,
    lmsw,
    smsw,
    sgdt,
    sidt,
    lgdt,
    lidt,
    sldt,
    str,
    lldt,
    ltr,
    memory_access, ///< any whose access is intercepted: that doesn't tell how long it is
};

inline constexpr unsigned intercepted_instruction_count = unsigned(InterceptedInstruction::ltr) + 1;

/// How far to advance the instruction pointer over an intercepted instruction, for processors that
/// don't save the next one. The bytes come from guest memory, which may have changed since the
/// intercept: what isn't that instruction any more is an error.
[[nodiscard]] std::expected<std::uint8_t, DecodeError> intercepted_instruction_length(
    InterceptedInstruction which, std::span<const std::uint8_t> bytes, InstructionMode mode);

} // namespace hypervisor
