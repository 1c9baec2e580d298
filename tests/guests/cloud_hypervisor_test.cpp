// SPDX-License-Identifier: Apache-2.0
// What Cloud Hypervisor asks of the driver and the hypervisor, in its order and with its values, to
// make a machine, run a small guest, pause it, and have it go on in another one (read off its
// sources and its crates': hypervisor/src/mshv/, rust-vmm's mshv-ioctls and mshv-bindings, as of
// August 2026). What it takes for granted is what is checked.
#include "tests/guests/guest_code.hpp"
#include "tests/guests/raw_vm.hpp"

#include <array>
#include <bit>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utility>
#include <vector>

GUEST(uses_devices)
GUEST(waits_for_interrupt_in_real_mode)

namespace croft::guests {

namespace {

using hv::mshv::PartitionFlag;
using hv::mshv::VpStateKind;

constexpr std::array states{VpStateKind::lapic, VpStateKind::xsave, VpStateKind::simp,
    VpStateKind::siefp, VpStateKind::stimers};

/// Its default mask, of which it takes what the hypervisor says can be assigned.
constexpr std::uint64_t synthetic_features = HV_SYNTHETIC_HYPERVISOR_PRESENT | HV_SYNTHETIC_HV1 |
    HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_COUNTER | HV_SYNTHETIC_ACCESS_SYNIC_REGS |
    HV_SYNTHETIC_ACCESS_SYNTHETIC_TIMER_REGS | HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_TSC |
    HV_SYNTHETIC_ACCESS_FREQUENCY_REGS | HV_SYNTHETIC_ACCESS_INTR_CTRL_REGS |
    HV_SYNTHETIC_ACCESS_VP_INDEX | HV_SYNTHETIC_ACCESS_HYPERCALL_REGS |
    HV_SYNTHETIC_ACCESS_GUEST_IDLE_REG | HV_SYNTHETIC_TB_FLUSH_HYPERCALLS |
    HV_SYNTHETIC_CLUSTER_IPI | HV_SYNTHETIC_DIRECT_SYNTHETIC_TIMERS;

std::uint64_t property_of_host(std::uint32_t code) {
    hv_input_get_partition_property input{};
    input.property_code = code;
    hv_output_get_partition_property output{};
    open_driver().call("ask the host", HVCALL_GET_PARTITION_PROPERTY, input, output);
    return output.property_value;
}

std::uint64_t assignable_features() {
    hv_input_get_partition_property_ex input{};
    input.property_code = HV_PARTITION_PROPERTY_ASSIGNABLE_SYNTHETIC_PROC_FEATURES;
    std::array<std::byte, HV_PAGE_SIZE> output{}; // as large as its type
    open_driver().hypercall("ask the host", HVCALL_GET_PARTITION_PROPERTY_EX,
        std::as_bytes(std::span{&input, 1}), output);
    std::uint64_t bank = 0;
    std::memcpy(&bank, output.data() + 8, sizeof bank);
    return bank;
}

hv::mshv::CreatePartition settings() {
    constexpr std::uint64_t enabled_xsave =
        1u << 0 | 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 11 | 1u << 12;
    constexpr std::uint64_t nested_virtualization = 1u << 6; // of bank 1
    constexpr std::uint64_t reserved_bank0 = ~((1ull << 60) - 1);
    hv::mshv::CreatePartition result{};
    result.flags = flag(PartitionFlag::lapic) | flag(PartitionFlag::x2apic) |
        flag(PartitionFlag::gpa_super_pages) | flag(PartitionFlag::cpu_and_xsave_features);
    result.feature_bank_count = 2;
    result.disabled_features[0] =
        ~property_of_host(HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0) | reserved_bank0;
    result.disabled_features[1] =
        ~property_of_host(HV_PARTITION_PROPERTY_PROCESSOR_FEATURES1) | nested_virtualization;
    result.disabled_xsave = ~enabled_xsave;
    return result;
}

std::vector<std::uint32_t> range(std::uint32_t first, std::uint32_t last) {
    std::vector<std::uint32_t> result;
    for (std::uint32_t name = first; name <= last; ++name) {
        result.push_back(name);
    }
    return result;
}

std::vector<std::uint32_t> together(std::initializer_list<std::vector<std::uint32_t>> parts) {
    std::vector<std::uint32_t> result;
    for (const auto& part : parts) {
        result.insert(result.end(), part.begin(), part.end());
    }
    return result;
}

/// The groups in which it reads and sets registers, in the order in which it sets them.
std::vector<std::vector<std::uint32_t>> register_groups() {
    return {
        // MSRS_COMMON and MSRS_SYNIC, each MSR by its own call.
        together({{HV_X64_REGISTER_TSC, HV_X64_REGISTER_EFER, HV_X64_REGISTER_KERNEL_GS_BASE,
                      HV_X64_REGISTER_APIC_BASE, HV_X64_REGISTER_PAT, HV_X64_REGISTER_SYSENTER_CS,
                      HV_X64_REGISTER_SYSENTER_ESP, HV_X64_REGISTER_SYSENTER_EIP,
                      HV_X64_REGISTER_STAR, HV_X64_REGISTER_LSTAR, HV_X64_REGISTER_CSTAR,
                      HV_X64_REGISTER_SFMASK, HV_X64_REGISTER_MSR_MTRR_DEF_TYPE},
            range(HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0, HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0 + 7),
            range(HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0, HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0 + 7),
            range(HV_X64_REGISTER_MSR_MTRR_FIX64K00000, HV_X64_REGISTER_MSR_MTRR_FIX4KF8000),
            {HV_X64_REGISTER_DEBUG_CTL, HV_REGISTER_EOM},
            range(HV_REGISTER_SINT0, HV_REGISTER_SINT15),
            {HV_REGISTER_SCONTROL, HV_REGISTER_SIEFP, HV_REGISTER_SIMP, HV_REGISTER_GUEST_OS_ID,
                HV_REGISTER_REFERENCE_TSC}}),
        {HV_REGISTER_PENDING_INTERRUPTION, HV_REGISTER_INTERRUPT_STATE,
            HV_REGISTER_INTERNAL_ACTIVITY_STATE, HV_REGISTER_PENDING_EVENT0,
            HV_REGISTER_PENDING_EVENT1},
        range(HV_X64_REGISTER_RAX, HV_X64_REGISTER_RFLAGS),
        together({range(HV_X64_REGISTER_ES, HV_X64_REGISTER_TR),
            {HV_X64_REGISTER_GDTR, HV_X64_REGISTER_IDTR, HV_X64_REGISTER_INTERMEDIATE_CR0,
                HV_X64_REGISTER_CR2, HV_X64_REGISTER_INTERMEDIATE_CR3,
                HV_X64_REGISTER_INTERMEDIATE_CR4, HV_X64_REGISTER_CR8, HV_X64_REGISTER_EFER,
                HV_X64_REGISTER_APIC_BASE}}),
        together({range(HV_X64_REGISTER_XMM0, HV_X64_REGISTER_XMM15),
            range(HV_X64_REGISTER_FP_MMX0, HV_X64_REGISTER_FP_MMX7),
            {HV_X64_REGISTER_FP_CONTROL_STATUS, HV_X64_REGISTER_XMM_CONTROL_STATUS}}),
        {HV_X64_REGISTER_XFEM},
        {HV_X64_REGISTER_HYPERCALL},
        {HV_X64_REGISTER_DR0, HV_X64_REGISTER_DR1, HV_X64_REGISTER_DR2, HV_X64_REGISTER_DR3,
            HV_X64_REGISTER_DR6, HV_X64_REGISTER_DR7},
    };
}

/// A processor's state as it goes to another machine.
struct Snapshot {
    std::vector<std::vector<hv_register_assoc>> registers;
    std::vector<std::vector<std::uint8_t>> states;
    std::uint64_t reference_time = 0;
};

/// One of its machines: frozen until it is booted or resumed.
class Machine {
public:
    explicit Machine(const RawMemory& memory) : vm_{settings()} {
        vm_.set_property(HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES,
            synthetic_features & assignable_features());
        vm_.initialize();
        vm_.set_property(HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION,
            HV_UNIMPLEMENTED_MSR_ACTION_IGNORE_WRITE_READ_ZERO);
        vm_.set_property(HV_PARTITION_PROPERTY_TIME_FREEZE, 1);
        vm_.map(memory, 0);
        vp_ = std::make_unique<RawVp>(vm_.file(), 0);
        // The leaves of its own, of one processor: the mask is the value.
        hv_input_register_intercept_result cpuid{};
        cpuid.intercept_type = HV_INTERCEPT_TYPE_X64_CPUID;
        cpuid.cpuid.input.eax = 0x40000001;
        cpuid.cpuid.input.always_override = 1;
        cpuid.cpuid.result.eax = cpuid.cpuid.result.eax_mask = 0x31237648;
        vp_->file().call("register", HVCALL_REGISTER_INTERCEPT_RESULT, cpuid);
    }

