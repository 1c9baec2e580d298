// SPDX-License-Identifier: Apache-2.0
#include "tests/guests/hostile_machine.hpp"

#include "hv/error.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <iostream>
#include <pthread.h>
#include <thread>

extern "C" {
extern const std::uint8_t __start_hostile_code[]; // the linker's names for a section's ends
extern const std::uint8_t __stop_hostile_code[];
extern const std::uint8_t guest_hostile_exception[];
extern const std::uint8_t guest_hostile_exception_end[];
extern const std::uint8_t guest_hostile_interrupt[];
extern const std::uint8_t guest_hostile_interrupt_end[];
}

namespace croft::guests {

namespace {

constexpr std::uint16_t code_selector = 0x08;
constexpr std::uint16_t idt_limit = 256 * 16 - 1;
constexpr std::uint16_t gdt_limit = 3 * 8 - 1;

constexpr unsigned looks_per_report = 100;

/// An interrupt gate of long mode to `entry`, as its two quadwords.
std::array<std::uint64_t, 2> gate(std::uint64_t entry) {
    constexpr std::uint64_t present_interrupt_gate = 0x8e00;
    return {(entry & 0xffff) | std::uint64_t{code_selector} << 16 | present_interrupt_gate << 32 |
            (entry & 0xffff0000) << 32,
        entry >> 32};
}

hv_register_assoc table(std::uint32_t name, std::uint64_t base, std::uint16_t limit) {
    hv_x64_table_register value{};
    value.base = base;
    value.limit = limit;
    return hv::register_value(name, value);
}

} // namespace

HostileMachine::HostileMachine(std::uint32_t processors, std::uint64_t seed)
    : machine_{hostile::memory_size, processors},
      processors_{processors} {
    machine_.load({__start_hostile_code, __stop_hostile_code}, hostile::code_gpa);
    machine_.load({guest_hostile_exception, guest_hostile_exception_end}, hostile::exception_gpa);
    machine_.load({guest_hostile_interrupt, guest_hostile_interrupt_end}, hostile::interrupt_gpa);
    constexpr std::array<std::uint64_t, 3> gdt{0, 0x00af9b000000ffff, 0x00cf93000000ffff};
    machine_.store(hostile::gdt_gpa, gdt);
    constexpr unsigned nmi = 2;
    constexpr unsigned exceptions = 32;
    for (unsigned vector = 0; vector < 256; ++vector) {
        const bool is_exception = vector < exceptions && vector != nmi;
        machine_.store(hostile::idt_gpa + 16 * vector,
            gate(is_exception ? hostile::exception_gpa : hostile::interrupt_gpa));
    }
    machine_.start_in_long_mode();
    for (const std::uint32_t name : {HV_X64_REGISTER_CS, HV_X64_REGISTER_DS, HV_X64_REGISTER_ES,
             HV_X64_REGISTER_SS, HV_X64_REGISTER_CR3, HV_X64_REGISTER_CR4, HV_X64_REGISTER_EFER,
             HV_X64_REGISTER_CR0, HV_X64_REGISTER_APIC_BASE, HV_X64_REGISTER_XFEM}) {
        long_mode_.push_back(hv::register_name(name));
    }
    machine_.vp().get_registers(long_mode_);
    for (std::uint32_t i = 0; i < processors_; ++i) {
        apics_.push_back(machine_.vp(i).get_state(hv::VpState::local_apic));
        area(i).seed = seed * (2 * i + 1);
        start(i);
    }
}

volatile hostile::Area& HostileMachine::area(std::uint32_t index) const {
    auto& machine = const_cast<GuestMachine&>(machine_);
    return reinterpret_cast<volatile hostile::Area*>(machine.memory() + hostile::areas_gpa)[index];
}

std::uint64_t HostileMachine::rounds(std::uint32_t index) const {
    return area(index).rounds;
}

std::uint64_t HostileMachine::calls() const {
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < processors_; ++i) {
        sum += area(i).calls;
    }
    return sum;
}

