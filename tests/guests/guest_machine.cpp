// SPDX-License-Identifier: Apache-2.0
#include "tests/guests/guest_machine.hpp"

#include "abi/cpuid.h"
#include "abi/message.h"
#include "abi/partition.h"

#include <cstring>
#include <stdexcept>
#include <sys/mman.h>

namespace croft::guests {

namespace {

constexpr std::uint64_t cr0_pe = 1u << 0;
constexpr std::uint64_t cr0_et = 1u << 4;
constexpr std::uint64_t cr0_pg = 1u << 31;
constexpr std::uint64_t cr4_pae = 1u << 5;
constexpr std::uint64_t cr4_osfxsr = 3u << 9;
constexpr std::uint64_t efer_long_mode = 0x500;
constexpr std::uint64_t idt_gpa = 0x9000;
constexpr std::uint64_t gdt_gpa = 0xe000;

hv_x64_segment_register flat(std::uint16_t selector, std::uint16_t attributes) {
    hv_x64_segment_register segment{};
    segment.limit = 0xffffffff;
    segment.selector = selector;
    segment.attributes = attributes;
    return segment;
}

hv_x64_table_register table(std::uint64_t base, std::uint16_t size) {
    hv_x64_table_register result{};
    result.base = base;
    result.limit = static_cast<std::uint16_t>(size - 1);
    return result;
}

} // namespace

GuestMachine::GuestMachine(std::size_t memory, std::uint32_t processors, std::uint64_t interface)
    : size_{memory} {
    void* const at =
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        throw std::runtime_error("no memory for the guest");
    }
    memory_ = static_cast<std::uint8_t*>(at);
    create(processors, interface);
}

GuestMachine::GuestMachine(const hv::MemoryMapping& memory, Code code, std::uint32_t processors)
    : size_{memory.size},
      memory_{static_cast<std::uint8_t*>(memory.address)},
      owns_memory_{false} {
    load(code);
    create(processors, whole_interface);
}

void GuestMachine::create(std::uint32_t processors, std::uint64_t interface) {
    hypervisor_ = hv::open_hypervisor();
    partition_ = hypervisor_->create_partition(hv::PartitionSettings{});
    partition_->set_property(HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES, interface);
    // Whatever the processors are like.
    partition_->set_property(HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS,
        partition_->property(HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS) |
            HV_ACCESS_TSC_INVARIANT_CONTROLS);
    partition_->initialize();
    partition_->map_memory({.gpa = 0, .size = size_, .address = memory_});
    for (std::uint32_t i = 0; i < processors; ++i) {
        vps_.push_back(partition_->create_vp(i));
    }
}

GuestMachine::~GuestMachine() {
    vps_.clear();
    partition_.reset();
    if (owns_memory_) {
        munmap(memory_, size_);
    }
}

void GuestMachine::load(Code code, std::uint64_t gpa) {
    std::memcpy(memory_ + gpa, code.data(), code.size());
}

void GuestMachine::set(std::uint32_t name, std::uint64_t value) {
    const std::array one{hv::register_value(name, value)};
    vps_[0]->set_registers(one);
}

std::uint64_t GuestMachine::get(std::uint32_t name, std::size_t index) {
    std::array one{hv::register_name(name)};
    vps_[index]->get_registers(one);
    return one[0].value.reg64;
}

void GuestMachine::start_in_real_mode(std::uint64_t entry) {
    hv_x64_segment_register cs{};
    cs.limit = 0xffff;
    cs.attributes = 0x9b;
    const std::array registers{
        hv::register_value(HV_X64_REGISTER_CS, cs), hv::register_value(HV_X64_REGISTER_RIP, entry)};
    vps_[0]->set_registers(registers);
}

void GuestMachine::start_in_protected_mode(std::uint64_t entry) {
    const auto data = flat(0x10, 0xc093);
    const std::array registers{hv::register_value(HV_X64_REGISTER_CS, flat(0x08, 0xc09b)),
        hv::register_value(HV_X64_REGISTER_DS, data), hv::register_value(HV_X64_REGISTER_ES, data),
        hv::register_value(HV_X64_REGISTER_SS, data),
        hv::register_value(HV_X64_REGISTER_CR0, cr0_pe | cr0_et),
        hv::register_value(HV_X64_REGISTER_RIP, entry)};
    vps_[0]->set_registers(registers);
}

