// SPDX-License-Identifier: Apache-2.0
// What OpenVMM asks of the driver and the hypervisor, in its order and with its values, to make a
// partition, run a small guest, serve its intercepts, and reset it (read off its sources:
// vmm_core/virt_mshv/src/lib.rs and x86_64/, vmm_core/virt/src/x86/vp.rs and vm.rs, as of August
// 2026). What it takes for granted is what is checked.
#include "abi/synic.h"
#include "tests/guests/guest_code.hpp"
#include "tests/guests/raw_vm.hpp"

#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <utility>
#include <vector>

GUEST(uses_devices)

namespace croft::guests {

namespace {

using hv::mshv::PartitionFlag;
using hv::mshv::VpStateKind;

/// Its common_synthetic_features and what it adds on this architecture.
constexpr std::uint64_t synthetic_features = HV_SYNTHETIC_HYPERVISOR_PRESENT | HV_SYNTHETIC_HV1 |
    HV_SYNTHETIC_ACCESS_VP_RUN_TIME_REG | HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_COUNTER |
    HV_SYNTHETIC_ACCESS_SYNIC_REGS | HV_SYNTHETIC_ACCESS_SYNTHETIC_TIMER_REGS |
    HV_SYNTHETIC_ACCESS_INTR_CTRL_REGS | HV_SYNTHETIC_ACCESS_HYPERCALL_REGS |
    HV_SYNTHETIC_ACCESS_VP_INDEX | 1ull << 18 /* fast hypercall output */ |
    HV_SYNTHETIC_DIRECT_SYNTHETIC_TIMERS | HV_SYNTHETIC_EXTENDED_PROCESSOR_MASKS |
    HV_SYNTHETIC_TB_FLUSH_HYPERCALLS | HV_SYNTHETIC_CLUSTER_IPI |
    HV_SYNTHETIC_NOTIFY_LONG_SPIN_WAIT | HV_SYNTHETIC_QUERY_NUMA_DISTANCE |
    HV_SYNTHETIC_SIGNAL_EVENTS | HV_SYNTHETIC_RETARGET_DEVICE_INTERRUPT |
    HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_TSC | HV_SYNTHETIC_ACCESS_GUEST_IDLE_REG |
    HV_SYNTHETIC_ACCESS_FREQUENCY_REGS | 1ull << 15 /* extended ranges of addresses */;

/// It takes away what its lists of processor features have not.
constexpr std::uint64_t disabled_bank0 = 0x8124000018000000;
constexpr std::uint64_t disabled_bank1 = 0xfff09ef001000800;
constexpr std::uint64_t disabled_xsave = 0xffffffc000000000;

constexpr std::uint32_t hypervisor_interface = 0x31237648; // "Hv#1"
constexpr std::uint32_t stack_interface = 0x31235356;      // "VS#1"
constexpr std::uint64_t apic_base = 0xfee00900;            // on, of the first processor
constexpr std::uint64_t x2apic_mode = 0x400;
constexpr std::uint32_t masked = 0x10000;

/// Of a guest's local APICs; `supported` if it isn't told otherwise.
enum class X2Apic : std::uint8_t { no, supported, on };

hv::mshv::CreatePartition settings(X2Apic x2apic) {
    hv::mshv::CreatePartition result{};
    result.flags = flag(PartitionFlag::lapic) | flag(PartitionFlag::gpa_super_pages) |
        flag(PartitionFlag::cpu_and_xsave_features) |
        (x2apic != X2Apic::no ? flag(PartitionFlag::x2apic) : 0);
    result.feature_bank_count = 2;
    result.disabled_features[0] = disabled_bank0;
    result.disabled_features[1] = disabled_bank1;
    result.disabled_xsave = disabled_xsave;
    return result;
}

hv_register_assoc segment(
    std::uint32_t name, std::uint64_t base, std::uint16_t selector, std::uint16_t attributes) {
    hv_x64_segment_register value{};
    value.base = base;
    value.limit = 0xffff;
    value.selector = selector;
    value.attributes = attributes;
    return hv::register_value(name, value);
}

hv_register_assoc table(std::uint32_t name) {
    hv_x64_table_register value{};
    value.limit = 0xffff;
    return hv::register_value(name, value);
}

class OpenVmm : public testing::TestWithParam<X2Apic> {
protected:
    void SetUp() override {
        vm_.set_property(HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES, synthetic_features);
        vm_.initialize();
        vm_.set_property(HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET, 1);
        vp_ = std::make_unique<RawVp>(vm_.file(), 0);
        for (const std::uint32_t type :
            {HV_INTERCEPT_TYPE_HYPERCALL, HV_INTERCEPT_TYPE_UNKNOWN_SYNIC_CONNECTION,
                HV_INTERCEPT_TYPE_RETARGET_INTERRUPT_WITH_UNKNOWN_DEVICE_ID}) {
            vm_.install_intercept(type, HV_INTERCEPT_ACCESS_MASK_EXECUTE);
        }
        register_cpuid();
        ask_for_capabilities();
        vm_.map(memory_, 0);
        bind();
    }

