// SPDX-License-Identifier: Apache-2.0
#include "worker/processor/start_state.hpp"

#include "hv/register.hpp"
#include "worker/loader/loading.hpp"

#include <array>
#include <vector>

namespace croft::worker {

namespace {

// Both boot protocols want these selectors: __BOOT_CS and __BOOT_DS of Linux's boot.rst.
constexpr std::uint16_t code_selector = 0x10;
constexpr std::uint16_t data_selector = 0x18;
constexpr std::uint16_t task_selector = 0x20;

// Attributes as HV_X64_SEGMENT_REGISTER has them: those of the descriptor (AMD APM volume 2, 4.7).
constexpr std::uint16_t code_64_attributes = 0xa09b;
constexpr std::uint16_t code_32_attributes = 0xc09b;
constexpr std::uint16_t data_attributes = 0xc093;
constexpr std::uint16_t task_attributes = 0x008b;
constexpr std::uint16_t local_table_attributes = 0x0082;

constexpr std::uint32_t whole_limit = 0xffff'ffff;
constexpr std::uint32_t task_limit = 0x67;

// CR0, CR4, EFER (AMD APM volume 2, 3.1).
constexpr std::uint64_t cr0_protected = 1U << 0;
constexpr std::uint64_t cr0_extension_type = 1U << 4;
constexpr std::uint64_t cr0_numeric_error = 1U << 5;
constexpr std::uint64_t cr0_paging = 1U << 31;
constexpr std::uint64_t cr4_pae = 1U << 5;
constexpr std::uint64_t efer_long_enable = 1U << 8;
constexpr std::uint64_t efer_long_active = 1U << 10;
constexpr std::uint64_t flags_reserved = 1U << 1;

hv_x64_segment_register segment(
    std::uint16_t selector, std::uint32_t limit, std::uint16_t attributes) {
    hv_x64_segment_register result{};
    result.selector = selector;
    result.limit = limit;
    result.attributes = attributes;
    return result;
}

/// A descriptor with base 0 for a segment (AMD APM volume 2, 4.7).
std::uint64_t descriptor(const hv_x64_segment_register& from) {
    const bool granular = (from.attributes & 0x8000U) != 0;
    const std::uint64_t limit = granular ? from.limit >> 12 : from.limit;
    return (limit & 0xffff) | ((limit >> 16) << 48) |
        (std::uint64_t{from.attributes & 0xffU} << 40) |
        (std::uint64_t{(from.attributes >> 12) & 0x0fU} << 52);
}

} // namespace

void set_start_state(hv::VirtualProcessor& processor, const BootEntry& entry, GuestMemory& memory) {
    const bool is_long = entry.mode == BootEntry::Mode::long_64;
    const auto code =
        segment(code_selector, whole_limit, is_long ? code_64_attributes : code_32_attributes);
    const auto data = segment(data_selector, whole_limit, data_attributes);
    const auto task = segment(task_selector, task_limit, task_attributes);

    const std::array<std::uint64_t, 5> descriptors = {
        0, 0, descriptor(code), descriptor(data), descriptor(task)};
    put_value(memory, BootArea::descriptor_table, descriptors);
    hv_x64_table_register table{};
    table.base = BootArea::descriptor_table;
    table.limit = sizeof(descriptors) - 1;

    std::vector<hv_register_assoc> registers = {
        hv::register_value(HV_X64_REGISTER_GDTR, table),
        hv::register_value(HV_X64_REGISTER_IDTR, hv_x64_table_register{}),
        hv::register_value(HV_X64_REGISTER_CR4, is_long ? cr4_pae : 0),
        hv::register_value(HV_X64_REGISTER_CR3, is_long ? BootArea::page_tables : 0),
        hv::register_value(HV_X64_REGISTER_EFER, is_long ? efer_long_enable | efer_long_active : 0),
        hv::register_value(HV_X64_REGISTER_CR0,
            cr0_protected | cr0_extension_type | cr0_numeric_error | (is_long ? cr0_paging : 0)),
        hv::register_value(HV_X64_REGISTER_CS, code),
        hv::register_value(HV_X64_REGISTER_TR, task),
        hv::register_value(HV_X64_REGISTER_LDTR, segment(0, 0xffff, local_table_attributes)),
    };
    for (const hv_register_name name : {HV_X64_REGISTER_DS, HV_X64_REGISTER_ES, HV_X64_REGISTER_SS,
             HV_X64_REGISTER_FS, HV_X64_REGISTER_GS}) {
        registers.push_back(hv::register_value(name, data));
    }
    for (std::uint32_t name = HV_X64_REGISTER_RAX; name <= HV_X64_REGISTER_R15; ++name) {
        registers.push_back(hv::register_value(name, 0));
    }
    registers.push_back(hv::register_value(HV_X64_REGISTER_RSI, entry.rsi));
    registers.push_back(hv::register_value(HV_X64_REGISTER_RBX, entry.rbx));
    registers.push_back(hv::register_value(HV_X64_REGISTER_RFLAGS, flags_reserved));
    registers.push_back(hv::register_value(HV_X64_REGISTER_RIP, entry.address));
    processor.set_registers(registers);
}

} // namespace croft::worker