void GuestMachine::start_in_long_mode(std::uint64_t entry, std::size_t index) {
    constexpr std::uint64_t table = 3;
    constexpr std::uint64_t large = 0x83;
    constexpr std::uint64_t pml4 = page_tables_gpa;
    constexpr std::uint64_t pdpt = pml4 + 0x1000;
    constexpr std::uint64_t low = pml4 + 0x2000;
    constexpr std::uint64_t high = pml4 + 0x3000;
    store(pml4, pdpt | table);
    store(pdpt, low | table);
    store(pdpt + 3 * 8, high | table);
    for (std::uint64_t i = 0; i < 512; ++i) {
        store(low + 8 * i, (i << 21) | large);
        store(high + 8 * i, ((i << 21) + 0xc0000000) | large);
    }
    const auto data = flat(0x10, 0xc093);
    const std::array registers{hv::register_value(HV_X64_REGISTER_CS, flat(0x08, 0xa09b)),
        hv::register_value(HV_X64_REGISTER_DS, data), hv::register_value(HV_X64_REGISTER_ES, data),
        hv::register_value(HV_X64_REGISTER_SS, data), hv::register_value(HV_X64_REGISTER_CR3, pml4),
        hv::register_value(HV_X64_REGISTER_CR4, cr4_pae | cr4_osfxsr),
        hv::register_value(HV_X64_REGISTER_EFER, efer_long_mode),
        hv::register_value(HV_X64_REGISTER_CR0, cr0_pg | cr0_pe | cr0_et),
        hv::register_value(HV_X64_REGISTER_RSP, 0x7000 - index * 0x800),
        hv::register_value(HV_X64_REGISTER_RIP, entry),
        // All but the first wait for a startup interrupt.
        hv::register_value(HV_REGISTER_INTERNAL_ACTIVITY_STATE, 0)};
    vps_[index]->set_registers(registers);
}

void GuestMachine::handle_exception(std::uint8_t vector, Code handler) {
    constexpr std::uint64_t code_descriptor = 0x00af9b000000ffff;
    constexpr std::uint64_t data_descriptor = 0x00cf93000000ffff;
    constexpr std::uint64_t interrupt_gate = 0x8e0000080000;
    constexpr std::uint64_t largest = 0x100;
    if (handler.size() > largest || next_handler_ > 0xffff) {
        throw std::runtime_error("a guest's handler is too large");
    }
    store(gdt_gpa + 8, code_descriptor);
    store(gdt_gpa + 16, data_descriptor);
    load(handler, next_handler_);
    store(idt_gpa + std::uint64_t{vector} * 16, interrupt_gate | next_handler_);
    next_handler_ += largest;
    const std::array registers{
        hv::register_value(HV_X64_REGISTER_GDTR, table(gdt_gpa, 24)),
        hv::register_value(HV_X64_REGISTER_IDTR, table(idt_gpa, 0x1000)),
    };
    vps_[0]->set_registers(registers);
}

void GuestMachine::handle(std::uint8_t vector, Code handler) {
    constexpr std::uint64_t x2apic = 0xfee00d00;
    handle_exception(vector, handler);
    set(HV_X64_REGISTER_APIC_BASE, x2apic);
}

std::optional<std::uint32_t> GuestMachine::report(std::size_t index) {
    if (vps_[index]->run() != hv::RunResult::intercepted ||
        message(index).header.message_type != HVMSG_X64_IO_PORT_INTERCEPT) {
        return std::nullopt;
    }
    const auto io = payload<hv_x64_io_port_intercept_message>(index);
    if (io.port_number != report_port) {
        return std::nullopt;
    }
    const std::array next{
        hv::register_value(HV_X64_REGISTER_RIP, io.header.rip + io.header.instruction_length)};
    vps_[index]->set_registers(next);
    const std::uint32_t mask = io.access_size == 4 ? ~0u : (1u << (8 * io.access_size)) - 1;
    return static_cast<std::uint32_t>(io.rax) & mask;
}

} // namespace croft::guests