    /// Partition-wide: a hypervisor is there, and the virtualization stack's own leaves.
    void register_cpuid() const {
        using Answer = std::array<std::uint32_t, 4>;
        constexpr Answer all{~0u, ~0u, ~0u, ~0u};
        register_cpuid(1, {0, 0, 1u << 31, 0}, {0, 0, 1u << 31, 0});
        register_cpuid(0x40000080, {0x40000082, 0x7263694d, 0x666f736f, 0x53562074}, all);
        register_cpuid(0x40000081, {stack_interface, 0, 0, 0}, all);
        register_cpuid(0x40000082, {5, 0, 0, 0}, all);
    }
    void register_cpuid(std::uint32_t leaf, const std::array<std::uint32_t, 4>& answer,
        const std::array<std::uint32_t, 4>& mask) const {
        hv_input_register_intercept_result input{};
        input.vp_index = HV_ANY_VP;
        input.intercept_type = HV_INTERCEPT_TYPE_X64_CPUID;
        input.cpuid.input.eax = leaf;
        input.cpuid.input.always_override = 1;
        input.cpuid.result = {
            answer[0], mask[0], answer[1], mask[1], answer[2], mask[2], answer[3], mask[3]};
        vm_.file().call("register", HVCALL_REGISTER_INTERCEPT_RESULT, input);
    }

    [[nodiscard]] std::array<std::uint32_t, 4> cpuid(
        std::uint32_t leaf, std::uint32_t subleaf) const {
        hv_cpuid_leaf_info asked{};
        asked.eax = leaf;
        asked.ecx = subleaf;
        hv_input_get_vp_cpuid_values header{};
        header.flags =
            HV_GET_VP_CPUID_VALUES_USE_VP_XFEM_XSS | HV_GET_VP_CPUID_VALUES_APPLY_REGISTERED_VALUES;
        std::array<std::byte, sizeof header + sizeof asked> input{};
        std::memcpy(input.data(), &header, sizeof header);
        std::memcpy(&input[sizeof header], &asked, sizeof asked);
        std::array<std::uint32_t, 4> output{};
        vp_->file().rep_hypercall("ask for CPUID", HVCALL_GET_VP_CPUID_VALUES, 1, input,
            std::as_writable_bytes(std::span{output}));
        return output;
    }

