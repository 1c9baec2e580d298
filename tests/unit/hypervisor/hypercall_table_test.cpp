// SPDX-License-Identifier: Apache-2.0
#include "abi/cpuid.h"
#include "abi/hypercall.h"
#include "abi/status.h"
#include "tests/unit/hypervisor/hypercall_handlers.hpp"

#include <cctype>
#include <gtest/gtest.h>
#include <initializer_list>
#include <map>
#include <set>
#include <string>

namespace hypervisor::hypercall {
namespace {

/// get_vp_registers is HvCallGetVpRegisters.
std::string call_name(std::string_view handler) {
    std::string name = "HvCall";
    bool begins_word = true;
    for (const char c : handler) {
        if (c == '_') {
            begins_word = true;
            continue;
        }
        name += begins_word ? static_cast<char>(std::toupper(c)) : c;
        begins_word = false;
    }
    return name;
}

TEST(HypercallTable, AscendsByCode) {
    unsigned last = 0;
    for (const CallEntry& entry : table()) {
        EXPECT_GT(entry.code, last) << entry.name;
        last = entry.code;
    }
}

TEST(HypercallTable, EachCallHasTheHandlerOfItsName) {
    std::map<Handler, std::string> names;
    for (const NamedHandler& one : handlers()) {
        names[one.handler] = call_name(one.name);
    }
    std::set<Handler> used;
    for (const CallEntry& entry : table()) {
        ASSERT_NE(entry.handler, nullptr);
        EXPECT_EQ(names[entry.handler], entry.name);
        EXPECT_TRUE(used.insert(entry.handler).second) << entry.name;
    }
    EXPECT_EQ(used.size(), names.size()) << "a handler that nobody can call";
}

TEST(HypercallTable, ACallIsEitherSimpleOrRep) {
    for (const CallEntry& entry : table()) {
        SCOPED_TRACE(entry.name);
        EXPECT_TRUE(entry.is_rep || (entry.rep_input_size == 0 && entry.rep_output_size == 0));
        EXPECT_LE(entry.input_size, 4096);
        EXPECT_LE(entry.output_size, 4096);
        EXPECT_EQ(entry.privilege & (entry.privilege - 1), 0u) << "one privilege, or none";
    }
}

/// What is in no chapter of the TLFS that has a counter is under "other".
TEST(HypercallTable, EachCallIsCountedByItsClass) {
    std::map<VpCounter, std::set<int>> expected{
        {VpCounter::gpa_space_hypercalls,
            {HVCALL_MAP_GPA_PAGES, HVCALL_UNMAP_GPA_PAGES, HVCALL_GET_GPA_PAGES_ACCESS_STATES}},
        {VpCounter::logical_processor_hypercalls,
            {HVCALL_GET_LOGICAL_PROCESSOR_RUN_TIME, HVCALL_ADD_LOGICAL_PROCESSOR}},
        {VpCounter::long_spin_wait_hypercalls, {HVCALL_NOTIFY_LONG_SPIN_WAIT}},
        {VpCounter::synthetic_interrupt_hypercalls,
            {HVCALL_POST_MESSAGE, HVCALL_POST_MESSAGE_DIRECT, HVCALL_SIGNAL_EVENT,
                HVCALL_SIGNAL_EVENT_DIRECT, HVCALL_CREATE_PORT, HVCALL_DELETE_PORT,
                HVCALL_CONNECT_PORT, HVCALL_DISCONNECT_PORT, HVCALL_NOTIFY_PORT_RING_EMPTY}},
        {VpCounter::virtual_interrupt_hypercalls,
            {HVCALL_ASSERT_VIRTUAL_INTERRUPT, HVCALL_CLEAR_VIRTUAL_INTERRUPT,
                HVCALL_SEND_SYNTHETIC_CLUSTER_IPI, HVCALL_SEND_SYNTHETIC_CLUSTER_IPI_EX,
                HVCALL_MAP_DEVICE_INTERRUPT, HVCALL_UNMAP_DEVICE_INTERRUPT,
                HVCALL_RETARGET_DEVICE_INTERRUPT}},
        {VpCounter::virtual_mmu_hypercalls,
            {HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE, HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST,
                HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX, HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST_EX,
                HVCALL_TRANSLATE_VIRTUAL_ADDRESS}},
        {VpCounter::virtual_processor_hypercalls,
            {HVCALL_CREATE_VP, HVCALL_DELETE_VP, HVCALL_DISPATCH_VP, HVCALL_GET_VP_REGISTERS,
                HVCALL_SET_VP_REGISTERS, HVCALL_GET_VP_STATE, HVCALL_SET_VP_STATE,
                HVCALL_MAP_VP_STATE_PAGE, HVCALL_UNMAP_VP_STATE_PAGE,
                HVCALL_GET_VP_INDEX_FROM_APIC_ID, HVCALL_GET_VP_CPUID_VALUES}},
        {VpCounter::deposit_hypercalls,
            {HVCALL_DEPOSIT_MEMORY, HVCALL_WITHDRAW_MEMORY, HVCALL_GET_MEMORY_BALANCE}},
    };
    for (const CallEntry& entry : table()) {
        const auto found = expected.find(entry.counter);
        if (found == expected.end()) {
            EXPECT_EQ(entry.counter, VpCounter::other_hypercalls) << entry.name;
        } else {
            EXPECT_EQ(found->second.erase(entry.code), 1u) << entry.name;
        }
    }
    for (const auto& [counter, missing] : expected) {
        EXPECT_TRUE(missing.empty()) << static_cast<int>(counter);
    }
}

/// What stops a virtual processor, or reads or changes one, needs a right that no child is born
/// with: else two of a child could wait for each other in the hypervisor for ever.
TEST(HypercallTable, RegistersAreNotForEveryone) {
    std::map<int, std::uint64_t> privileges;
    for (const CallEntry& entry : table()) {
        privileges[entry.code] = entry.privilege;
    }
    EXPECT_EQ(privileges[HVCALL_GET_VP_REGISTERS], HV_ACCESS_VP_REGISTERS);
    EXPECT_EQ(privileges[HVCALL_SET_VP_REGISTERS], HV_ACCESS_VP_REGISTERS);
    for (const std::uint16_t code : std::initializer_list<std::uint16_t>{
             HVCALL_TRANSLATE_VIRTUAL_ADDRESS, HVCALL_GET_VP_CPUID_VALUES, HVCALL_GET_VP_STATE,
             HVCALL_SET_VP_STATE, HVCALL_DELETE_VP}) {
        EXPECT_EQ(privileges[code], HV_CREATE_PARTITIONS);
    }
}

TEST(HypercallTable, BitsThatMustBeZeroAreInTheFixedInput) {
    std::size_t calls = 0;
    for (const CallEntry& entry : table()) {
        SCOPED_TRACE(entry.name);
        calls += reserved_bits(entry).empty() ? 0u : 1u;
        for (const ReservedBits& bits : reserved_bits(entry)) {
            EXPECT_EQ(bits.code, entry.code);
            EXPECT_EQ(bits.offset % sizeof bits.mask, 0u);
            EXPECT_LE(bits.offset + sizeof bits.mask, entry.input_size);
            EXPECT_NE(bits.mask, 0u);
            EXPECT_TRUE(bits.status == HV_STATUS_INVALID_PARAMETER ||
                bits.status == HV_STATUS_INVALID_PORT_ID ||
                bits.status == HV_STATUS_INVALID_CONNECTION_ID);
        }
    }
    EXPECT_GT(calls, 35u);
}

/// What callers pass: upstream's driver, and VMMs through it. The padding is what the last call
/// has left in the page of input.
TEST(HypercallTable, BitsThatCallersSetNeedNotBeZero) {
    constexpr std::uint64_t padding = 0xffffffffull << 32;
    constexpr std::uint64_t vtl0 = 1ull << 4;
    struct Word {
        std::uint16_t code;
        std::uint8_t offset;
        std::uint64_t value;
    };
    for (const Word& word : {Word{HVCALL_CREATE_PARTITION, 0, 0x482113}, // CH: SMT, nesting, x2APIC
             Word{HVCALL_CREATE_PARTITION, 16, 0xa},
             Word{HVCALL_MAP_GPA_PAGES, 16, padding | 0x800f},
             Word{HVCALL_MAP_GPA_PAGES, 16, padding | 0x10000},
             Word{HVCALL_MAP_GPA_PAGES, 16, padding | 0x200003},
             Word{HVCALL_MAP_GPA_PAGES, 16, padding | 0x8000800f},
             Word{HVCALL_UNMAP_GPA_PAGES, 16, padding | 2},
             Word{HVCALL_CREATE_VP, 8, 0x00ffffffull << 32}, Word{HVCALL_CREATE_VP, 16, ~0ull},
             Word{HVCALL_CREATE_VP, 24, ~0ull}, Word{HVCALL_GET_VP_REGISTERS, 8, vtl0 << 32 | 3},
             Word{HVCALL_UNMAP_VP_STATE_PAGE, 8, vtl0 << 48 | 2ull << 32 | 3},
             Word{HVCALL_ASSERT_VIRTUAL_INTERRUPT, 8, 0x4000000300000006}, // CH: "long mode"
             Word{HVCALL_ASSERT_VIRTUAL_INTERRUPT, 16, 0xffffffff},
             Word{HVCALL_CONNECT_PORT, 56, 0x80000003}, Word{HVCALL_DISCONNECT_PORT, 8, 1ull << 32},
             Word{HVCALL_TRANSLATE_VIRTUAL_ADDRESS, 16, 0xb},
             Word{HVCALL_DISPATCH_VP, 8, 0x41ull << 32},
             Word{HVCALL_GET_VP_CPUID_VALUES, 8, 3ull << 32}, Word{HVCALL_SIGNAL_EVENT, 0, 0x10002},
             Word{HVCALL_POST_MESSAGE, 0, 4}, Word{HVCALL_SEND_SYNTHETIC_CLUSTER_IPI, 0, 0xfd}}) {
        for (const ReservedBits& bits : reserved_bits(*find(word.code))) {
            EXPECT_TRUE(bits.offset != word.offset || (bits.mask & word.value) == 0)
                << std::hex << word.code << ' ' << word.value;
        }
    }
}

TEST(HypercallTable, HasTheSizesThatCallersUse) {
    // As upstream Linux and the TLFS have them; what the banks of a set of processors add is
    // variable.
    struct Sizes {
        unsigned input;
        unsigned rep_input;
        unsigned output;
        unsigned rep_output;
    };
    const std::map<unsigned, Sizes> expected{{HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE, {24, 0, 0, 0}},
        {HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST, {24, 8, 0, 0}},
        {HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX, {32, 0, 0, 0}},
        {HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST_EX, {32, 8, 0, 0}},
        {HVCALL_GET_LOGICAL_PROCESSOR_RUN_TIME, {4, 0, 32, 0}},
        {HVCALL_NOTIFY_LONG_SPIN_WAIT, {8, 0, 0, 0}},
        {HVCALL_SEND_SYNTHETIC_CLUSTER_IPI, {16, 0, 0, 0}},
        {HVCALL_SEND_SYNTHETIC_CLUSTER_IPI_EX, {24, 0, 0, 0}},
        {HVCALL_CREATE_PARTITION, {56, 0, 8, 0}}, {HVCALL_INITIALIZE_PARTITION, {8, 0, 0, 0}},
        {HVCALL_FINALIZE_PARTITION, {8, 0, 0, 0}}, {HVCALL_DELETE_PARTITION, {8, 0, 0, 0}},
        {HVCALL_GET_PARTITION_PROPERTY, {16, 0, 8, 0}},
        {HVCALL_SET_PARTITION_PROPERTY, {24, 0, 0, 0}}, {HVCALL_GET_PARTITION_ID, {0, 0, 8, 0}},
        {HVCALL_DEPOSIT_MEMORY, {8, 8, 0, 0}}, {HVCALL_WITHDRAW_MEMORY, {16, 0, 0, 8}},
        {HVCALL_GET_MEMORY_BALANCE, {16, 0, 16, 0}}, {HVCALL_MAP_GPA_PAGES, {24, 8, 0, 0}},
        {HVCALL_UNMAP_GPA_PAGES, {24, 0, 0, 0}}, {HVCALL_INSTALL_INTERCEPT, {24, 0, 0, 0}},
        {HVCALL_REGISTER_INTERCEPT_RESULT, {60, 0, 0, 0}},
        {HVCALL_UNREGISTER_INTERCEPT_RESULT, {28, 0, 0, 0}},
        {HVCALL_RETARGET_DEVICE_INTERRUPT, {56, 0, 0, 0}}, {HVCALL_CREATE_VP, {40, 0, 0, 0}},
        {HVCALL_DELETE_VP, {16, 0, 0, 0}}, {HVCALL_GET_VP_REGISTERS, {16, 4, 0, 16}},
        {HVCALL_SET_VP_REGISTERS, {16, 32, 0, 0}},
        {HVCALL_TRANSLATE_VIRTUAL_ADDRESS, {32, 0, 16, 0}},
        {HVCALL_CLEAR_VIRTUAL_INTERRUPT, {8, 0, 0, 0}}, {HVCALL_DELETE_PORT, {16, 0, 0, 0}},
        {HVCALL_DISCONNECT_PORT, {16, 0, 0, 0}}, {HVCALL_SIGNAL_EVENT, {8, 0, 0, 0}},
        {HVCALL_MAP_STATS_PAGE, {24, 0, 8, 0}}, {HVCALL_UNMAP_STATS_PAGE, {24, 0, 0, 0}},
        {HVCALL_SET_SYSTEM_PROPERTY, {72, 0, 0, 0}}, {HVCALL_ADD_LOGICAL_PROCESSOR, {16, 0, 56, 0}},
        {HVCALL_GET_SYSTEM_PROPERTY, {16, 0, 8, 0}}, {HVCALL_MAP_DEVICE_INTERRUPT, {72, 0, 56, 0}},
        {HVCALL_UNMAP_DEVICE_INTERRUPT, {36, 0, 0, 0}}, {HVCALL_ENTER_SLEEP_STATE, {4, 0, 0, 0}},
        {HVCALL_NOTIFY_PARTITION_EVENT, {8, 0, 0, 0}},
        {HVCALL_NOTIFY_PORT_RING_EMPTY, {8, 0, 0, 0}},
        {HVCALL_ASSERT_VIRTUAL_INTERRUPT, {32, 0, 0, 0}}, {HVCALL_CREATE_PORT, {56, 0, 0, 0}},
        {HVCALL_CONNECT_PORT, {72, 0, 0, 0}}, {HVCALL_GET_VP_INDEX_FROM_APIC_ID, {16, 4, 0, 4}},
        {HVCALL_SIGNAL_EVENT_DIRECT, {16, 0, 8, 0}}, {HVCALL_DISPATCH_VP, {32, 0, 8, 0}},
        {HVCALL_GET_GPA_PAGES_ACCESS_STATES, {24, 0, 0, 1}},
        {HVCALL_MAP_VP_STATE_PAGE, {24, 0, 8, 0}}, {HVCALL_UNMAP_VP_STATE_PAGE, {16, 0, 0, 0}},
        {HVCALL_GET_VP_STATE, {40, 0, 200, 0}}, {HVCALL_SET_VP_STATE, {40, 0, 0, 0}},
        {HVCALL_GET_VP_CPUID_VALUES, {24, 24, 0, 16}},
        {HVCALL_GET_PARTITION_PROPERTY_EX, {24, 0, 4072, 0}}};
    std::size_t found = 0;
    for (const CallEntry& entry : table()) {
        const auto at = expected.find(entry.code);
        if (at == expected.end()) {
            continue;
        }
        ++found;
        SCOPED_TRACE(entry.name);
        EXPECT_EQ(entry.input_size, at->second.input);
        EXPECT_EQ(entry.rep_input_size, at->second.rep_input);
        EXPECT_EQ(entry.output_size, at->second.output);
        EXPECT_EQ(entry.rep_output_size, at->second.rep_output);
        const bool is_rep = at->second.rep_input + at->second.rep_output != 0 ||
            entry.code == HVCALL_UNMAP_GPA_PAGES;
        EXPECT_EQ(entry.is_rep, is_rep);
    }
    EXPECT_EQ(found, expected.size()) << "a call that upstream makes is not there";
}

} // namespace
} // namespace hypervisor::hypercall
