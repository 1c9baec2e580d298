// SPDX-License-Identifier: Apache-2.0
// HvSignalEvent to a doorbell's eventfd, and HvCallSignalEventDirect back.
#include "abi/msr.h"
#include "abi/port.h"
#include "abi/synic.h"
#include "bench/signal/machine.hpp"
#include "tests/guests/guest_code.hpp"
#include "tests/guests/guest_machine.hpp"

#include <optional>
#include <stdexcept>
#include <utility>

GUEST(signals_by_hypercall)
GUEST(takes_answer)

namespace croft::bench {

namespace {

constexpr std::uint32_t connection = 1;
constexpr std::uint8_t sint = 3;
constexpr std::uint32_t x2apic_spurious = 0x80f;

class MshvMachine final : public SignalMachine {
public:
    MshvMachine(int event, std::uint32_t rounds) : rounds_{rounds} {
        constexpr std::pair<std::uint32_t, std::uint64_t> msrs[] = {
            {x2apic_spurious, 0x1ff},
            {HV_X64_MSR_GUEST_OS_ID, 1},
            {HV_X64_MSR_HYPERCALL, 0x5000 | HV_MSR_PAGE_ENABLE},
            {HV_X64_MSR_VP_ASSIST_PAGE, eoi_assist_gpa | HV_MSR_PAGE_ENABLE},
            {HV_X64_MSR_SIEFP, 0xb000 | HV_MSR_PAGE_ENABLE},
            {HV_X64_MSR_SCONTROL, 1},
            {HV_X64_MSR_SINT0 + sint, vector},
            {0, 0},
        };
        std::uint64_t at = guests::GuestMachine::data_gpa;
        for (const auto& [number, value] : msrs) {
            machine_.store(at, std::uint64_t{number});
            machine_.store(at + 8, value);
            at += 16;
        }
        machine_.load(CODE(signals_by_hypercall));
        machine_.start_in_long_mode();
        machine_.handle(vector, CODE(takes_answer));
        machine_.set(HV_X64_REGISTER_RDI, guests::GuestMachine::data_gpa);
        machine_.set(HV_X64_REGISTER_RSI, rounds);
        machine_.partition().connect_doorbell(
            {.gpa = HV_SIGNAL_WINDOW_BASE + connection * HV_SIGNAL_WINDOW_STRIDE,
                .size = HV_SIGNAL_WINDOW_STRIDE,
                .value = std::nullopt,
                .event = event});
        offset_ = measure_offset();
    }

    void run() override {
        if (!machine_.report()) {
            throw std::runtime_error("the guest was stopped by something else than its end");
        }
    }
    void answer() override { (void)machine_.partition().signal_event(0, sint, 0); }
    [[nodiscard]] std::uint64_t clock_offset() override { return offset_; }
    [[nodiscard]] std::span<const GuestRound> rounds() const override {
        return {reinterpret_cast<const GuestRound*>(
                    const_cast<guests::GuestMachine&>(machine_).memory() + first_round_gpa),
            rounds_};
    }

private:
    /// The register is read somewhere between two readings of ours: half-way, as good as can be
    /// known.
    std::uint64_t measure_offset() {
        std::uint64_t shortest = ~std::uint64_t{0};
        std::uint64_t offset = 0;
        for (unsigned i = 0; i < 50; ++i) {
            const std::uint64_t before = ticks();
            const std::uint64_t guest = machine_.get(HV_X64_REGISTER_TSC);
            const std::uint64_t took = ticks() - before;
            if (took < shortest) {
                shortest = took;
                offset = guest - (before + took / 2);
            }
        }
        return offset;
    }

    guests::GuestMachine machine_{memory_size};
    std::uint32_t rounds_;
    std::uint64_t offset_ = 0;
};

} // namespace

std::unique_ptr<SignalMachine> make_mshv_machine(int event, std::uint32_t rounds) {
    return std::make_unique<MshvMachine>(event, rounds);
}

} // namespace croft::bench
