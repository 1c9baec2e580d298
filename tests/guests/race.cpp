// SPDX-License-Identifier: Apache-2.0
#include "tests/guests/race.hpp"

#include "abi/msr.h"
#include "tests/guests/guest_code.hpp"

#include <csignal>
#include <exception>
#include <fmt/format.h>
#include <pthread.h>
#include <thread>

GUEST(ends_round)
GUEST(rewrites_instructions)
GUEST(runs_instructions)

namespace croft::guests {

using namespace race;

namespace {

constexpr std::uint64_t device_page = 0x1000;
constexpr unsigned width = 4;
constexpr std::uint64_t apic_page = 0xfee00000;

} // namespace

Race::Race(std::uint64_t seed)
    : machine_{memory_.mappings().front(), CODE(runs_instructions), 2},
      devices_{bus_.claim_mmio("devices", first_device, 2 * device_page, *this)},
      input_{bus_.claim_ports("input", input_port, width, width, *this)},
      report_{bus_.claim_ports("report", GuestMachine::report_port, width, width, *this)},
      steps_{start()},
      random_{seed} {
    area().seed = seed;
    area().rax = first_leaf;
    area().rbx = 0x1111;
    area().rcx = HV_X64_MSR_VP_INDEX;
    area().rdx = 0x2222;
    area().rdi = first_device + place_in_page;
    area().rsi = second_device + place_in_page - tail;
    area().rbp = apic_page + place_in_page - tail;
    prepare_next_round();
}

/// Both processors stand at the beginning of their code.
GuestMachine& Race::start() {
    constexpr std::uint8_t page_fault = 14;
    machine_.load(CODE(rewrites_instructions), rewriter_gpa);
    machine_.start_in_long_mode(rewriter_gpa, 1);
    machine_.start_in_long_mode();
    machine_.handle_exception(page_fault, CODE(ends_round));
    const std::array place{hv::register_value(HV_X64_REGISTER_RDI, area_gpa)};
    machine_.vp(0).set_registers(place);
    machine_.vp(1).set_registers(place);
    return machine_;
}

volatile Area& Race::area() const {
    auto& machine = const_cast<GuestMachine&>(machine_);
    return *reinterpret_cast<volatile Area*>(machine.memory() + area_gpa);
}

void Race::prepare_next_round() {
    random_ = random_ * 6364136223846793005 + 1;
    area().cr3 = Steps::cr3(random_ >> 63);
    area().target = Steps::slot_address(random_ >> 62 & 1);
}

void Race::note_wrong(const std::string& what) {
    constexpr std::size_t enough = 10;
    const std::lock_guard lock{mutex_};
    if (counts_.wrong.size() < enough) {
        counts_.wrong.push_back(what);
    }
}

void Race::judge_round() {
    const std::uint64_t before = area().before;
    const std::size_t slot = area().target == Steps::slot_address(0) ? 0 : 1;
    const Outcome outcome{{area().rax_after, area().rbx_after, area().rcx_after, area().rdx_after},
        area().pushed, area().faulted != 0};
    if (before == 0 || before != area().after) {
        ++counts_.raced;
        if (!steps_.is_possible(outcome, slot)) {
            note_wrong("a race led to " + outcome.text());
        }
        return;
    }
    const std::size_t step = before & 0xffff;
    const std::string name = steps_.name(step, slot);
    ++counts_.steady[name];
    if (outcome != steps_.expected(step, slot)) {
        note_wrong(fmt::format("'{}' led to {}, expected {}", name, outcome.text(),
            steps_.expected(step, slot).text()));
    }
}

std::uint64_t Race::mmio_read(std::uint64_t offset, unsigned size) {
    if (size != width || offset % device_page != place_in_page) {
        note_wrong(fmt::format("a device was read at {:#x}, {} bytes", offset, size));
    }
    return offset < device_page ? first_value : second_value;
}

void Race::mmio_write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    const bool is_right =
        offset < device_page ? value == tail : value == first_leaf || value == second_value + 1;
    if (size != width || offset % device_page != place_in_page || !is_right) {
        note_wrong(
            fmt::format("a device was written at {:#x}, {} bytes: {:#x}", offset, size, value));
    }
}

std::uint32_t Race::port_read(std::uint16_t port, unsigned size) {
    if (port != input_port || size != width) {
        note_wrong(fmt::format("port {:#x} was read, {} bytes", port, size));
    }
    return input_value;
}

void Race::port_write(std::uint16_t port, unsigned size, std::uint32_t value) {
    if (port != GuestMachine::report_port || size != width || value != 1) {
        note_wrong(fmt::format("port {:#x} was written, {} bytes: {:#x}", port, size, value));
        return;
    }
    judge_round();
    prepare_next_round();
}

/// As the worker has it.
void Race::run(std::size_t index) {
    worker::InterceptCounters counters;
    worker::InterceptHandler handler{{.bus = bus_,
                                         .memory = memory_,
                                         .end_of_interrupt = {},
                                         .post_message = {},
                                         .slots_free = {}},
        counters};
    try {
        while (!ends_) {
            if (machine_.vp(index).run() == hv::RunResult::intercepted) {
                (void)handler.handle(machine_.vp(index));
            }
        }
    } catch (const std::exception& failure) {
        note_wrong(failure.what());
        ends_ = true;
    }
}

Race::Counts Race::run_for(std::chrono::seconds time) {
    struct sigaction action {};
    action.sa_handler = [](int) {
    };
    sigaction(SIGUSR1, &action, nullptr);
    std::vector<std::thread> threads;
    std::atomic<unsigned> running{2};
    for (std::size_t i = 0; i < 2; ++i) {
        threads.emplace_back([this, i, &running] {
            run(i);
            --running;
        });
    }
    const auto end = std::chrono::steady_clock::now() + time;
    while (running != 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds{100});
        ends_ = ends_ || std::chrono::steady_clock::now() >= end;
        for (std::thread& thread : threads) {
            pthread_kill(thread.native_handle(), SIGUSR1);
        }
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    return counts_;
}

} // namespace croft::guests
