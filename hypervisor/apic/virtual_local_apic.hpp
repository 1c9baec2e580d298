// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/apic/interrupt_command.hpp"
#include "hypervisor/apic/local_apic_registers.hpp"
#include "hypervisor/apic/local_apic_state.hpp"
#include "hypervisor/apic/owned_word.hpp"
#include "hypervisor/apic/vector_bitmap.hpp"
#include "hypervisor/apic/virtual_apic_timer.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>

namespace hypervisor {

/// An interrupt that software has finished with.
struct EndOfInterrupt {
    std::uint8_t vector = 0;
    bool level_triggered = false; ///< the I/O APICs want to know

    bool operator==(const EndOfInterrupt&) const = default;
};

/// What the owner of a local APIC has to do after an access to it.
struct LocalApicEffect {
    bool recheck_interrupts = false;           ///< deliverable() may answer otherwise than before
    bool timer_changed = false;                ///< timer_deadline() may
    std::optional<InterruptCommand> command{}; ///< sent; to itself and fixed: taken in already
    std::optional<EndOfInterrupt> end_of_interrupt{};

    bool operator==(const LocalApicEffect&) const = default;
};

/// An access to an MSR that is to be answered with this exception.
enum class ApicFault : std::uint8_t { general_protection };

enum class ApicRestoreError : std::uint8_t { wrong_id, illegal_vector, illegal_timer };

/// The lines into a local APIC that raise what the local vector table says, but for the timer's and
/// the error's, which it raises itself.
enum class LocalInterruptSource : std::uint8_t { thermal, performance, pin0, pin1 };

/// A virtual processor's local APIC: xAPIC and x2APIC (APM vol. 2, chapter 16; SDM vol. 3, chapter
/// 11). A state machine only: it does no input or output, knows no other APIC and no clock;
/// accesses answer with what its owner is to do.
///
/// Any processor may at any time call what is declared under "from any processor": these functions
/// are lock-free, and of the state they change only IRR, TMR and the pending errors. All else
/// belongs to the owner: the processor that runs the VP, or whoever has stopped it.
class VirtualLocalApic final {
public:
    enum class Mode : std::uint8_t { disabled, xapic, x2apic };

    struct Features {
        bool x2apic = true;
        bool tsc_deadline = false;
        bool present = true; ///< else it is disabled, and stays so
    };

    VirtualLocalApic(std::uint32_t apic_id, bool is_bootstrap, Features features);
    VirtualLocalApic(std::uint32_t apic_id, bool is_bootstrap)
        : VirtualLocalApic(apic_id, is_bootstrap, Features{}) {}

    /// The last one that is no broadcast in any mode.
    static constexpr std::uint32_t last_id = 0xfe;
    /// From the owner: topologies may leave gaps.
    void set_id(std::uint32_t id) { id_.set(id); }

    /// As after power-up: in xAPIC mode.
    void reset();
    /// As after an INIT: the mode stays.
    void init();

    // From any processor.

    [[nodiscard]] std::uint32_t id() const { return id_.get(); }
    [[nodiscard]] Mode mode() const;
    [[nodiscard]] bool software_enabled() const;
    /// Takes a fixed interrupt in. Whether the VP must look at deliverable() for it; an APIC that
    /// is disabled drops it, an illegal vector becomes an error.
    [[nodiscard]] bool accept(std::uint8_t vector, bool level_triggered);
    [[nodiscard]] bool matches_physical(std::uint32_t destination) const;
    [[nodiscard]] bool matches_logical(std::uint32_t destination) const;
    /// What is compared among the candidates for a lowest-priority message.
    [[nodiscard]] std::uint8_t arbitration_priority() const;
    /// Of several candidates, one with the lowest priority; among equals, the next one from `first`
    /// on, so that a caller who counts `first` up spreads them. Null if there are none.
    [[nodiscard]] static VirtualLocalApic* lowest_priority(
        std::span<VirtualLocalApic* const> candidates, std::size_t first);

    // From the owner: software's accesses.

    /// The 4 KiB page; meaningful in xAPIC mode only. Bytes of a register beyond its low four, and
    /// registers that don't exist, read as zero.
    [[nodiscard]] std::uint32_t read(std::uint16_t offset, ApicTime now);
    [[nodiscard]] LocalApicEffect write(std::uint16_t offset, std::uint32_t value, ApicTime now);

    /// MSRs 0x800 to 0x8FF.
    /// Whether an access to one needs the time; any will do for the others.
    [[nodiscard]] static bool is_timed(std::uint32_t msr);
    [[nodiscard]] std::expected<std::uint64_t, ApicFault> read_msr(std::uint32_t msr, ApicTime now);
    [[nodiscard]] std::expected<LocalApicEffect, ApicFault> write_msr(
        std::uint32_t msr, std::uint64_t value, ApicTime now);

    /// IA32_APIC_BASE (MSR 0x1B). The page can't be moved.
    [[nodiscard]] std::uint64_t base() const;
    [[nodiscard]] std::expected<LocalApicEffect, ApicFault> write_base(std::uint64_t value);

    /// IA32_TSC_DEADLINE (MSR 0x6E0); faults if the feature isn't there.
    [[nodiscard]] std::expected<std::uint64_t, ApicFault> read_tsc_deadline() const;
    [[nodiscard]] std::expected<LocalApicEffect, ApicFault> write_tsc_deadline(
        std::uint64_t value, ApicTime now);