    void ask_for_capabilities() {
        const std::uint32_t last = cpuid(0, 0)[0];
        ASSERT_GE(last, 0xdu);
        const auto features = cpuid(1, 0);
        EXPECT_NE(features[3], 0u);
        EXPECT_EQ(features[2] >> 31, 1u);
        EXPECT_EQ(features[2] >> 21 & 1, GetParam() == X2Apic::no ? 0u : 1u);
        reset_rdx_ = features[0];
        EXPECT_GE(cpuid(0x40000000, 0)[0], 0x40000004u);
        EXPECT_EQ(cpuid(0x40000001, 0)[0], hypervisor_interface);
        EXPECT_EQ(cpuid(0x40000081, 0)[0], stack_interface);
        const auto states = cpuid(0xd, 0);
        EXPECT_EQ(states[0], vm_.property(HV_PARTITION_PROPERTY_XSAVE_STATES));
        EXPECT_GE(vm_.property(HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE), 576u);
        for (std::uint32_t i = 1; i < 63; ++i) {
            (void)cpuid(0xd, i);
        }
        EXPECT_GE(cpuid(0x80000000, 0)[0], 0x80000008u);
        EXPECT_EQ(cpuid(0x80000008, 0)[0] & 0xff,
            vm_.property(HV_PARTITION_PROPERTY_PHYSICAL_ADDRESS_WIDTH));
    }

    [[nodiscard]] std::uint64_t first_apic_base() const {
        return apic_base | (GetParam() == X2Apic::on ? x2apic_mode : 0);
    }

    void bind() const {
        const std::array registers{hv::register_value(HV_X64_REGISTER_INITIAL_APIC_ID, 0),
            hv::register_value(HV_X64_REGISTER_APIC_BASE, first_apic_base()),
            hv::register_value(HV_X64_REGISTER_APIC_ID, 0)};
        vp_->set(std::span{registers}.first(GetParam() == X2Apic::no ? 3 : 2));
    }

    // What is set by a reset is read again when all of it has been set, and must be the same: so
    // do its debug builds.

    void reset(std::span<const hv_register_assoc> registers) {
        vp_->set(registers);
        reset_registers_.insert(reset_registers_.end(), registers.begin(), registers.end());
    }
    void reset(std::uint32_t name, std::uint64_t value) {
        reset(std::array{hv::register_value(name, value)});
    }
    void reset(VpStateKind kind, std::span<const std::uint8_t> state) {
        vp_->set_state(kind, state);
        reset_states_.emplace_back(kind, std::vector(state.begin(), state.end()));
    }
    void check_reset() const {
        std::vector found{reset_registers_};
        vp_->get(found);
        for (std::size_t i = 0; i < found.size(); ++i) {
            EXPECT_EQ(found[i].value.reg128.low, reset_registers_[i].value.reg128.low)
                << std::hex << found[i].name;
            EXPECT_EQ(found[i].value.reg128.high, reset_registers_[i].value.reg128.high)
                << std::hex << found[i].name;
        }
        for (const auto& [kind, state] : reset_states_) {
            auto now = vp_->state(kind);
            now.resize(state.size());
            EXPECT_EQ(now, state) << static_cast<unsigned>(kind);
        }
    }

    /// All elements of its state of a processor, as after a reset.
    void reset_vp() {
        reset_registers_.clear();
        reset_states_.clear();
        std::vector<hv_register_assoc> registers;
        for (std::uint32_t name = HV_X64_REGISTER_RAX; name <= HV_X64_REGISTER_R15; ++name) {
            registers.push_back(
                hv::register_value(name, name == HV_X64_REGISTER_RDX ? reset_rdx_ : 0));
        }
        for (const auto& [name, value] :
            {std::pair<std::uint32_t, std::uint64_t>{HV_X64_REGISTER_RIP, 0xfff0},
                {HV_X64_REGISTER_RFLAGS, 2}, {HV_X64_REGISTER_CR0, 0x60000010},
                {HV_X64_REGISTER_CR2, 0}, {HV_X64_REGISTER_CR3, 0}, {HV_X64_REGISTER_CR4, 0},
                {HV_X64_REGISTER_CR8, 0}, {HV_X64_REGISTER_EFER, 0}}) {
            registers.push_back(hv::register_value(name, value));
        }
        registers.push_back(segment(HV_X64_REGISTER_CS, 0xffff0000, 0xf000, 0x9b));
        for (const std::uint32_t name : {HV_X64_REGISTER_DS, HV_X64_REGISTER_ES, HV_X64_REGISTER_FS,
                 HV_X64_REGISTER_GS, HV_X64_REGISTER_SS}) {
            registers.push_back(segment(name, 0, 0, 0x93));
        }
        registers.push_back(segment(HV_X64_REGISTER_TR, 0, 0, 0x8b));
        registers.push_back(segment(HV_X64_REGISTER_LDTR, 0, 0, 0x82));
        registers.push_back(table(HV_X64_REGISTER_GDTR));
        registers.push_back(table(HV_X64_REGISTER_IDTR));
        reset(registers);
        reset_activity();
        reset_extended_state();
        reset_apic();
        reset_msrs();
        reset_synic();
    }

