// SPDX-License-Identifier: Apache-2.0
// The small interface between a virtual processor and the virtualization extension that runs it.
// AMD-V implements it (svm/); VT-x would.
#pragma once

#include "abi/message.h"
#include "abi/register.h"
#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/emulate/instruction_mode.hpp"
#include "hypervisor/memory/address.hpp"

#include <array>
#include <cstdint>
#include <optional>

namespace hypervisor {

enum class CpuRegister : std::uint8_t {
    rip,
    rflags,
    cr0,
    cr2,
    cr3,
    cr4,
    efer,
    dr0,
    dr1,
    dr2,
    dr3,
    dr6,
    dr7,
    pat,
    star,
    lstar,
    cstar,
    sfmask,
    kernel_gs_base,
    sysenter_cs,
    sysenter_esp,
    sysenter_eip,
    debugctl,
    tsc_aux,
    xss,
    xcr0,
    count,
};

/// MSRs that guests read and write without an exit, if they aren't asked for.
struct MsrRange {
    std::uint32_t first;
    std::uint32_t last;
};
inline constexpr MsrRange own_msrs[] = {
    {msr_sysenter_cs, msr_sysenter_eip}, {msr_star, msr_sfmask}, {msr_fs_base, msr_tsc_aux}};

/// In the order of HV_X64_REGISTER_ES ….
enum class SegmentName : std::uint8_t { es, cs, ss, ds, fs, gs, ldtr, tr };
enum class TableName : std::uint8_t { idtr, gdtr };

/// Index of a general register, as instructions encode it.
enum GeneralRegister : std::uint8_t { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 };

enum class ExitReason : std::uint8_t {
    interrupt,        ///< a physical interrupt waits to be taken
    nmi,              ///< a physical NMI came, and has been taken since
    interrupt_window, ///< the guest can take an interrupt now
    cpuid,
    msr_read,
    msr_write,
    io,
    halt,
    hypercall,
    nested_page_fault,
    set_xcr0,
    invalidate_caches,
    undefined_instruction, ///< one that guests don't have: #UD is due
    performance_counter,   ///< a read of one; guests have none: #GP is due
    shutdown,              ///< triple fault
    invalid_state,         ///< the processor refuses the guest's state
    exception,             ///< one that must not reach the guest unseen; it was not delivered
    unexpected,
};

/// Why the guest stopped, and what the processor says of the instruction.
struct Exit {
    ExitReason reason = ExitReason::unexpected;
    std::uint64_t code = 0;     ///< the processor's own code, for messages
    std::uint64_t next_rip = 0; ///< 0 if the processor does not tell
    std::uint64_t gpa = 0;      ///< nested_page_fault
    bool is_write = false;      ///< nested_page_fault
    bool is_execute = false;    ///< nested_page_fault
    std::uint16_t port = 0;     ///< io
    std::uint8_t access_size = 0;
    bool is_in = false;
    bool is_string = false;
    bool has_rep = false;
    std::uint8_t vector = 0; ///< exception
    bool has_error_code = false;
    std::uint32_t error_code = 0;
    std::uint64_t fault_address = 0; ///< exception: of a page fault, which CR2 doesn't have yet
};

/// An event that is delivered through the guest's IDT when it goes on.
struct CpuEvent {
    enum class Type : std::uint8_t {
        interrupt = 0,
        nmi = 2,
        exception = 3,
        software_interrupt = 4,
        privileged_software_exception = 5,
        software_exception = 6
    };
    Type type = Type::interrupt;
    std::uint8_t vector = 0;
    bool has_error_code = false;
    std::uint32_t error_code = 0;
    /// Of the instruction that raises it, where one does: RIP is at it, and the handler returns to
    /// behind it.
    std::uint8_t instruction_length = 0;

    [[nodiscard]] bool is_by_instruction() const { return type >= Type::software_interrupt; }
};

/// What a guest is stopped at beside what the hypervisor needs for itself.
struct CpuIntercepts {
    std::uint32_t exceptions = 0; ///< a bit for each vector
    bool all_msrs = false;        ///< also those that guests have for themselves
};

class VirtualCpu {
public:
    VirtualCpu(const VirtualCpu&) = delete;
    VirtualCpu& operator=(const VirtualCpu&) = delete;

    /// General registers; RAX and RSP too.
    std::array<std::uint64_t, 16> gpr{};

    /// As after power-up (SDM vol. 3, table 10-1).
    virtual void reset() = 0;

    /// Puts into this processor what entering the guest does not load, and takes it out again.
    virtual void load() = 0;
    virtual void save() = 0;
    /// Runs the guest until it stops. Loaded on this processor; interrupts are disabled.
    virtual Exit run() = 0;
    /// Before the next run no translation of the guest is reused.
    virtual void flush_tlb() = 0;

    [[nodiscard]] virtual std::uint64_t get(CpuRegister r) const = 0;
    virtual void set(CpuRegister r, std::uint64_t value) = 0;
    [[nodiscard]] virtual hv_x64_segment_register segment(SegmentName name) const = 0;
    // What a parent is told at each intercept, at once: one by one it would take several times as
    // long.

    /// Fills in CR8, the execution state, CS, RIP and RFLAGS.
    virtual void tell(hv_x64_intercept_message_header& header) const = 0;
    /// Fills in all but the general and XMM registers, the version and the pending interruption.
    virtual void tell(hv_vp_register_page& page) const = 0;
    virtual void set_segment(SegmentName name, const hv_x64_segment_register& value) = 0;
    [[nodiscard]] virtual hv_x64_table_register table(TableName name) const = 0;
    virtual void set_table(TableName name, const hv_x64_table_register& value) = 0;
    [[nodiscard]] virtual unsigned cpl() const = 0;
    [[nodiscard]] virtual InstructionMode mode() const = 0;

