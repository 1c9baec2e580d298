// SPDX-License-Identifier: Apache-2.0
#include "worker/processor/processor_failure.hpp"

#include "hv/error.hpp"
#include "hv/register.hpp"

#include <array>
#include <fmt/format.h>

namespace croft::worker {

namespace {

std::string general_line(std::span<const hv_register_assoc> registers, std::size_t first) {
    static constexpr std::array names = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
        "r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15"};
    std::string line;
    for (std::size_t at = first; at < first + 4; ++at) {
        line += fmt::format("{} {:016x}  ", names[at], std::uint64_t{registers[at].value.reg64});
    }
    return line;
}

std::string segment_text(std::string_view name, const hv_register_assoc& entry) {
    const hv_x64_segment_register segment = entry.value.segment;
    return fmt::format("{} {:04x} base {:016x} limit {:08x} attributes {:04x}", name,
        std::uint16_t{segment.selector}, std::uint64_t{segment.base}, std::uint32_t{segment.limit},
        std::uint16_t{segment.attributes});
}

} // namespace

std::vector<std::string> describe_state(hv::VirtualProcessor& processor) {
    std::vector<hv_register_assoc> registers;
    for (std::uint32_t name = HV_X64_REGISTER_RAX; name <= HV_X64_REGISTER_RFLAGS; ++name) {
        registers.push_back(hv::register_name(name));
    }
    constexpr std::array others = {HV_X64_REGISTER_CR0, HV_X64_REGISTER_CR2, HV_X64_REGISTER_CR3,
        HV_X64_REGISTER_CR4, HV_X64_REGISTER_EFER, HV_X64_REGISTER_CS, HV_X64_REGISTER_SS};
    for (const hv_register_name name : others) {
        registers.push_back(hv::register_name(name));
    }
    try {
        processor.get_registers(registers);
    } catch (const Error& error) {
        return {fmt::format("processor {}: {}", processor.index(), error.what())};
    }
    const auto value = [&](std::size_t at) {
        return std::uint64_t{registers[at].value.reg64};
    };
    return {
        fmt::format(
            "processor {}: rip {:016x}  rflags {:016x}", processor.index(), value(16), value(17)),
        general_line(registers, 0),
        general_line(registers, 4),
        general_line(registers, 8),
        general_line(registers, 12),
        fmt::format("cr0 {:016x}  cr2 {:016x}  cr3 {:016x}  cr4 {:016x}", value(18), value(19),
            value(20), value(21)),
        fmt::format("efer {:016x}", value(22)),
        segment_text("cs", registers[23]),
        segment_text("ss", registers[24]),
    };
}

} // namespace croft::worker