    /// The whole interrupt command register in the layout of the current mode.
    [[nodiscard]] LocalApicEffect write_command(std::uint64_t value);

    [[nodiscard]] std::uint8_t tpr() const { return std::uint8_t(tpr_.get()); }
    /// Whether that lowered the priority.
    bool set_tpr(std::uint8_t value);
    [[nodiscard]] std::uint8_t cr8() const { return tpr() >> 4; }
    /// Leaves the low half of TPR alone if the class is the same, so that a copy of CR8 that
    /// hardware keeps can be given back after every run.
    bool set_cr8(std::uint8_t priority_class);
    [[nodiscard]] std::uint8_t ppr() const;

    // From the owner: interrupts.

    /// Whether any vector is requested.
    [[nodiscard]] bool has_request() const { return !irr_.empty() && mode() != Mode::disabled; }
    /// The highest requested vector, whether the priority lets it through or not.
    [[nodiscard]] std::optional<std::uint8_t> pending() const;
    /// The same, if its class is above the processor priority's.
    [[nodiscard]] std::optional<std::uint8_t> deliverable() const;
    /// The processor takes the vector: false if it is no longer requested, and must not be taken.
    /// One that ends by itself never shows as in service.
    [[nodiscard]] bool acknowledge(std::uint8_t vector, bool ends_by_itself = false);
    [[nodiscard]] bool is_level_triggered(std::uint8_t vector) const {
        return tmr_.contains(vector);
    }
    /// Ends the highest interrupt in service. Then look at deliverable() again.
    std::optional<EndOfInterrupt> eoi();

    /// A line's rising edge: what the owner has to deliver. With `fixed` it is in IRR already.
    [[nodiscard]] std::optional<DeliveryMode> raise_local(LocalInterruptSource source);

    // From the owner: the timer.

    /// The vector that the timer raises, unless masked.
    [[nodiscard]] std::optional<std::uint8_t> lvt_timer_vector() const;
    /// When timer_expire() has something to do; none while the timer is stopped or masked.
    [[nodiscard]] std::optional<ApicTimerDeadline> timer_deadline() const;
    /// To be called at or after the deadline. Whether an interrupt is newly pending. Periods that
    /// were missed raise one interrupt together.
    bool timer_expire(ApicTime now);

    // From the owner: saved state. While it is exchanged, nobody may send to this APIC. A timer
    // that is due has to expire before it is saved; a TSC deadline is saved as that MSR.

    [[nodiscard]] LocalApicState save(ApicTime now) const;
    /// Changes nothing if it fails. Read-only registers are ignored, but for the ID, which must
    /// be this APIC's in the layout of either mode.
    [[nodiscard]] std::expected<void, ApicRestoreError> restore(
        const LocalApicState& state, ApicTime now);

    static constexpr std::size_t register_page_size = 1024;
    /// The same as the used part of an xAPIC page, with the task priority.
    void save(std::span<std::byte, register_page_size> page, ApicTime now) const;
    [[nodiscard]] std::expected<void, ApicRestoreError> restore(
        std::span<const std::byte, register_page_size> page, ApicTime now);
    /// Sets the base register to any legal value, without regard to the one before; the other
    /// registers stay. Whether the value was legal.
    [[nodiscard]] bool restore_base(std::uint64_t value);

private:
    enum LvtIndex : std::uint8_t { timer, thermal, performance, pin0, pin1, error, lvt_count };

    [[nodiscard]] bool legal_base(std::uint64_t value) const;
    [[nodiscard]] std::uint32_t id_register() const;
    [[nodiscard]] std::uint32_t logical_destination() const;
    [[nodiscard]] std::optional<std::uint32_t> read_register(
        ApicRegister which, ApicTime now) const;
    [[nodiscard]] std::optional<std::uint32_t> writable_bits(ApicRegister which) const;
    void write_register(
        ApicRegister which, std::uint32_t value, ApicTime now, LocalApicEffect& effect);
    void write_spurious_vector(std::uint32_t value, ApicTime now, LocalApicEffect& effect);
    void write_lvt(LvtIndex index, std::uint32_t value, ApicTime now, LocalApicEffect& effect);
    void set_lvt(LvtIndex index, std::uint32_t value);
    [[nodiscard]] std::uint32_t legal_lvt_bits(LvtIndex index) const;
    [[nodiscard]] bool lvt_masked(LvtIndex index) const;
    [[nodiscard]] ApicTimerMode timer_mode() const;
    void send(const InterruptCommand& command, LocalApicEffect& effect);
    bool report_error(std::uint32_t errors);

    // What other processors write, in a cache line of its own.
    alignas(64) VectorBitmap irr_;
    VectorBitmap tmr_;

    alignas(64) VectorBitmap isr_;
    std::atomic<std::uint32_t> pending_errors_{0};
    OwnedWord base_; ///< its low 32 bits; the page is below 4 GiB
    OwnedWord tpr_;
    OwnedWord svr_;
    OwnedWord ldr_;
    OwnedWord dfr_;
    std::array<OwnedWord, lvt_count> lvt_;
    std::uint32_t esr_ = 0;
    std::uint64_t icr_ = 0;
    VirtualApicTimer timer_;
    OwnedWord id_;
    const bool is_bootstrap_;
    const Features features_;
};

} // namespace hypervisor
