// SPDX-License-Identifier: Apache-2.0
#include "fuzz/hypervisor/fuzz_input.hpp"
#include "hypervisor/apic/virtual_local_apic.hpp"

#include <array>
#include <cstdint>
#include <optional>

using namespace hypervisor;
using fuzz::require;

namespace {

constexpr VirtualLocalApic::Features features{.x2apic = true, .tsc_deadline = true};

void check(const VirtualLocalApic& apic, std::uint32_t id, ApicTime now) {
    const LocalApicState state = apic.save(now);
    require((state.in_service[0] & 0xFFFF) == 0 && (state.interrupt_request[0] & 0xFFFF) == 0,
        "no vector below 16");
    if (const auto vector = apic.deliverable()) {
        require(*vector >> 4 > apic.ppr() >> 4, "above the processor's priority");
        require(apic.pending() == vector, "the highest");
    }
    if (!apic.software_enabled()) {
        for (const std::uint32_t entry : {state.lvt_timer, state.lvt_thermal, state.lvt_performance,
                 state.lvt_pin0, state.lvt_pin1, state.lvt_error}) {
            require((entry & apic_lvt::masked) != 0, "masked while disabled");
        }
        require(!apic.timer_deadline(), "no timer while disabled");
    }
    VirtualLocalApic twin{id, false, features};
    require(twin.restore_base(apic.base()), "a legal base");
    require(twin.restore(state, now).has_value(), "what was saved can be restored");
    require(twin.save(now) == state, "and is the same again");
}

using Deliverable = std::optional<std::uint8_t>;

void check_effect(
    const VirtualLocalApic& apic, const LocalApicEffect& effect, const Deliverable& before) {
    if (effect.command) {
        require(effect.command->mode != DeliveryMode::remote_read &&
                effect.command->mode != DeliveryMode::external,
            "a mode that can be sent");
    }
    const Deliverable after = apic.deliverable();
    require(effect.recheck_interrupts || !after || after == before,
        "who is to deliver another interrupt is told so");
    require(!effect.timer_changed || apic.mode() != VirtualLocalApic::Mode::disabled ||
            !apic.timer_deadline(),
        "no timer while disabled");
}

void step(VirtualLocalApic& apic, fuzz::FuzzInput& input, ApicTime now) {
    const Deliverable before = apic.deliverable();
    switch (input.take<std::uint8_t>() % 14) {
    case 0:
        static_cast<void>(apic.read(input.take<std::uint16_t>(), now));
        break;
    case 1: {
        const auto offset = std::uint16_t(input.take<std::uint8_t>() << 4);
        check_effect(apic, apic.write(offset, input.take<std::uint32_t>(), now), before);
        break;
    }
    case 2:
        static_cast<void>(apic.read_msr(0x800U + input.take<std::uint8_t>(), now));
        break;
    case 3: {
        const std::uint32_t msr = 0x800U + input.take<std::uint8_t>();
        if (const auto effect = apic.write_msr(msr, input.take<std::uint64_t>(), now)) {
            check_effect(apic, *effect, before);
        }
        break;
    }
    case 4:
        if (const auto effect = apic.write_base(0xFEE00000U | input.take<std::uint16_t>())) {
            check_effect(apic, *effect, before);
        }
        break;
    case 5:
    case 6: {
        const auto vector = input.take<std::uint8_t>();
        static_cast<void>(apic.accept(vector, (input.take<std::uint8_t>() & 1) != 0));
        break;
    }
    case 7:
        if (const auto vector = apic.deliverable()) {
            require(apic.acknowledge(*vector, (input.take<std::uint8_t>() & 3) == 0), "is there");
        }
        break;
    case 8:
        static_cast<void>(apic.eoi());
        break;
    case 9:
        static_cast<void>(apic.set_cr8(input.take<std::uint8_t>()));
        break;
    case 10:
        static_cast<void>(apic.raise_local(LocalInterruptSource(input.take<std::uint8_t>() % 4)));
        break;
    case 11:
        static_cast<void>(apic.timer_expire(now));
        if (const auto deadline = apic.timer_deadline()) {
            const bool tsc = deadline->clock == ApicTimerDeadline::Clock::tsc;
            require(deadline->at > (tsc ? now.tsc : now.bus), "the next one is to come");
        }
        break;
    case 12:
        static_cast<void>(apic.write_tsc_deadline(input.take<std::uint64_t>(), now));
        break;
    default:
        (input.take<std::uint8_t>() & 1) != 0 ? apic.init() : apic.reset();
        break;
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::FuzzInput input{data, size};
    const std::uint32_t id = input.take<std::uint16_t>() % 0x200U;
    VirtualLocalApic apic{id, false, features};
    ApicTime now{.bus = input.take<std::uint32_t>(), .tsc = input.take<std::uint32_t>()};
    if ((input.take<std::uint8_t>() & 1) != 0) {
        std::array<std::byte, VirtualLocalApic::register_page_size> page{};
        for (std::size_t offset = 0x20; offset < page.size(); offset += 16) {
            for (std::size_t lane = 0; lane < 4; ++lane) {
                page[offset + lane] = std::byte{input.take<std::uint8_t>()};
            }
        }
        static_cast<void>(apic.restore(page, now));
        check(apic, id, now);
    }
    static_cast<void>(apic.write(0xF0, 0x1FF, now));
    while (!input.empty()) {
        step(apic, input, now);
        check(apic, id, now);
        now.bus += input.take<std::uint16_t>();
        now.tsc += input.take<std::uint16_t>();
    }
    return 0;
}
