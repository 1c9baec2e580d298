// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/abi.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace croft::hv {

/// What ended VirtualProcessor::run.
enum class RunResult {
    intercepted, ///< `message` says what the guest did.
    interrupted, ///< The thread got a signal; the guest did nothing that needs an answer.
};

/// The parts of a VP's state that aren't registers (TLFS "Virtual Processor State Management").
enum class VpState {
    local_apic,
    xsave,
    message_page,
    event_flags_page,
    synthetic_timers,
};

/// The answer to translating a guest virtual address.
struct Translation {
    hv_translate_gva_result_code result = HV_TRANSLATE_GVA_SUCCESS;
    /// The guest physical address, if `result` is HV_TRANSLATE_GVA_SUCCESS.
    std::uint64_t gpa = 0;
};

/// The registers that any instruction may use.
struct CoreRegisters {
    std::array<std::uint64_t, 16> general{}; ///< in the order of HV_X64_REGISTER_RAX …
    std::uint64_t rip = 0;
    std::uint64_t rflags = 0;
    std::array<hv_x64_segment_register, 6> segments{}; ///< in the order of HV_X64_REGISTER_ES …
};

/// One virtual processor of a partition. All of it is for one thread at a time: the one that runs
/// the VP, or any other while no thread does. Every call throws HypervisorError if the hypervisor
/// refuses.
class VirtualProcessor {
public:
    VirtualProcessor() = default;
    VirtualProcessor(const VirtualProcessor&) = delete;
    VirtualProcessor& operator=(const VirtualProcessor&) = delete;
    virtual ~VirtualProcessor() = default;

    [[nodiscard]] virtual std::uint32_t index() const = 0;

    /// Runs the VP until it does something that the parent has to answer, or a signal arrives for
    /// the calling thread. The VP stays suspended until the next call.
    virtual RunResult run() = 0;

    /// The message of the last `run` that was intercepted (TLFS "Intercepts").
    [[nodiscard]] virtual const hv_message& message() const = 0;

    /// Fills in the values of the named registers, any number of them (HvCallGetVpRegisters).
    virtual void get_registers(std::span<hv_register_assoc> registers) = 0;

    /// Sets registers in the given order (HvCallSetVpRegisters).
    virtual void set_registers(std::span<const hv_register_assoc> registers) = 0;

    /// The same for what an instruction's emulation needs, which an implementation may have at
    /// hand.
    [[nodiscard]] virtual CoreRegisters core_registers();
    virtual void set_core_registers(
        std::span<const std::uint64_t, 16> general, std::uint64_t rip, std::uint64_t rflags);
    /// And for the end of an access to a port: RAX if it was read.
    virtual void set_rip(std::uint64_t rip, std::optional<std::uint64_t> rax);

    /// One part of the state, in the hypervisor's own format (HvCallGetVpState).
    [[nodiscard]] virtual std::vector<std::uint8_t> get_state(VpState which) = 0;
    virtual void set_state(VpState which, std::span<const std::uint8_t> state) = 0;

    /// Translates by the VP's current paging mode. `flags` are HV_TRANSLATE_GVA_…
    /// (HvCallTranslateVirtualAddress). A failed translation is a result, not an error.
    [[nodiscard]] virtual Translation translate(std::uint64_t gva, std::uint64_t flags) = 0;

    /// What CPUID answers the VP, as EAX, EBX, ECX, EDX (HvCallGetVpCpuidValues).
    [[nodiscard]] virtual std::vector<std::uint32_t> cpuid(
        std::uint32_t leaf, std::uint32_t subleaf) = 0;
};

} // namespace croft::hv
