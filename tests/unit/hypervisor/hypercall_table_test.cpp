// SPDX-License-Identifier: Apache-2.0
#include "abi/cpuid.h"
#include "abi/hypercall.h"
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
        {HVCALL_SIGNAL_EVENT_DIRECT, {16, 0, 8, 0}},
        {HVCALL_GET_GPA_PAGES_ACCESS_STATES, {24, 0, 0, 1}},
        {HVCALL_MAP_VP_STATE_PAGE, {24, 0, 8, 0}}, {HVCALL_UNMAP_VP_STATE_PAGE, {16, 0, 0, 0}},
        {HVCALL_GET_VP_STATE, {40, 0, 200, 0}}, {HVCALL_SET_VP_STATE, {40, 0, 0, 0}},
        {HVCALL_GET_VP_CPUID_VALUES, {24, 24, 0, 16}},
        {HVCALL_GET_PARTITION_PROPERTY_EX, {24, 0, 16, 0}}};
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
