// SPDX-License-Identifier: Apache-2.0
// Guests that are granted less than everything: what CPUID tells them is what they may do.
#include "abi/cpuid.h"
#include "abi/msr.h"
#include "tests/guests/guest_code.hpp"
#include "tests/guests/guest_machine.hpp"

#include <array>
#include <cstdint>
#include <gtest/gtest.h>
#include <vector>

GUEST(asks_cpuid)
GUEST(hypercall)
GUEST(touches_msr)

namespace croft::guests {

namespace {

enum Register : std::size_t { eax, ebx, ecx, edx };
using Leaf = std::array<std::uint32_t, 4>;

constexpr std::size_t small = 1u << 20;
constexpr std::uint32_t hypervisor_present = 1u << 31;

Leaf cpuid(std::uint64_t interface, std::uint32_t leaf) {
    GuestMachine machine{small, 1, interface};
    machine.load(CODE(asks_cpuid));
    machine.start_in_protected_mode();
    machine.set(HV_X64_REGISTER_RDI, leaf);
    Leaf said{};
    for (std::uint32_t& one : said) {
        const auto told = machine.report();
        EXPECT_TRUE(told.has_value());
        one = told.value_or(0);
    }
    return said;
}

/// Whether an access to an MSR is none that faults: the guest has no handlers.
/// \param value to write, or 0 to read.
bool can_touch(std::uint64_t interface, std::uint32_t msr, std::uint64_t value) {
    GuestMachine machine{small, 1, interface};
    machine.load(CODE(touches_msr));
    machine.start_in_protected_mode();
    machine.set(HV_X64_REGISTER_RDI, msr);
    machine.set(HV_X64_REGISTER_RSI, value);
    const bool touched = machine.report() == 1u;
    EXPECT_EQ(machine.message().header.message_type,
        touched ? std::uint32_t{HVMSG_X64_IO_PORT_INTERCEPT}
                : std::uint32_t{HVMSG_UNRECOVERABLE_EXCEPTION});
    return touched;
}

/// A bit of CPUID, what it follows, and an access that is possible only with that.
struct Offer {
    const char* name;
    std::uint64_t feature;
    std::uint32_t leaf;
    Register where;
    std::uint32_t bit;
    std::uint32_t msr = 0;
    std::uint64_t value = 0;
};
constexpr std::uint32_t recommended = HV_CPUID_ENLIGHTENMENT_INFO;
constexpr std::uint64_t direct_timer = 0x43u << 4 | 1u << 12;
constexpr Offer offers[] = {
    {"APIC registers", HV_SYNTHETIC_ACCESS_INTR_CTRL_REGS, recommended, eax, HV_RECOMMEND_APIC_MSRS,
        HV_X64_MSR_EOI, 1},
    {"interrupt commands", HV_SYNTHETIC_ACCESS_INTR_CTRL_REGS, HV_CPUID_FEATURES, eax,
        HV_ACCESS_INTR_CTRL_REGS, HV_X64_MSR_TPR},
    {"frequencies", HV_SYNTHETIC_ACCESS_FREQUENCY_REGS, HV_CPUID_FEATURES, edx,
        HV_FEATURE_FREQUENCY_REGS, HV_X64_MSR_TSC_FREQUENCY},
    {"direct timers", HV_SYNTHETIC_DIRECT_SYNTHETIC_TIMERS, HV_CPUID_FEATURES, edx,
        HV_FEATURE_DIRECT_SYNTHETIC_TIMERS, HV_X64_MSR_STIMER0_CONFIG, direct_timer},
    {"direct timers without timers", HV_SYNTHETIC_ACCESS_SYNTHETIC_TIMER_REGS, HV_CPUID_FEATURES,
        edx, HV_FEATURE_DIRECT_SYNTHETIC_TIMERS, HV_X64_MSR_STIMER0_CONFIG},
    {"the SynIC", HV_SYNTHETIC_ACCESS_SYNIC_REGS, HV_CPUID_FEATURES, eax, HV_ACCESS_SYNIC_REGS,
        HV_X64_MSR_SCONTROL},
    {"the hypercall page", HV_SYNTHETIC_ACCESS_HYPERCALL_REGS, HV_CPUID_FEATURES, edx,
        HV_FEATURE_HYPERCALL_MSR_LOCK, HV_X64_MSR_HYPERCALL},
    {"its index", HV_SYNTHETIC_ACCESS_VP_INDEX, HV_CPUID_FEATURES, eax, HV_ACCESS_VP_INDEX,
        HV_X64_MSR_VP_INDEX},
    {"the reference counter", HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_COUNTER, HV_CPUID_FEATURES,
        eax, HV_ACCESS_PARTITION_REFERENCE_COUNTER, HV_X64_MSR_TIME_REF_COUNT},
    {"the page of time", HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_TSC, HV_CPUID_FEATURES, eax,
        HV_ACCESS_PARTITION_REFERENCE_TSC, HV_X64_MSR_REFERENCE_TSC},
    {"its run time", HV_SYNTHETIC_ACCESS_VP_RUN_TIME_REG, HV_CPUID_FEATURES, eax,
        HV_ACCESS_VP_RUN_TIME_REG, HV_X64_MSR_VP_RUNTIME},
    {"flushes", HV_SYNTHETIC_TB_FLUSH_HYPERCALLS, recommended, eax,
        HV_RECOMMEND_HYPERCALL_REMOTE_FLUSH},
    {"flushes without hypercalls", HV_SYNTHETIC_ACCESS_HYPERCALL_REGS, recommended, eax,
        HV_RECOMMEND_HYPERCALL_REMOTE_FLUSH},
    {"extended ranges", HV_SYNTHETIC_TB_FLUSH_HYPERCALLS, HV_CPUID_FEATURES, edx,
        HV_FEATURE_EXTENDED_GVA_RANGES},
    {"interrupts of many", HV_SYNTHETIC_CLUSTER_IPI, recommended, eax,
        HV_RECOMMEND_SYNTHETIC_CLUSTER_IPI},
    {"sets of processors", HV_SYNTHETIC_EXTENDED_PROCESSOR_MASKS, recommended, eax,
        HV_RECOMMEND_EX_PROCESSOR_MASKS},
    {"that there is a hypervisor", HV_SYNTHETIC_HYPERVISOR_PRESENT, 1, ecx, hypervisor_present},
    {"the interface", HV_SYNTHETIC_HV1, HV_CPUID_INTERFACE, eax, HV_CPUID_INTERFACE_SIGNATURE},
};

TEST(Privileges, CpuidOffersWhatWorks) {
    for (const Offer& offer : offers) {
        SCOPED_TRACE(offer.name);
        for (const bool granted : {true, false}) {
            const std::uint64_t interface =
                GuestMachine::whole_interface & ~(granted ? 0 : offer.feature);
            EXPECT_EQ((cpuid(interface, offer.leaf).at(offer.where) & offer.bit) != 0, granted);
            if (offer.msr != 0) {
                EXPECT_EQ(can_touch(interface, offer.msr, offer.value), granted);
            }
        }
    }
}

TEST(Privileges, WithoutAnInterfaceThereAreNoLeaves) {
    for (const std::uint64_t missing : {HV_SYNTHETIC_HYPERVISOR_PRESENT, HV_SYNTHETIC_HV1}) {
        for (std::uint32_t leaf = HV_CPUID_VENDOR_AND_MAX_FUNCTION;
             leaf <= HV_CPUID_CPU_MANAGEMENT_FEATURES; ++leaf) {
            EXPECT_EQ(cpuid(GuestMachine::whole_interface & ~missing, leaf), Leaf{}) << leaf;
        }
    }
}

TEST(Privileges, CallsAreRefusedToThoseWhoHaveNone) {
    struct Case {
        std::uint16_t code;
        std::uint64_t feature;
    };
    for (const Case& one : {Case{HVCALL_POST_MESSAGE, HV_SYNTHETIC_ACCESS_SYNIC_REGS},
             Case{HVCALL_SIGNAL_EVENT, HV_SYNTHETIC_SIGNAL_EVENTS},
             Case{HVCALL_GET_PARTITION_ID, 0}}) {
        GuestMachine machine{small, 1, GuestMachine::whole_interface & ~one.feature};
        machine.load(CODE(hypercall));
        machine.start_in_long_mode();
        machine.set(HV_X64_REGISTER_RBX, one.code);
        machine.set(HV_X64_REGISTER_RDI, GuestMachine::data_gpa);
        machine.set(HV_X64_REGISTER_RSI, GuestMachine::data_gpa + 0x1000);
        EXPECT_EQ(machine.report(), HV_STATUS_ACCESS_DENIED) << one.code;
    }
}

TEST(Privileges, ThePropertyTellsWhatIsThere) {
    constexpr std::uint64_t unknown = 1ull << 63;
    const auto hypervisor = hv::open_hypervisor();
    const auto partition = hypervisor->create_partition(hv::PartitionSettings{});
    constexpr auto property = HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES;
    EXPECT_EQ(partition->property(property),
        GuestMachine::whole_interface & ~HV_SYNTHETIC_ACCESS_GUEST_IDLE_REG);
    partition->set_property(property, unknown | HV_SYNTHETIC_HYPERVISOR_PRESENT);
    EXPECT_EQ(partition->property(property), HV_SYNTHETIC_HYPERVISOR_PRESENT);
}

} // namespace

} // namespace croft::guests