/// From nothing, wherever the processor has got to; what it has tried it does not try again.
void HostileMachine::start(std::uint32_t index) {
    ++starts_;
    hv::VirtualProcessor& vp = machine_.vp(index);
    const auto entry = reinterpret_cast<const std::uint8_t*>(&hostile::hostile_guest);
    std::vector<hv_register_assoc> registers = long_mode_;
    hv_x64_segment_register gs{};
    gs.base = hostile::areas_gpa + index * sizeof(hostile::Area);
    gs.limit = 0xffffffff;
    gs.attributes = 0xc093;
    for (const hv_register_assoc& one : {hv::register_value(HV_X64_REGISTER_GS, gs),
             table(HV_X64_REGISTER_GDTR, hostile::gdt_gpa, gdt_limit),
             table(HV_X64_REGISTER_IDTR, hostile::idt_gpa, idt_limit),
             hv::register_value(HV_X64_REGISTER_RIP,
                 hostile::code_gpa + static_cast<std::uint64_t>(entry - __start_hostile_code)),
             // As behind a call.
             hv::register_value(
                 HV_X64_REGISTER_RSP, hostile::stacks_gpa + (index + 1) * hostile::stack_size - 8),
             hv::register_value(HV_X64_REGISTER_RDI, gs.base),
             hv::register_value(HV_X64_REGISTER_RFLAGS, 2),
             hv::register_value(HV_X64_REGISTER_DR7, 0x400),
             hv::register_value(HV_REGISTER_PENDING_INTERRUPTION, 0),
             hv::register_value(HV_REGISTER_INTERRUPT_STATE, 0),
             hv::register_value(HV_REGISTER_STIMER0_CONFIG, 0),
             hv::register_value(HV_REGISTER_STIMER0_CONFIG + 2, 0),
             hv::register_value(HV_REGISTER_STIMER0_CONFIG + 4, 0),
             hv::register_value(HV_REGISTER_STIMER0_CONFIG + 6, 0),
             hv::register_value(HV_REGISTER_INTERNAL_ACTIVITY_STATE, 0)}) {
        registers.push_back(one);
    }
    vp.set_registers(registers);
    vp.set_state(hv::VpState::local_apic, apics_[index]);
}

/// The guest goes on where it wants to after a failure.
void HostileMachine::answer(std::uint32_t index) {
    switch (machine_.message(index).header.message_type) {
    case HVMSG_HYPERCALL_INTERCEPT:
    case HVMSG_X64_IO_PORT_INTERCEPT:
    case HVMSG_UNMAPPED_GPA:
    case HVMSG_GPA_INTERCEPT: {
        const std::array next{hv::register_value(HV_X64_REGISTER_RIP, area(index).resume),
            hv::register_value(HV_X64_REGISTER_RSP, area(index).stack)};
        machine_.vp(index).set_registers(next);
        return;
    }
    default:
        start(index);
    }
}

void HostileMachine::run(std::uint32_t index) {
    std::uint64_t seen = 0;
    while (!ends_) {
        if (machine_.vp(index).run() == hv::RunResult::intercepted) {
            answer(index);
            continue;
        }
        // Nothing tried between two signals: it waits, or drowns in interrupts.
        if (rounds(index) == seen) {
            start(index);
        }
        seen = rounds(index);
    }
}

void HostileMachine::report() const {
    std::cout << calls() << " calls; tried by each processor:";
    for (std::uint32_t i = 0; i < processors_; ++i) {
        std::cout << ' ' << rounds(i);
    }
    std::cout << "; started " << starts_ << " times" << std::endl;
}

void HostileMachine::run_for(std::chrono::seconds time, std::uint64_t calls) {
    struct sigaction action {};
    action.sa_handler = [](int) {
    };
    sigaction(SIGUSR1, &action, nullptr);
    std::vector<std::thread> threads;
    std::atomic<std::uint32_t> running{processors_};
    for (std::uint32_t i = 0; i < processors_; ++i) {
        threads.emplace_back([this, i, &running] {
            run(i);
            --running;
        });
    }
    const auto end = std::chrono::steady_clock::now() + time;
    unsigned looks = 0;
    while (running != 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds{100});
        if (++looks % looks_per_report == 0) {
            report();
        }
        ends_ = std::chrono::steady_clock::now() >= end && this->calls() >= calls;
        for (std::thread& thread : threads) {
            pthread_kill(thread.native_handle(), SIGUSR1);
        }
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

} // namespace croft::guests
