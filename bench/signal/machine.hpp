// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace croft::bench {

/// Ticks of the time-stamp counter; with QEMU's -icount shift=0 an instruction is one.
[[nodiscard]] inline std::uint64_t ticks() {
    return __builtin_ia32_rdtsc();
}

/// When the guest signalled, when it ran on, and when the handler of the answer began, on the
/// guest's counter.
struct GuestRound {
    std::uint64_t signalled;
    std::uint64_t went_on;
    std::uint64_t answered;
};

/// A guest of one processor that signals its host and waits for the answer, so many rounds. All
/// errors are exceptions.
class SignalMachine {
public:
    static constexpr std::uint64_t memory_size = 4u << 20;
    static constexpr std::uint64_t first_round_gpa = 0x100000;
    static constexpr std::uint32_t most_rounds = 4096;
    /// Where the guest is told that it may spare an EOI.
    static constexpr std::uint64_t eoi_assist_gpa = 0xd000;
    static constexpr std::uint16_t doorbell_port = 0x510;
    static constexpr std::uint8_t vector = 0x41;

    SignalMachine() = default;
    SignalMachine(const SignalMachine&) = delete;
    SignalMachine& operator=(const SignalMachine&) = delete;
    virtual ~SignalMachine() = default;

    /// Runs the guest until it has done all its rounds. On a thread of its own.
    virtual void run() = 0;
    /// Sends the answer.
    virtual void answer() = 0;
    /// How far the guest's counter is ahead of ours.
    [[nodiscard]] virtual std::uint64_t clock_offset() = 0;
    [[nodiscard]] virtual std::span<const GuestRound> rounds() const = 0;
};

/// `event` is an eventfd that the guest's signals ring.
[[nodiscard]] std::unique_ptr<SignalMachine> make_mshv_machine(int event, std::uint32_t rounds);
[[nodiscard]] std::unique_ptr<SignalMachine> make_kvm_machine(int event, std::uint32_t rounds);

} // namespace croft::bench