    void resume() const { vm_.set_property(HV_PARTITION_PROPERTY_TIME_FREEZE, 0); }
    void pause() const { vm_.set_property(HV_PARTITION_PROPERTY_TIME_FREEZE, 1); }

    /// Boot registers, and the local APIC's pins.
    void boot(std::uint64_t entry) const {
        constexpr std::size_t lvt_pin0 = 35;
        constexpr std::size_t lvt_pin1 = 36;
        constexpr std::uint32_t external = 0x700;
        constexpr std::uint32_t nmi = 0x400;
        constexpr std::uint64_t mtrrs_write_back = 0x806;
        for (const std::uint32_t name : {HV_X64_REGISTER_SYSENTER_CS, HV_X64_REGISTER_SYSENTER_ESP,
                 HV_X64_REGISTER_SYSENTER_EIP, HV_X64_REGISTER_STAR, HV_X64_REGISTER_CSTAR,
                 HV_X64_REGISTER_LSTAR, HV_X64_REGISTER_KERNEL_GS_BASE, HV_X64_REGISTER_SFMASK}) {
            vp_->set(name, 0);
        }
        vp_->set(HV_X64_REGISTER_MSR_MTRR_DEF_TYPE, mtrrs_write_back);
        hv_x64_segment_register cs{};
        cs.limit = 0xffff;
        cs.attributes = 0x9b;
        vp_->set(std::array{hv::register_value(HV_X64_REGISTER_CS, cs),
            hv::register_value(HV_X64_REGISTER_RIP, entry),
            hv::register_value(HV_X64_REGISTER_RSP, 0x7000),
            hv::register_value(HV_X64_REGISTER_RFLAGS, 2)});
        auto apic = vp_->state(VpStateKind::lapic);
        std::memcpy(apic.data() + 4 * lvt_pin0, &external, sizeof external);
        std::memcpy(apic.data() + 4 * lvt_pin1, &nmi, sizeof nmi);
        vp_->set_state(VpStateKind::lapic, apic);
    }