    void reset_activity() {
        reset(std::array{hv::register_value(HV_REGISTER_INTERNAL_ACTIVITY_STATE, 0),
            hv::register_value(HV_REGISTER_PENDING_INTERRUPTION, 0),
            hv::register_value(HV_REGISTER_INTERRUPT_STATE, 0),
            hv::register_value(HV_REGISTER_PENDING_EVENT0, 0)});
        (void)vp_->state(VpStateKind::lapic);
    }

    void reset_extended_state() {
        constexpr std::size_t format_at = 520;
        std::vector<std::uint8_t> state(vm_.property(HV_PARTITION_PROPERTY_MAX_XSAVE_DATA_SIZE));
        const std::uint64_t compacted =
            1ull << 63 | vm_.property(HV_PARTITION_PROPERTY_XSAVE_STATES);
        std::memcpy(state.data() + format_at, &compacted, sizeof compacted);
        vp_->set_state(VpStateKind::xsave, state);
        reset(HV_X64_REGISTER_XFEM, 1);
        reset(HV_X64_REGISTER_XSS, 0);
    }

    /// In the order of HV_X64_INTERRUPT_CONTROLLER_STATE.
    void reset_apic() {
        enum : std::size_t {
            version = 1,
            logical = 2,
            format = 3,
            spurious = 4,
            lvt_timer = 32,
            lvt_error = 37
        };
        std::array<std::uint32_t, 44> apic{};
        apic[version] = 0x50014;
        if (GetParam() == X2Apic::on) {
            apic[logical] = 1;
        } else {
            apic[format] = ~0u;
        }
        apic[spurious] = 0xff;
        for (std::size_t i = lvt_timer; i <= lvt_error; ++i) {
            apic.at(i) = masked;
        }
        reset(HV_X64_REGISTER_APIC_BASE, first_apic_base());
        std::array<std::uint8_t, sizeof apic> bytes{};
        std::memcpy(bytes.data(), apic.data(), sizeof apic);
        reset(VpStateKind::lapic, bytes);
    }

    void reset_msrs() {
        std::vector<hv_register_assoc> mtrrs{
            hv::register_value(HV_X64_REGISTER_MSR_MTRR_DEF_TYPE, 0)};
        for (std::uint32_t i = 0; i < 11; ++i) {
            mtrrs.push_back(hv::register_value(HV_X64_REGISTER_MSR_MTRR_FIX64K00000 + i, 0));
        }
        for (std::uint32_t i = 0; i < 8; ++i) {
            mtrrs.push_back(hv::register_value(HV_X64_REGISTER_MSR_MTRR_PHYS_BASE0 + i, 0));
            mtrrs.push_back(hv::register_value(HV_X64_REGISTER_MSR_MTRR_PHYS_MASK0 + i, 0));
        }
        reset(mtrrs);
        reset(HV_X64_REGISTER_PAT, 0x0007040600070406);
        reset(std::array{hv::register_value(HV_X64_REGISTER_KERNEL_GS_BASE, 0),
            hv::register_value(HV_X64_REGISTER_SYSENTER_CS, 0),
            hv::register_value(HV_X64_REGISTER_SYSENTER_ESP, 0),
            hv::register_value(HV_X64_REGISTER_SYSENTER_EIP, 0),
            hv::register_value(HV_X64_REGISTER_STAR, 0),
            hv::register_value(HV_X64_REGISTER_LSTAR, 0),
            hv::register_value(HV_X64_REGISTER_CSTAR, 0),
            hv::register_value(HV_X64_REGISTER_SFMASK, 0)});
        reset(std::array{hv::register_value(HV_X64_REGISTER_DR0, 0),
            hv::register_value(HV_X64_REGISTER_DR1, 0), hv::register_value(HV_X64_REGISTER_DR2, 0),
            hv::register_value(HV_X64_REGISTER_DR3, 0),
            hv::register_value(HV_X64_REGISTER_DR6, 0xffff0ff0),
            hv::register_value(HV_X64_REGISTER_DR7, 0x400)});
        reset(HV_X64_REGISTER_TSC, 0);
        reset(HV_X64_REGISTER_TSC_AUX, 0);
    }

