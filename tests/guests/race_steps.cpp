// SPDX-License-Identifier: Apache-2.0
#include "tests/guests/race_steps.hpp"

#include "abi/msr.h"

#include <algorithm>
#include <fmt/format.h>

namespace croft::guests::race {

namespace {

/// By its first two bytes; `tail` follows, and the way back.
struct Instruction {
    const char* name;
    std::uint8_t code[2];
};
constexpr std::array instructions{
    Instruction{"mov (%rdi), %eax", {0x8b, 0x07}},
    Instruction{"mov tail(%rsi), %ebx", {0x8b, 0x9e}},
    Instruction{"cpuid", {0x0f, 0xa2}},
    Instruction{"rdmsr", {0x0f, 0x32}},
    Instruction{"mov tail(%rbp), %edx", {0x8b, 0x95}},
    Instruction{"movl $tail, (%rdi)", {0xc7, 0x07}},
    Instruction{"mov %eax, tail(%rsi)", {0x89, 0x86}},
    Instruction{"incl tail(%rsi)", {0xff, 0x86}},
    Instruction{"in $input_port, %eax", {0xe5, input_port}},
};

// The tables of long mode that lead to the code, from the top, and it itself. Each instruction has
// one of each but the first, and there is one more that others are entered in.
enum Level : std::size_t { pml4, pdpt, directory, table, page };
constexpr std::size_t base = instructions.size();
constexpr std::uint64_t code_gva = std::uint64_t{1} << 39; // where all indices but the first are 0
constexpr std::uint64_t entry_flags = 3;
constexpr std::uint64_t second_pml4_gpa = 0x14000;
constexpr std::uint64_t tables_gpa = 0x40000;
constexpr std::uint64_t steps_gpa = 0x80000;
constexpr std::array<std::uint64_t, Steps::slots> slot_in_page{0x100, 0x200};
constexpr std::uint64_t four_pushes = 4 * sizeof(std::uint64_t);

constexpr std::uint64_t gpa_of(std::size_t instruction, Level level) {
    return tables_gpa + (instruction * 4 + (level - pdpt)) * 0x1000;
}

constexpr std::uint64_t entry_of(std::size_t instruction, Level level) {
    return gpa_of(instruction, level) | entry_flags;
}

/// The first eight bytes. `jmp *%r15` ends with the ninth.
std::uint64_t first_slot_bytes(std::size_t instruction) {
    constexpr std::uint64_t jump = 0xff41;
    const auto& code = instructions.at(instruction).code;
    return code[0] | std::uint64_t{code[1]} << 8 | std::uint64_t{tail} << 16 | jump << 48;
}

/// CPUID twice, or once with two prefixes: one instruction of different lengths at one place.
bool is_prefixed(std::size_t instruction) {
    return instruction % 2 != 0;
}

std::uint64_t second_slot_bytes(std::size_t instruction) {
    constexpr std::uint64_t cpuid_and_jump = 0x00e7'ff41'a20f'0000;
    return cpuid_and_jump | (is_prefixed(instruction) ? 0x2e2e : 0xa20f);
}

} // namespace

std::string Outcome::text() const {
    return fmt::format("{:#x}, {} bytes pushed{}", fmt::join(registers, " "), pushed,
        faulted ? ", a page fault" : "");
}

Steps::Steps(GuestMachine& machine) {
    place_instructions(machine);
    build_tables(machine);
    add_steps();
    note_outcomes(machine);
    for (std::size_t i = 0; i < steps_.size(); ++i) {
        machine.store(steps_gpa + i * sizeof(Step::values), steps_[i].values);
    }
    Area area{};
    area.step_count = steps_.size();
    area.steps = steps_gpa;
    const std::uint64_t in_pml4 = (code_gva >> 39) * sizeof(std::uint64_t);
    const std::array<std::uint64_t, Area::places> places{cr3(0) + in_pml4, cr3(1) + in_pml4,
        gpa_of(base, pdpt), gpa_of(base, directory), gpa_of(base, table),
        gpa_of(base, page) + slot_in_page[0], gpa_of(base, page) + slot_in_page[1]};
    std::copy(places.begin(), places.end(), area.place);
    machine.store(area_gpa, area);
}

std::uint64_t Steps::slot_address(std::size_t slot) {
    return code_gva + slot_in_page.at(slot);
}

std::uint64_t Steps::cr3(std::size_t which) {
    return which == 0 ? GuestMachine::page_tables_gpa : second_pml4_gpa;
}

void Steps::place_instructions(GuestMachine& machine) {
    constexpr std::uint8_t end_of_jump = 0xe7;
    for (std::size_t i = 0; i <= base; ++i) {
        const std::uint64_t at = gpa_of(i, page);
        machine.store(at + slot_in_page[0], first_slot_bytes(i % base));
        machine.store(at + slot_in_page[0] + sizeof(std::uint64_t), end_of_jump);
        machine.store(at + slot_in_page[1], second_slot_bytes(i % base));
    }
}

void Steps::build_tables(GuestMachine& machine) {
    for (std::size_t i = 0; i <= base; ++i) {
        for (const Level level : {pdpt, directory, table}) {
            machine.store(gpa_of(i, level), entry_of(i, static_cast<Level>(level + 1)));
        }
    }
    // The rest of what the first top table maps, the second does, too.
    std::memcpy(machine.memory() + cr3(1), machine.memory() + cr3(0), 0x1000);
}

/// Each instruction is brought there in each way: by one of the four entries that lead to the
/// base's page, or by being written there; and each of the four is cleared.
void Steps::add_steps() {
    const auto step = [](std::optional<std::size_t> instruction, std::size_t way) {
        Step result{.instruction = instruction};
        const auto entry = [&](Level above) {
            const auto below = static_cast<Level>(above + 1);
            return way != above ? entry_of(base, below)
                : instruction   ? entry_of(*instruction, below)
                                : 0;
        };
        result.values = {entry(pml4), entry(pml4), entry(pdpt), entry(directory), entry(table),
            first_slot_bytes(instruction.value_or(0)), second_slot_bytes(instruction.value_or(0))};
        return result;
    };
    for (std::size_t way = pml4; way <= page; ++way) {
        for (std::size_t i = 0; i < instructions.size(); ++i) {
            steps_.push_back(step(i, way));
        }
        if (way != page) {
            steps_.push_back(step(std::nullopt, way));
        }
    }
}

void Steps::note_outcomes(GuestMachine& machine) {
    const std::array<std::uint64_t, 4> before{first_leaf, 0x1111, HV_X64_MSR_VP_INDEX, 0x2222};
    const auto cpuid = [&machine](std::uint64_t leaf) {
        const auto said = machine.vp().cpuid(static_cast<std::uint32_t>(leaf), 0);
        return Outcome{{said.at(0), said.at(1), said.at(2), said.at(3)}, 0, false};
    };
    const Outcome once = cpuid(first_leaf);
    const Outcome twice = cpuid(once.registers[0]);
    constexpr std::size_t version_at = 4;
    const auto apic = machine.vp().get_state(hv::VpState::local_apic);
    std::uint32_t version = 0;
    std::memcpy(&version, apic.data() + version_at, sizeof version);
    nothing_ = {before, 0, true};
    const auto [rax, rbx, rcx, rdx] = before;
    outcomes_[0] = {{{first_value, rbx, rcx, rdx}, four_pushes}, {{rax, second_value, rcx, rdx}},
        {once.registers, four_pushes}, {{0, rbx, rcx, 0}, four_pushes}, {{rax, rbx, rcx, version}},
        {before}, {before}, {before}, {{input_value, rbx, rcx, rdx}, four_pushes}};
    for (std::size_t i = 0; i < instructions.size(); ++i) {
        outcomes_[1].push_back(is_prefixed(i) ? once : twice);
    }
}

std::string Steps::name(std::size_t step, std::size_t slot) const {
    const auto& instruction = steps_.at(step).instruction;
    if (!instruction) {
        return "a missing page";
    }
    if (slot == 0) {
        return instructions.at(*instruction).name;
    }
    return is_prefixed(*instruction) ? "cpuid with prefixes" : "cpuid twice";
}

const Outcome& Steps::expected(std::size_t step, std::size_t slot) const {
    const auto& instruction = steps_.at(step).instruction;
    return instruction ? outcomes_.at(slot).at(*instruction) : nothing_;
}

bool Steps::is_possible(const Outcome& outcome, std::size_t slot) const {
    if (outcome == nothing_) {
        return true;
    }
    return std::any_of(
        outcomes_.at(slot).begin(), outcomes_.at(slot).end(), [&outcome](const Outcome& one) {
            return outcome == one ||
                // What followed the instruction went missing.
                (outcome.faulted && outcome.registers == one.registers &&
                    outcome.pushed <= one.pushed);
        });
}

} // namespace croft::guests::race