    [[nodiscard]] Snapshot save() const {
        Snapshot result;
        for (const auto& names : register_groups()) {
            std::vector<hv_register_assoc> group;
            for (const std::uint32_t name : names) {
                group.push_back(hv::register_name(name));
            }
            vp_->get(group);
            result.registers.push_back(group);
        }
        for (const VpStateKind kind : states) {
            result.states.push_back(vp_->state(kind));
        }
        result.reference_time = vm_.property(HV_PARTITION_PROPERTY_REFERENCE_TIME);
        return result;
    }
    void restore(const Snapshot& from) const {
        for (const auto& group : from.registers) {
            vp_->set(group);
        }
        for (std::size_t i = 0; i < states.size(); ++i) {
            vp_->set_state(states.at(i), from.states.at(i));
        }
        vm_.set_property(HV_PARTITION_PROPERTY_REFERENCE_TIME, from.reference_time);
    }

    /// Runs to an access by a port, and answers it in the register page.
    std::uint64_t port(std::uint16_t number, std::uint64_t in = 0) const {
        const hv_message message = vp_->run();
        EXPECT_EQ(message.header.message_type, HVMSG_X64_IO_PORT_INTERCEPT);
        const auto io = payload_of<hv_x64_io_port_intercept_message>(message);
        EXPECT_EQ(io.port_number, number);
        if (io.header.intercept_access_type == HV_INTERCEPT_ACCESS_READ) {
            vp_->page().gp_registers[0] = in;
        }
        vp_->page().rip = io.header.rip + io.header.instruction_length;
        vp_->page().dirty |= 1u << HV_X64_REGISTER_CLASS_GENERAL | 1u << HV_X64_REGISTER_CLASS_IP |
            1u << HV_X64_REGISTER_CLASS_FLAGS;
        return io.rax & (io.access_size == 4 ? 0xffffffff : 0xff);
    }

    /// Runs to an access to memory that is not there; looks the address up itself, too.
    void memory(std::uint64_t gpa, unsigned length) const {
        const hv_message message = vp_->run();
        ASSERT_EQ(message.header.message_type, HVMSG_UNMAPPED_GPA);
        const auto access = payload_of<hv_x64_memory_intercept_message>(message);
        EXPECT_EQ(access.guest_physical_address, gpa);
        ASSERT_EQ(access.gva_gpa_valid, 1u);
        // Its debugger's stub names no kind of access, though the TLFS has callers name one.
        for (const std::uint64_t flags : {HV_TRANSLATE_GVA_VALIDATE_READ, 0ull}) {
            hv_input_translate_virtual_address input{};
            input.control_flags = flags;
            input.gva_page = access.guest_virtual_address >> HV_PAGE_SHIFT;
            hv_output_translate_virtual_address output{};
            vp_->file().call("translate", HVCALL_TRANSLATE_VIRTUAL_ADDRESS, input, output);
            EXPECT_EQ(output.gpa_page, gpa >> HV_PAGE_SHIFT);
        }
        // Its emulator has all of the state, and sets all of it.
        std::vector<hv_register_assoc> all;
        for (const std::uint32_t name : range(HV_X64_REGISTER_ES, HV_X64_REGISTER_TR)) {
            all.push_back(hv::register_name(name));
        }
        vp_->get(all);
        vp_->set(all);
        vp_->page().gp_registers[1] = 0x5a;
        vp_->page().rip = access.header.rip + length;
        vp_->page().dirty |= 1u << HV_X64_REGISTER_CLASS_GENERAL | 1u << HV_X64_REGISTER_CLASS_IP |
            1u << HV_X64_REGISTER_CLASS_FLAGS | 1u << HV_X64_REGISTER_CLASS_SEGMENT;
    }