    void reset_synic() {
        std::vector<hv_register_assoc> registers{hv::register_value(HV_REGISTER_VP_ASSIST_PAGE, 0),
            hv::register_value(HV_REGISTER_SCONTROL, 1), hv::register_value(HV_REGISTER_SIEFP, 0),
            hv::register_value(HV_REGISTER_SIMP, 0)};
        for (std::uint32_t i = 0; i < HV_SYNIC_SINT_COUNT; ++i) {
            registers.push_back(hv::register_value(HV_REGISTER_SINT0 + i, masked));
        }
        reset(registers);
        const std::vector<std::uint8_t> page(HV_PAGE_SIZE);
        reset(VpStateKind::simp, page);
        reset(VpStateKind::siefp, page);
        vp_->set_state(
            VpStateKind::stimers, std::vector<std::uint8_t>(sizeof(hv_synthetic_timers_state)));
    }

    void reset_vm() const {
        vp_->set(std::array{hv::register_value(HV_REGISTER_GUEST_OS_ID, 0),
            hv::register_value(HV_X64_REGISTER_HYPERCALL, 0)});
        vm_.set_property(HV_PARTITION_PROPERTY_REFERENCE_TIME, 0);
        vp_->set(HV_REGISTER_REFERENCE_TSC, 0);
    }

    void start_in_real_mode(Code code) const {
        memory_.load(code, 0x1000);
        vp_->set(std::array{segment(HV_X64_REGISTER_CS, 0, 0, 0x9b),
            hv::register_value(HV_X64_REGISTER_RIP, 0x1000)});
    }

    /// An access by a port, answered in the register page.
    void answer_port(const hv_message& message, std::uint64_t rax) const {
        const auto io = payload_of<hv_x64_io_port_intercept_message>(message);
        ASSERT_EQ(vp_->page().is_valid, 1);
        vp_->page().gp_registers[0] = rax;
        vp_->page().rip = io.header.rip + io.header.instruction_length;
        vp_->page().dirty |= 1u << HV_X64_REGISTER_CLASS_GENERAL | 1u << HV_X64_REGISTER_CLASS_IP;
    }
    [[nodiscard]] std::uint64_t said() const {
        const hv_message message = vp_->run();
        EXPECT_EQ(message.header.message_type, HVMSG_X64_IO_PORT_INTERCEPT);
        const auto io = payload_of<hv_x64_io_port_intercept_message>(message);
        EXPECT_EQ(io.port_number, 0x99);
        answer_port(message, io.rax);
        return io.rax & (io.access_size == 4 ? 0xffffffff : 0xff);
    }
    /// Emulated: the memory's value moves, and the guest goes on.
    void answer_memory(std::uint64_t gpa, std::uint8_t access, unsigned length) const {
        const hv_message message = vp_->run();
        ASSERT_EQ(message.header.message_type, HVMSG_UNMAPPED_GPA);
        const auto memory = payload_of<hv_x64_memory_intercept_message>(message);
        EXPECT_EQ(memory.guest_physical_address, gpa);
        EXPECT_EQ(memory.header.intercept_access_type, access);
        ASSERT_GE(memory.instruction_byte_count, length);
        // With this it spares a translation of its own.
        EXPECT_EQ(memory.gva_gpa_valid, 1u);
        EXPECT_EQ(memory.guest_virtual_address, gpa);
        EXPECT_EQ(memory.header.execution_state.interruption_pending, 0u);
        vp_->page().gp_registers[1] = 0x5a; // CL, if it is a load
        vp_->page().rip = memory.header.rip + length;
        vp_->page().dirty |= 1u << HV_X64_REGISTER_CLASS_GENERAL | 1u << HV_X64_REGISTER_CLASS_IP;
    }