    /// The event that waits to be delivered, if there is one. An external interrupt waits until the
    /// guest can take it, and until what is set after it has been delivered; all else is delivered
    /// at the next entry.
    [[nodiscard]] virtual std::optional<CpuEvent> pending_event() const = 0;
    [[nodiscard]] virtual bool has_pending_event() const = 0;
    virtual void set_pending_event(const std::optional<CpuEvent>& event) = 0;
    [[nodiscard]] virtual bool interrupt_shadow() const = 0;
    virtual void set_interrupt_shadow(bool on) = 0;
    [[nodiscard]] virtual bool nmi_masked() const = 0;
    virtual void set_nmi_masked(bool masked) = 0;
    /// Asks for an exit as soon as the guest can take an interrupt.
    virtual void set_interrupt_window(bool on) = 0;
    /// The guest's CR8, which it changes without an exit.
    [[nodiscard]] virtual std::uint8_t cr8() const = 0;
    virtual void set_cr8(std::uint8_t value) = 0;

    virtual void set_intercepts(const CpuIntercepts& which) = 0;
    /// One of own_msrs, of the guest that is loaded. \return of a write whether it takes the value.
    [[nodiscard]] virtual std::uint64_t read_own_msr(std::uint32_t msr) const = 0;
    [[nodiscard]] virtual bool write_own_msr(std::uint32_t msr, std::uint64_t value) = 0;

    virtual void set_address_space(SpaPage root) = 0;
    virtual void set_tsc_offset(std::uint64_t offset) = 0;
    /// The extended state (x87, SSE, AVX …) in the standard layout of XSAVE; the VP is not loaded.
    [[nodiscard]] virtual std::uint8_t* extended_state() = 0;

protected:
    VirtualCpu() = default;
    ~VirtualCpu() = default;
};

/// What is the same for every implementation, which is `Cpu`: it is known what is called here.
template <class Cpu>
class CommonCpu : public VirtualCpu {
public:
    /// Goes on behind the instruction of `length` bytes, which somebody else has carried out. One
    /// function of all its parts: exits end with it.
    [[gnu::noinline]] void advance(unsigned length) {
        skip_inline(length);
        end_inline();
    }
    /// The same, but for end_instruction().
    [[gnu::noinline]] void skip(unsigned length) { skip_inline(length); }
    /// What the processor does at the end of each instruction, when it isn't the one to end it: the
    /// resume flag goes, and a guest that single-steps gets its #DB.
    [[gnu::noinline]] void end_instruction() { end_inline(); }
    /// Whether an interrupt could be delivered now, its priority aside.
    [[nodiscard]] bool can_take_interrupt() const {
        return (self().get(CpuRegister::rflags) & rflags_if) != 0 && !self().interrupt_shadow() &&
            !self().has_pending_event();
    }
    void raise(std::uint8_t vector, std::optional<std::uint32_t> error_code = std::nullopt) {
        self().set_pending_event(CpuEvent{.type = CpuEvent::Type::exception,
            .vector = vector,
            .has_error_code = error_code.has_value(),
            .error_code = error_code.value_or(0)});
    }

protected:
    CommonCpu() = default;
    ~CommonCpu() = default;

private:
    Cpu& self() { return static_cast<Cpu&>(*this); }
    [[nodiscard]] const Cpu& self() const { return static_cast<const Cpu&>(*this); }

    static std::uint64_t instruction_pointer_mask(InstructionMode mode) {
        switch (mode) {
        case InstructionMode::bits16:
            return 0xffff;
        case InstructionMode::bits32:
            return 0xffffffff;
        case InstructionMode::bits64:
            break;
        }
        return ~std::uint64_t{0};
    }
    [[gnu::always_inline]] void skip_inline(unsigned length) {
        constexpr unsigned narrowest = 16;
        const std::uint64_t rip = self().get(CpuRegister::rip);
        std::uint64_t next = rip + length;
        if (((rip ^ next) >> narrowest) != 0) { // where a narrow instruction pointer would wrap
            next &= instruction_pointer_mask(self().mode());
        }
        self().set(CpuRegister::rip, next);
        self().set_interrupt_shadow(false);
    }
    [[gnu::always_inline]] void end_inline() {
        const std::uint64_t rflags = self().get(CpuRegister::rflags);
        if ((rflags & rflags_rf) != 0) {
            self().set(CpuRegister::rflags, rflags & ~rflags_rf);
        }
        if ((rflags & rflags_tf) != 0) {
            raise_single_step();
        }
    }
    /// Apart, as it is seldom: who ends an instruction has the rest in place.
    [[gnu::noinline]] void raise_single_step() {
        self().set(CpuRegister::dr6, self().get(CpuRegister::dr6) | dr6_single_step);
        raise(exception_debug);
    }
};

/// The extension of this machine.
namespace virtualization {

/// \return one line that says why this machine cannot run guests, or null.
const char* unsupported();
/// Whether nested page tables may have entries of 1 GiB.
bool has_huge_pages();
/// Once, before it is turned on. \param shared memory for what all processors share:
/// `shared_size()` bytes, zeroed and contiguous.
void initialise(SpaPage shared);
std::uint64_t shared_size();
/// The root's accesses of these ports are exits; all others of its ports are its own.
void intercept_root_ports(std::uint16_t first, std::uint16_t count);
/// Turns the extension on, on this processor. \param save_area a page for the processor's own use.
void enable(SpaPage save_area);

} // namespace virtualization

} // namespace hypervisor