    [[nodiscard]] const RawVm& vm() const { return vm_; }
    [[nodiscard]] const RawVp& vp() const { return *vp_; }

private:
    RawVm vm_;
    std::unique_ptr<RawVp> vp_;
};

TEST(CloudHypervisor, BootsAndServesItsDevices) {
    const RawMemory memory{0x90000};
    memory.load(CODE(uses_devices), 0x1000);
    const Machine machine{memory};
    machine.boot(0x1000);
    machine.resume();
    EXPECT_EQ(machine.port(0x99), 0x31237648u);
    (void)machine.port(0x60, 0x21);
    machine.memory(0x90010, 3);
    machine.memory(0x90020, 4);
    EXPECT_EQ(machine.port(0x99), 0x5au);
}

TEST(CloudHypervisor, GoesOnInAnotherMachine) {
    const RawMemory memory{0x90000};
    memory.load(CODE(uses_devices), 0x1000);
    Snapshot snapshot;
    {
        const Machine first{memory};
        first.boot(0x1000);
        first.resume();
        EXPECT_EQ(first.port(0x99), 0x31237648u);
        (void)first.port(0x60, 0x21);
        first.memory(0x90010, 3);
        first.pause();
        // While it is valid the register page has these.
        first.vp().set(HV_X64_REGISTER_RIP, first.vp().page().rip);
        snapshot = first.save();
    }
    const Machine second{memory};
    second.restore(snapshot);
    EXPECT_EQ(second.vm().property(HV_PARTITION_PROPERTY_REFERENCE_TIME), snapshot.reference_time);
    const Snapshot again = second.save();
    for (std::size_t i = 0; i < snapshot.registers.size(); ++i) {
        for (std::size_t j = 0; j < snapshot.registers[i].size(); ++j) {
            EXPECT_EQ(std::memcmp(&again.registers[i][j].value, &snapshot.registers[i][j].value,
                          sizeof(hv_register_value)),
                0)
                << std::hex << snapshot.registers[i][j].name;
        }
    }
    EXPECT_EQ(again.states, snapshot.states);
    second.resume();
    second.memory(0x90020, 4);
    EXPECT_EQ(second.port(0x99), 0x5au);
}

/// By its table of MSIs and an eventfd, as its devices do.
TEST(CloudHypervisor, InterruptsComeByEvents) {
    constexpr std::uint32_t gsi = 24;
    const RawMemory memory{0x90000};
    memory.load(CODE(waits_for_interrupt_in_real_mode), 0x1000);
    const Machine machine{memory};
    machine.boot(0x1000);
    struct {
        hv::mshv::UserIrqTable table{};
        hv::mshv::UserIrqEntry entry{};
    } routes;
    routes.table.count = 1;
    routes.entry = {.gsi = gsi, .address_low = 0xfee00000, .address_high = 0, .data = 0x40};
    machine.vm().file().request("route", hv::mshv::set_msi_routing, static_cast<void*>(&routes));
    const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    hv::mshv::UserIrqFd irqfd{};
    irqfd.event = event;
    irqfd.gsi = gsi;
    machine.vm().file().request("connect", hv::mshv::irqfd, static_cast<void*>(&irqfd));
    machine.resume();
    EXPECT_EQ(machine.port(0x99), 1u);
    const std::uint64_t one = 1;
    ASSERT_EQ(write(event, &one, sizeof one), static_cast<ssize_t>(sizeof one));
    EXPECT_EQ(machine.port(0x99), 2u);
    irqfd.flags = hv::mshv::irqfd_deassign;
    machine.vm().file().request("disconnect", hv::mshv::irqfd, static_cast<void*>(&irqfd));
    close(event);
}

} // namespace

} // namespace croft::guests