    RawMemory memory_{0x90000};
    RawVm vm_{settings(GetParam())};
    std::unique_ptr<RawVp> vp_;
    std::uint32_t reset_rdx_ = 0;
    std::vector<hv_register_assoc> reset_registers_;
    std::vector<std::pair<VpStateKind, std::vector<std::uint8_t>>> reset_states_;
};

INSTANTIATE_TEST_SUITE_P(WithoutX2Apic, OpenVmm, testing::Values(X2Apic::no));
INSTANTIATE_TEST_SUITE_P(WithX2Apic, OpenVmm, testing::Values(X2Apic::supported, X2Apic::on));

TEST_P(OpenVmm, MakesAPartitionAndServesItsDevices) {
    reset_vp();
    start_in_real_mode(CODE(uses_devices));
    EXPECT_EQ(said(), hypervisor_interface);
    const hv_message message = vp_->run();
    ASSERT_EQ(message.header.message_type, HVMSG_X64_IO_PORT_INTERCEPT);
    EXPECT_EQ(payload_of<hv_x64_io_port_intercept_message>(message).port_number, 0x60);
    answer_port(message, 0x21);
    answer_memory(0x90010, HV_INTERCEPT_ACCESS_WRITE, 3);
    answer_memory(0x90020, HV_INTERCEPT_ACCESS_READ, 4);
    EXPECT_EQ(said(), 0x5au);
}

TEST_P(OpenVmm, ResetsWhileTimeStandsStill) {
    reset_vp();
    start_in_real_mode(CODE(uses_devices));
    EXPECT_EQ(said(), hypervisor_interface);
    vm_.set_property(HV_PARTITION_PROPERTY_TIME_FREEZE, 1);
    reset_vm();
    EXPECT_EQ(vm_.property(HV_PARTITION_PROPERTY_REFERENCE_TIME), 0u);
    reset_vp();
    check_reset();
    start_in_real_mode(CODE(uses_devices));
    vm_.set_property(HV_PARTITION_PROPERTY_TIME_FREEZE, 0); // before the first run
    EXPECT_EQ(said(), hypervisor_interface);
}

/// All that it saves of a processor can be read, and set as it was read.
TEST_P(OpenVmm, SavesAndRestoresItsState) {
    reset_vp();
    std::array names{hv::register_name(HV_REGISTER_INTERNAL_ACTIVITY_STATE),
        hv::register_name(HV_REGISTER_PENDING_INTERRUPTION),
        hv::register_name(HV_REGISTER_INTERRUPT_STATE),
        hv::register_name(HV_REGISTER_PENDING_EVENT0), hv::register_name(HV_X64_REGISTER_XSS),
        hv::register_name(HV_X64_REGISTER_XFEM), hv::register_name(HV_REGISTER_TIME_REF_COUNT),
        hv::register_name(HV_REGISTER_GUEST_OS_ID), hv::register_name(HV_X64_REGISTER_HYPERCALL)};
    vp_->get(names);
    for (const VpStateKind kind : {VpStateKind::lapic, VpStateKind::xsave, VpStateKind::simp,
             VpStateKind::siefp, VpStateKind::stimers}) {
        const auto state = vp_->state(kind);
        vp_->set_state(kind, state);
        EXPECT_EQ(vp_->state(kind), state) << static_cast<unsigned>(kind);
    }
}

} // namespace

} // namespace croft::guests
