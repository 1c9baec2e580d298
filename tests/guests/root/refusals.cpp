// SPDX-License-Identifier: Apache-2.0
// What is well formed and yet can't be done: partitions, processors, ports and properties that are
// not there, and calls that come too early, too late or twice. Each is refused with the status that
// the specification names (the TLFS 2.0a lists them call by call, later ones don't) and has changed
// nothing: neither what pools hold, nor properties, nor registers.
#include "abi/interrupt.h"
#include "abi/port.h"
#include "abi/register.h"
#include "abi/synic.h"
#include "abi/system.h"
#include "hypervisor/hypercall/table.hpp"
#include "tests/guests/root/root.hpp"

#include <initializer_list>

namespace root {

namespace {

using hypervisor::CallEntry;

/// Whom a call is about.
enum class Whom : std::uint8_t {
    nobody,
    self,
    created,     ///< a child that isn't initialized yet; it has deposits
    initialized, ///< one with a virtual processor
    finalized,   ///< one whose deposits are still there
    any,         ///< the call is about no partition, or the row says itself about which
};
constexpr unsigned partitions = 5;
constexpr std::uint64_t no_partition = 0x7777;
constexpr std::uint32_t no_vp = 5;

/// Some bytes of the input.
struct Field {
    std::uint8_t offset;
    std::uint8_t size;
    std::uint64_t value;
};

/// A call, of one rep if it has reps: the id of a partition, zeros, and a few fields.
struct Refusal {
    const char* what;
    std::uint16_t code;
    Whom whom;
    std::uint16_t status;
    Field fields[5] = {};
    std::uint64_t variable_header = 0; ///< bytes
};

constexpr std::uint64_t sparse_set = HV_GENERIC_SET_SPARSE_4K;
constexpr std::uint64_t to_set = HV_DEVICE_INTERRUPT_TARGET_PROCESSOR_SET;
constexpr std::uint64_t pfn = HV_VP_STATE_TYPE_PFN;
constexpr std::uint64_t doorbell = HV_PORT_TYPE_DOORBELL;

using enum Whom;
constexpr Refusal refusals[] = {
    // Too early, too late, twice.
    {"twice", HVCALL_INITIALIZE_PARTITION, initialized, HV_STATUS_INVALID_PARTITION_STATE},
    {"too late", HVCALL_INITIALIZE_PARTITION, finalized, HV_STATUS_INVALID_PARTITION_STATE},
    {"too early", HVCALL_FINALIZE_PARTITION, created, HV_STATUS_INVALID_PARTITION_STATE},
    {"twice", HVCALL_FINALIZE_PARTITION, finalized, HV_STATUS_INVALID_PARTITION_STATE},
    {"too early", HVCALL_DELETE_PARTITION, initialized, HV_STATUS_INVALID_PARTITION_STATE},
    {"deposits left", HVCALL_DELETE_PARTITION, created, HV_STATUS_OPERATION_DENIED},
    {"deposits left", HVCALL_DELETE_PARTITION, finalized, HV_STATUS_OPERATION_DENIED},
    {"too late", HVCALL_DEPOSIT_MEMORY, finalized, HV_STATUS_INVALID_PARTITION_STATE},
    {"too early", HVCALL_CREATE_VP, created, HV_STATUS_INVALID_PARTITION_STATE},
    {"too late", HVCALL_CREATE_VP, finalized, HV_STATUS_INVALID_PARTITION_STATE},
    {"twice", HVCALL_CREATE_VP, initialized, HV_STATUS_INVALID_VP_INDEX},
    {"twice", HVCALL_CREATE_VP, self, HV_STATUS_INVALID_VP_INDEX},
    {"an index beyond the last", HVCALL_CREATE_VP, initialized, HV_STATUS_INVALID_VP_INDEX,
        {{8, 4, 512}}},
    {"flags", HVCALL_CREATE_VP, initialized, HV_STATUS_INVALID_PARAMETER, {{8, 4, 1}, {32, 8, 1}}},
    {"no such processor of the machine", HVCALL_CREATE_VP, self, HV_STATUS_INVALID_LP_INDEX,
        {{8, 4, 1}, {32, 8, 1}}},
    {"too early", HVCALL_MAP_GPA_PAGES, created, HV_STATUS_INVALID_PARTITION_STATE},
    {"too late", HVCALL_MAP_GPA_PAGES, finalized, HV_STATUS_INVALID_PARTITION_STATE},
    {"too early", HVCALL_UNMAP_GPA_PAGES, created, HV_STATUS_INVALID_PARTITION_STATE},
    {"too late", HVCALL_UNMAP_GPA_PAGES, finalized, HV_STATUS_INVALID_PARTITION_STATE},
    {"too early", HVCALL_GET_GPA_PAGES_ACCESS_STATES, created, HV_STATUS_INVALID_PARTITION_STATE},
    {"too late", HVCALL_GET_GPA_PAGES_ACCESS_STATES, finalized, HV_STATUS_INVALID_PARTITION_STATE},
    {"too early", HVCALL_INSTALL_INTERCEPT, created, HV_STATUS_INVALID_PARTITION_STATE,
        {{8, 4, 1}}},
    {"too late", HVCALL_INSTALL_INTERCEPT, finalized, HV_STATUS_INVALID_PARTITION_STATE,
        {{8, 4, 1}}},
    {"too early", HVCALL_REGISTER_INTERCEPT_RESULT, created, HV_STATUS_INVALID_PARTITION_STATE,
        {{8, 4, HV_ANY_VP}, {12, 4, HV_INTERCEPT_TYPE_X64_CPUID}}},
    {"too late", HVCALL_REGISTER_INTERCEPT_RESULT, finalized, HV_STATUS_INVALID_PARTITION_STATE,
        {{8, 4, HV_ANY_VP}, {12, 4, HV_INTERCEPT_TYPE_X64_CPUID}}},
    {"too early", HVCALL_UNREGISTER_INTERCEPT_RESULT, created, HV_STATUS_INVALID_PARTITION_STATE,
        {{8, 4, HV_ANY_VP}, {12, 4, HV_INTERCEPT_TYPE_X64_CPUID}}},
    {"too late", HVCALL_UNREGISTER_INTERCEPT_RESULT, finalized, HV_STATUS_INVALID_PARTITION_STATE,
        {{8, 4, HV_ANY_VP}, {12, 4, HV_INTERCEPT_TYPE_X64_CPUID}}},
    {"too early", HVCALL_ASSERT_VIRTUAL_INTERRUPT, created, HV_STATUS_INVALID_PARTITION_STATE},
    {"too late", HVCALL_ASSERT_VIRTUAL_INTERRUPT, finalized, HV_STATUS_INVALID_PARTITION_STATE},
    {"too early", HVCALL_CLEAR_VIRTUAL_INTERRUPT, created, HV_STATUS_INVALID_PARTITION_STATE},
    {"too late", HVCALL_CLEAR_VIRTUAL_INTERRUPT, finalized, HV_STATUS_INVALID_PARTITION_STATE},
    {"features too late", HVCALL_SET_PARTITION_PROPERTY, initialized,
        HV_STATUS_INVALID_PARTITION_STATE, {{8, 4, HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES}}},
    {"features too late", HVCALL_SET_PARTITION_PROPERTY, finalized,
        HV_STATUS_INVALID_PARTITION_STATE, {{8, 4, HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES}}},
    {"privileges too late", HVCALL_SET_PARTITION_PROPERTY, initialized,
        HV_STATUS_INVALID_PARTITION_STATE, {{8, 4, HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS}}},
    {"tracking too early", HVCALL_SET_PARTITION_PROPERTY, created,
        HV_STATUS_INVALID_PARTITION_STATE,
        {{8, 4, HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING}, {16, 8, 1}}},
    {"tracking too late", HVCALL_SET_PARTITION_PROPERTY, finalized,
        HV_STATUS_INVALID_PARTITION_STATE,
        {{8, 4, HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING}, {16, 8, 1}}},
    {"a page mapped twice", HVCALL_MAP_VP_STATE_PAGE, initialized, HV_STATUS_INVALID_VP_STATE,
        {{12, 2, HV_VP_STATE_PAGE_INTERCEPT_MESSAGE}}},
    {"a page that isn't mapped", HVCALL_UNMAP_VP_STATE_PAGE, initialized,
        HV_STATUS_INVALID_PARAMETER, {{12, 2, HV_VP_STATE_PAGE_REGISTERS}}},
    {"registers of its own", HVCALL_SET_VP_REGISTERS, self, HV_STATUS_INVALID_VP_STATE,
        {{8, 4, HV_VP_INDEX_SELF}, {16, 4, HV_X64_REGISTER_RAX}}},

    // Values that are none.
    {"a privilege that isn't its parent's to give", HVCALL_SET_PARTITION_PROPERTY, created,
        HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE,
        {{8, 4, HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS}, {20, 4, 1}}},
    {"an action that is none", HVCALL_SET_PARTITION_PROPERTY, initialized,
        HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE,
        {{8, 4, HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION}, {16, 8, 2}}},
    {"time that stands twice", HVCALL_SET_PARTITION_PROPERTY, initialized,
        HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE,
        {{8, 4, HV_PARTITION_PROPERTY_TIME_FREEZE}, {16, 8, 2}}},
    {"no processors in a socket", HVCALL_SET_PARTITION_PROPERTY, initialized,
        HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE,
        {{8, 4, HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET}}},
    {"a weight of nothing", HVCALL_SET_PARTITION_PROPERTY, initialized,
        HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, {{8, 4, HV_PARTITION_PROPERTY_CPU_WEIGHT}}},
    {"a cap above all", HVCALL_SET_PARTITION_PROPERTY, initialized,
        HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE,
        {{8, 4, HV_PARTITION_PROPERTY_CPU_CAP}, {16, 8, HV_PARTITION_CPU_FRACTION_MAX + 1}}},
    {"a reserve above what there is", HVCALL_SET_PARTITION_PROPERTY, initialized,
        HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE,
        {{8, 4, HV_PARTITION_PROPERTY_CPU_RESERVE}, {16, 8, HV_PARTITION_CPU_FRACTION_MAX}}},
    {"no property", HVCALL_SET_PARTITION_PROPERTY, initialized, HV_STATUS_UNKNOWN_PROPERTY,
        {{8, 4, 0xdead}}},
    {"a property that is only read", HVCALL_SET_PARTITION_PROPERTY, initialized,
        HV_STATUS_UNKNOWN_PROPERTY, {{8, 4, HV_PARTITION_PROPERTY_PROCESSOR_VENDOR}}},
    {"no property", HVCALL_GET_PARTITION_PROPERTY, initialized, HV_STATUS_UNKNOWN_PROPERTY,
        {{8, 4, 0xdead}}},
    {"no property", HVCALL_GET_PARTITION_PROPERTY_EX, self, HV_STATUS_UNKNOWN_PROPERTY,
        {{8, 4, HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS}}},
    {"a page of the hypervisor's", HVCALL_DEPOSIT_MEMORY, initialized, HV_STATUS_OPERATION_DENIED,
        {{8, 8, 0x100}}},
    {"a page of the hypervisor's", HVCALL_MAP_GPA_PAGES, initialized, HV_STATUS_OPERATION_DENIED,
        {{16, 4, HV_MAP_GPA_READABLE}, {24, 8, 0x100}}},
    {"pages beyond the end", HVCALL_MAP_GPA_PAGES, initialized, HV_STATUS_INVALID_PARAMETER,
        {{8, 8, 1ull << 36}}},
    {"pages beyond the end", HVCALL_UNMAP_GPA_PAGES, initialized, HV_STATUS_INVALID_PARAMETER,
        {{8, 8, 1ull << 36}}},
    {"pages beyond the end", HVCALL_GET_GPA_PAGES_ACCESS_STATES, initialized,
        HV_STATUS_INVALID_PARAMETER, {{16, 8, 1ull << 36}}},
    {"half of a large page", HVCALL_MAP_GPA_PAGES, initialized, HV_STATUS_INVALID_ALIGNMENT,
        {{8, 8, 256}, {16, 4, HV_MAP_GPA_LARGE_PAGE}}},
    {"half of a large page", HVCALL_UNMAP_GPA_PAGES, initialized, HV_STATUS_INVALID_ALIGNMENT,
        {{8, 8, 256}, {16, 4, HV_UNMAP_GPA_LARGE_PAGE}}},
    {"no register", HVCALL_GET_VP_REGISTERS, initialized, HV_STATUS_INVALID_PARAMETER,
        {{16, 4, 0xffff0000}}},
    {"no register", HVCALL_SET_VP_REGISTERS, initialized, HV_STATUS_INVALID_PARAMETER,
        {{16, 4, 0xffff0000}}},
    {"no value of the register", HVCALL_SET_VP_REGISTERS, initialized,
        HV_STATUS_INVALID_REGISTER_VALUE, {{16, 4, HV_X64_REGISTER_CR0}, {36, 4, 1}}},
    {"no kind of state", HVCALL_GET_VP_STATE, initialized, HV_STATUS_INVALID_PARAMETER,
        {{16, 4, 9}}},
    {"no kind of state", HVCALL_SET_VP_STATE, initialized, HV_STATUS_INVALID_PARAMETER,
        {{16, 4, 9}}},
    {"state without pages", HVCALL_GET_VP_STATE, initialized, HV_STATUS_INVALID_PARAMETER,
        {{16, 4, pfn | HV_VP_STATE_LAPIC}}},
    {"state in pages that aren't there", HVCALL_SET_VP_STATE, initialized,
        HV_STATUS_INVALID_PARAMETER, {{16, 4, pfn | HV_VP_STATE_LAPIC}, {40, 8, 1ull << 35}}, 8},
    {"timers without a state", HVCALL_SET_VP_STATE, initialized, HV_STATUS_INVALID_PARAMETER,
        {{16, 4, HV_VP_STATE_SYNTHETIC_TIMERS}}},
    {"no kind of page", HVCALL_MAP_VP_STATE_PAGE, initialized, HV_STATUS_INVALID_PARAMETER,
        {{12, 2, HV_VP_STATE_PAGE_GHCB}}},
    {"no kind of page", HVCALL_UNMAP_VP_STATE_PAGE, initialized, HV_STATUS_INVALID_PARAMETER,
        {{12, 2, HV_VP_STATE_PAGE_GHCB}}},
    {"an APIC id that nobody has", HVCALL_GET_VP_INDEX_FROM_APIC_ID, initialized,
        HV_STATUS_INVALID_PARAMETER, {{16, 4, 77}}},
    {"no kind of interrupt", HVCALL_ASSERT_VIRTUAL_INTERRUPT, initialized,
        HV_STATUS_INVALID_PARAMETER, {{8, 4, HV_X64_INTERRUPT_TYPE_EXTINT + 1}}},
    {"no kind of intercept", HVCALL_INSTALL_INTERCEPT, initialized, HV_STATUS_INVALID_PARAMETER,
        {{8, 4, HV_INTERCEPT_ACCESS_MASK_EXECUTE}, {12, 4, HV_INTERCEPT_TYPE_MMIO}}},
    {"no access", HVCALL_INSTALL_INTERCEPT, initialized, HV_STATUS_INVALID_PARAMETER,
        {{8, 4, 8}, {12, 4, HV_INTERCEPT_TYPE_EXCEPTION}}},
    {"an exception that is none", HVCALL_INSTALL_INTERCEPT, initialized,
        HV_STATUS_INVALID_PARAMETER,
        {{8, 4, HV_INTERCEPT_ACCESS_MASK_EXECUTE}, {12, 4, HV_INTERCEPT_TYPE_EXCEPTION},
            {16, 8, 32}}},
    {"no kind of intercept", HVCALL_REGISTER_INTERCEPT_RESULT, initialized,
        HV_STATUS_INVALID_PARAMETER, {{8, 4, HV_ANY_VP}, {12, 4, HV_INTERCEPT_TYPE_EXCEPTION}}},
    {"no action", HVCALL_REGISTER_INTERCEPT_RESULT, initialized, HV_STATUS_INVALID_PARAMETER,
        {{8, 4, HV_ANY_VP}, {12, 4, HV_INTERCEPT_TYPE_X64_MSR}, {20, 4, 1}, {24, 4, 2}}},
    {"no kind of intercept", HVCALL_UNREGISTER_INTERCEPT_RESULT, initialized,
        HV_STATUS_INVALID_PARAMETER, {{8, 4, HV_ANY_VP}, {12, 4, HV_INTERCEPT_TYPE_EXCEPTION}}},
    {"an answer that nobody gave", HVCALL_UNREGISTER_INTERCEPT_RESULT, initialized,
        HV_STATUS_NOT_FOUND, {{8, 4, HV_ANY_VP}, {12, 4, HV_INTERCEPT_TYPE_X64_CPUID}}},
    {"an action that nobody gave", HVCALL_UNREGISTER_INTERCEPT_RESULT, initialized,
        HV_STATUS_NOT_FOUND,
        {{8, 4, HV_ANY_VP}, {12, 4, HV_INTERCEPT_TYPE_X64_MSR}, {16, 4, 0x123}, {20, 4, 1}}},
    {"no such SINT", HVCALL_SIGNAL_EVENT_DIRECT, initialized, HV_STATUS_INVALID_PARAMETER,
        {{13, 1, HV_SYNIC_SINT_COUNT}}},
    {"no such flag", HVCALL_SIGNAL_EVENT_DIRECT, initialized, HV_STATUS_INVALID_PARAMETER,
        {{14, 2, HV_EVENT_FLAGS_COUNT}}},
    {"no such SINT", HVCALL_POST_MESSAGE_DIRECT, initialized, HV_STATUS_INVALID_PARAMETER,
        {{16, 4, HV_SYNIC_SINT_COUNT}}},
    {"the machine's own scheduler", HVCALL_DISPATCH_VP, initialized, HV_STATUS_OPERATION_DENIED},

    // Ports and connections; the one port there is has number 3, the one connection 4.
    {"a child's port", HVCALL_CREATE_PORT, initialized, HV_STATUS_INVALID_PARTITION_ID,
        {{8, 4, 5}, {24, 4, doorbell}}},
    {"for nobody", HVCALL_CREATE_PORT, self, HV_STATUS_INVALID_PARTITION_ID,
        {{8, 4, 5}, {16, 8, no_partition}, {24, 4, doorbell}}},
    {"for itself", HVCALL_CREATE_PORT, self, HV_STATUS_INVALID_PARTITION_ID,
        {{8, 4, 5}, {16, 8, HV_PARTITION_ID_SELF}, {24, 4, doorbell}}},
    {"not created", HVCALL_DELETE_PORT, self, HV_STATUS_INVALID_PORT_ID, {{8, 4, 5}}},
    {"not created", HVCALL_DELETE_PORT, initialized, HV_STATUS_INVALID_PORT_ID, {{8, 4, 3}}},
    {"nobody's", HVCALL_CONNECT_PORT, nobody, HV_STATUS_INVALID_PARTITION_ID,
        {{8, 4, 5}, {16, 8, HV_PARTITION_ID_SELF}, {24, 4, 3}, {32, 4, doorbell}}},
    {"not created", HVCALL_CONNECT_PORT, initialized, HV_STATUS_INVALID_PORT_ID,
        {{8, 4, 5}, {16, 8, HV_PARTITION_ID_SELF}, {24, 4, 5}, {32, 4, doorbell}}},
    {"another's", HVCALL_CONNECT_PORT, created, HV_STATUS_INVALID_PORT_ID,
        {{8, 4, 5}, {16, 8, HV_PARTITION_ID_SELF}, {24, 4, 3}, {32, 4, doorbell}}},
    {"twice", HVCALL_CONNECT_PORT, initialized, HV_STATUS_INVALID_CONNECTION_ID,
        {{8, 4, 4}, {16, 8, HV_PARTITION_ID_SELF}, {24, 4, 3}, {32, 4, doorbell}}},
    {"no doorbell", HVCALL_CONNECT_PORT, initialized, HV_STATUS_INVALID_PARAMETER,
        {{8, 4, 5}, {16, 8, HV_PARTITION_ID_SELF}, {24, 4, 3}, {32, 4, HV_PORT_TYPE_EVENT}}},
    {"a size that is none", HVCALL_CONNECT_PORT, initialized, HV_STATUS_INVALID_PARAMETER,
        {{8, 4, 5}, {16, 8, HV_PARTITION_ID_SELF}, {24, 4, 3}, {32, 4, doorbell}, {56, 8, 5}}},
    {"not connected", HVCALL_DISCONNECT_PORT, initialized, HV_STATUS_INVALID_CONNECTION_ID,
        {{8, 4, 5}}},
    {"no connection", HVCALL_SIGNAL_EVENT, any, HV_STATUS_INVALID_CONNECTION_ID, {{0, 4, 5}}},
    {"no connection", HVCALL_POST_MESSAGE, any, HV_STATUS_INVALID_CONNECTION_ID, {{0, 4, 5}}},
    {"no such SINT", HVCALL_NOTIFY_PORT_RING_EMPTY, any, HV_STATUS_INVALID_PARAMETER,
        {{0, 4, HV_SYNIC_SINT_COUNT}}},

    // The machine.
    {"no such processor", HVCALL_GET_LOGICAL_PROCESSOR_RUN_TIME, any, HV_STATUS_INVALID_LP_INDEX,
        {{0, 4, 64}}},
    {"no such processor", HVCALL_ADD_LOGICAL_PROCESSOR, any, HV_STATUS_INVALID_LP_INDEX,
        {{0, 4, 64}}},
    {"another processor's APIC", HVCALL_ADD_LOGICAL_PROCESSOR, any, HV_STATUS_INVALID_LP_INDEX,
        {{4, 4, 99}}},
    {"no event", HVCALL_NOTIFY_PARTITION_EVENT, any, HV_STATUS_INVALID_PARAMETER, {{0, 4, 3}}},
    {"no property", HVCALL_GET_SYSTEM_PROPERTY, any, HV_STATUS_UNKNOWN_PROPERTY, {{0, 4, 99}}},
    {"no property", HVCALL_SET_SYSTEM_PROPERTY, any, HV_STATUS_UNKNOWN_PROPERTY, {{0, 4, 99}}},
    {"a property that is only read", HVCALL_SET_SYSTEM_PROPERTY, any, HV_STATUS_UNKNOWN_PROPERTY,
        {{0, 4, HV_SYSTEM_PROPERTY_SCHEDULER_TYPE}}},
    {"a vector that is none", HVCALL_MAP_DEVICE_INTERRUPT, self, HV_STATUS_INVALID_PARAMETER,
        {{48, 4, 1}, {56, 4, 15}, {60, 4, to_set}, {64, 8, sparse_set}}, 16},
    {"no processor", HVCALL_MAP_DEVICE_INTERRUPT, self, HV_STATUS_INVALID_VP_INDEX,
        {{48, 4, 1}, {56, 4, 0x40}, {60, 4, to_set}, {64, 8, sparse_set}}, 8},
    {"a child's", HVCALL_MAP_DEVICE_INTERRUPT, initialized, HV_STATUS_INVALID_PARTITION_ID},
    {"a child's", HVCALL_UNMAP_DEVICE_INTERRUPT, initialized, HV_STATUS_INVALID_PARTITION_ID},
    {"not mapped", HVCALL_UNMAP_DEVICE_INTERRUPT, self, HV_STATUS_INVALID_PARAMETER,
        {{16, 4, HV_INTERRUPT_SOURCE_MSI}, {28, 4, 0x40}}},
    {"an unknown device", HVCALL_RETARGET_DEVICE_INTERRUPT, any, HV_STATUS_INVALID_PARAMETER},
    {"a vector that is none", HVCALL_SEND_SYNTHETIC_CLUSTER_IPI, any, HV_STATUS_INVALID_PARAMETER,
        {{0, 4, 15}}},
    {"a vector that is none", HVCALL_SEND_SYNTHETIC_CLUSTER_IPI_EX, any,
        HV_STATUS_INVALID_PARAMETER, {{0, 4, 256}}},
    {"a bank too few", HVCALL_SEND_SYNTHETIC_CLUSTER_IPI_EX, any, HV_STATUS_INVALID_HYPERCALL_INPUT,
        {{0, 4, 0x40}, {16, 8, 1}}},
    {"a bank too few", HVCALL_FLUSH_VIRTUAL_ADDRESS_SPACE_EX, any,
        HV_STATUS_INVALID_HYPERCALL_INPUT, {{24, 8, 1}}},
    {"a bank too few", HVCALL_FLUSH_VIRTUAL_ADDRESS_LIST_EX, any, HV_STATUS_INVALID_HYPERCALL_INPUT,
        {{24, 8, 1}}},

    // Statistics.
    {"of nobody", HVCALL_MAP_STATS_PAGE, any, HV_STATUS_INVALID_PARTITION_ID,
        {{0, 4, HV_STATS_OBJECT_PARTITION}, {8, 8, no_partition}}},
    {"of nobody's", HVCALL_MAP_STATS_PAGE, any, HV_STATUS_INVALID_PARTITION_ID,
        {{0, 4, HV_STATS_OBJECT_VP}, {8, 8, no_partition}}},
    {"of no processor", HVCALL_MAP_STATS_PAGE, any, HV_STATUS_INVALID_VP_INDEX,
        {{0, 4, HV_STATS_OBJECT_VP}, {8, 8, HV_PARTITION_ID_SELF}, {16, 4, no_vp}}},
    {"of no processor of the machine", HVCALL_MAP_STATS_PAGE, any, HV_STATUS_INVALID_PARAMETER,
        {{0, 4, HV_STATS_OBJECT_LOGICAL_PROCESSOR}, {8, 4, 64}}},
    {"of nothing", HVCALL_MAP_STATS_PAGE, any, HV_STATUS_INVALID_PARAMETER, {{0, 4, 77}}},
    {"not mapped", HVCALL_UNMAP_STATS_PAGE, any, HV_STATUS_OPERATION_DENIED,
        {{0, 4, HV_STATS_OBJECT_VP}, {8, 8, HV_PARTITION_ID_SELF}}},
    {"of nobody's", HVCALL_UNMAP_STATS_PAGE, any, HV_STATUS_INVALID_PARTITION_ID,
        {{0, 4, HV_STATS_OBJECT_VP}, {8, 8, no_partition}}},

    // Sleep: only S5, and that would be the end.
    {"no state", HVCALL_ENTER_SLEEP_STATE, any, HV_STATUS_INVALID_PARAMETER},
    {"S1", HVCALL_ENTER_SLEEP_STATE, any, HV_STATUS_INVALID_PARAMETER, {{0, 4, 1}}},
    {"S2", HVCALL_ENTER_SLEEP_STATE, any, HV_STATUS_INVALID_PARAMETER, {{0, 4, 2}}},
    {"S3", HVCALL_ENTER_SLEEP_STATE, any, HV_STATUS_INVALID_PARAMETER, {{0, 4, 3}}},
    {"S4", HVCALL_ENTER_SLEEP_STATE, any, HV_STATUS_INVALID_PARAMETER, {{0, 4, 4}}},
    {"S6", HVCALL_ENTER_SLEEP_STATE, any, HV_STATUS_INVALID_PARAMETER, {{0, 4, 6}}},
    {"S1", HVCALL_SET_SYSTEM_PROPERTY, any, HV_STATUS_INVALID_PARAMETER,
        {{0, 4, HV_SYSTEM_PROPERTY_SLEEP_STATE}, {8, 4, HV_SLEEP_STATE_S1}}},
    {"S2", HVCALL_SET_SYSTEM_PROPERTY, any, HV_STATUS_INVALID_PARAMETER,
        {{0, 4, HV_SYSTEM_PROPERTY_SLEEP_STATE}, {8, 4, HV_SLEEP_STATE_S2}}},
    {"S3", HVCALL_SET_SYSTEM_PROPERTY, any, HV_STATUS_INVALID_PARAMETER,
        {{0, 4, HV_SYSTEM_PROPERTY_SLEEP_STATE}, {8, 4, HV_SLEEP_STATE_S3}}},
    {"S4", HVCALL_SET_SYSTEM_PROPERTY, any, HV_STATUS_INVALID_PARAMETER,
        {{0, 4, HV_SYSTEM_PROPERTY_SLEEP_STATE}, {8, 4, HV_SLEEP_STATE_S4}}},
};

/// A call whose input begins with the id of a partition, and has a processor's index behind it.
struct Subject {
    std::uint16_t code;
    bool has_vp;
    bool may_be_own; ///< it can be about the caller's own partition
};
constexpr Subject subjects[] = {
    {HVCALL_INITIALIZE_PARTITION, false, false},
    {HVCALL_FINALIZE_PARTITION, false, false},
    {HVCALL_DELETE_PARTITION, false, false},
    {HVCALL_GET_PARTITION_PROPERTY, false, true},
    {HVCALL_SET_PARTITION_PROPERTY, false, false},
    {HVCALL_DEPOSIT_MEMORY, false, true},
    {HVCALL_WITHDRAW_MEMORY, false, true},
    {HVCALL_GET_MEMORY_BALANCE, false, true},
    {HVCALL_MAP_GPA_PAGES, false, false},
    {HVCALL_UNMAP_GPA_PAGES, false, false},
    {HVCALL_INSTALL_INTERCEPT, false, false},
    {HVCALL_CREATE_VP, false, true},
    {HVCALL_DELETE_VP, true, false},
    {HVCALL_GET_VP_REGISTERS, true, true},
    {HVCALL_SET_VP_REGISTERS, true, true},
    {HVCALL_TRANSLATE_VIRTUAL_ADDRESS, true, true},
    {HVCALL_CLEAR_VIRTUAL_INTERRUPT, false, false},
    {HVCALL_DELETE_PORT, false, true},
    {HVCALL_DISCONNECT_PORT, false, true},
    {HVCALL_MAP_DEVICE_INTERRUPT, false, true},
    {HVCALL_UNMAP_DEVICE_INTERRUPT, false, true},
    {HVCALL_REGISTER_INTERCEPT_RESULT, true, false},
    {HVCALL_UNREGISTER_INTERCEPT_RESULT, true, false},
    {HVCALL_ASSERT_VIRTUAL_INTERRUPT, false, false},
    {HVCALL_CREATE_PORT, false, true},
    {HVCALL_GET_VP_INDEX_FROM_APIC_ID, false, true},
    {HVCALL_SIGNAL_EVENT_DIRECT, true, false},
    {HVCALL_POST_MESSAGE_DIRECT, true, false},
    {HVCALL_GET_GPA_PAGES_ACCESS_STATES, false, false},
    {HVCALL_MAP_VP_STATE_PAGE, true, false},
    {HVCALL_UNMAP_VP_STATE_PAGE, true, false},
    {HVCALL_GET_VP_STATE, true, false},
    {HVCALL_SET_VP_STATE, true, false},
    {HVCALL_GET_VP_CPUID_VALUES, true, true},
    {HVCALL_GET_PARTITION_PROPERTY_EX, false, true},
};

/// What refused calls must leave as it is.
class Digest {
public:
    explicit Digest(const std::uint64_t (&ids)[partitions]) {
        for (const std::uint64_t id : ids) {
            const auto pages = balance(id);
            add(pages.pages_available);
            add(pages.pages_in_use);
            for (const std::uint32_t property : properties) {
                hv_input_get_partition_property in{};
                in.partition_id = id;
                in.property_code = property;
                add_answer(call(HVCALL_GET_PARTITION_PROPERTY, in), sizeof(std::uint64_t));
            }
        }
        hv_input_get_vp_registers in{};
        in.partition_id = ids[static_cast<unsigned>(Whom::initialized)];
        unsigned count = 0;
        for (const std::uint32_t name : registers) {
            put(name, sizeof in + count * sizeof name);
            ++count;
        }
        const Result result = call_rep(HVCALL_GET_VP_REGISTERS, in, count);
        has_registers_ = result.status == HV_STATUS_SUCCESS;
        add_answer(result, count * sizeof(hv_register_value));
    }
    [[nodiscard]] bool has_registers() const { return has_registers_; }
    bool operator==(const Digest&) const = default;

private:
    // But time, which goes on.
    static constexpr std::uint32_t properties[] = {HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS,
        HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES, HV_PARTITION_PROPERTY_CPU_RESERVE,
        HV_PARTITION_PROPERTY_CPU_CAP, HV_PARTITION_PROPERTY_CPU_WEIGHT,
        HV_PARTITION_PROPERTY_TIME_FREEZE, HV_PARTITION_PROPERTY_PROCESSORS_PER_SOCKET,
        HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING,
        HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION};
    static constexpr std::uint32_t registers[] = {HV_REGISTER_EXPLICIT_SUSPEND,
        HV_REGISTER_INTERCEPT_SUSPEND, HV_REGISTER_PENDING_INTERRUPTION,
        HV_REGISTER_INTERRUPT_STATE, HV_REGISTER_PENDING_EVENT0, HV_X64_REGISTER_RAX,
        HV_X64_REGISTER_RSP, HV_X64_REGISTER_RIP, HV_X64_REGISTER_RFLAGS, HV_X64_REGISTER_CR0,
        HV_X64_REGISTER_CR3, HV_X64_REGISTER_CR4, HV_X64_REGISTER_CR8, HV_X64_REGISTER_XFEM,
        HV_X64_REGISTER_EFER, HV_X64_REGISTER_CS, HV_X64_REGISTER_SS, HV_X64_REGISTER_GDTR,
        HV_X64_REGISTER_APIC_BASE, HV_X64_REGISTER_APIC_ID, HV_REGISTER_GUEST_OS_ID,
        HV_X64_REGISTER_HYPERCALL, HV_REGISTER_VP_ASSIST_PAGE, HV_REGISTER_REFERENCE_TSC,
        HV_REGISTER_SINT0, HV_REGISTER_SCONTROL, HV_REGISTER_SIMP, HV_REGISTER_SIEFP,
        HV_REGISTER_STIMER0_CONFIG};

    void add(std::uint64_t value) {
        constexpr std::uint64_t prime = 0x100000001b3; // FNV-1a, of words
        value_ = (value_ ^ value) * prime;
    }
    void add_answer(Result result, std::size_t size) {
        add(result.status);
        for (std::size_t at = 0; result.status == HV_STATUS_SUCCESS && at < size; at += 8) {
            add(got<std::uint64_t>(at));
        }
    }

    std::uint64_t value_ = 0xcbf29ce484222325;
    bool has_registers_ = false;
};

/// The partitions that calls are about.
class Cast {
public:
    Cast() {
        static constexpr Whom children[] = {Whom::created, Whom::initialized, Whom::finalized};
        (void)deposit(ids_[1], 16);
        for (const Whom one : children) {
            make(one);
        }
        const hv_input_partition last{.partition_id = id(Whom::finalized)};
        all_ = all_ && call(HVCALL_FINALIZE_PARTITION, last).status == HV_STATUS_SUCCESS;
        connect();
        check("the partitions are there", all_);
        check("registers can be compared", digest().has_registers());
    }
    ~Cast() {
        (void)call(HVCALL_DELETE_PORT,
            hv_input_delete_port{.port_partition_id = id(Whom::self), .port_id = 3, .reserved = 0});
        (void)call(
            HVCALL_FINALIZE_PARTITION, hv_input_partition{.partition_id = id(Whom::initialized)});
        bool gone = true;
        for (const Whom one : {Whom::created, Whom::initialized, Whom::finalized}) {
            const hv_input_partition which{.partition_id = id(one)};
            (void)withdraw_all(id(one));
            gone = call(HVCALL_DELETE_PARTITION, which).status == HV_STATUS_SUCCESS && gone;
        }
        (void)withdraw_all(id(Whom::self));
        check("the partitions go", gone);
    }
    Cast(const Cast&) = delete;
    Cast& operator=(const Cast&) = delete;

    [[nodiscard]] std::uint64_t id(Whom whom) const { return ids_[static_cast<unsigned>(whom)]; }
    [[nodiscard]] Digest digest() const { return Digest{ids_}; }

private:
    void make(Whom whom) {
        hv_input_create_partition settings{};
        settings.flags = HV_PARTITION_CREATION_FLAG_LAPIC_ENABLED;
        all_ = all_ && call(HVCALL_CREATE_PARTITION, settings).status == HV_STATUS_SUCCESS;
        const auto id = got<std::uint64_t>();
        ids_[static_cast<unsigned>(whom)] = id;
        all_ = all_ && deposit(id, 24) == HV_STATUS_SUCCESS;
        if (whom == Whom::created) {
            return;
        }
        hv_input_create_vp vp{};
        vp.partition_id = id;
        hv_input_map_vp_state_page state{};
        state.partition_id = id;
        state.type = HV_VP_STATE_PAGE_INTERCEPT_MESSAGE;
        all_ = all_ &&
            call(HVCALL_INITIALIZE_PARTITION, hv_input_partition{.partition_id = id}).status ==
                HV_STATUS_SUCCESS &&
            call(HVCALL_CREATE_VP, vp).status == HV_STATUS_SUCCESS &&
            call(HVCALL_MAP_VP_STATE_PAGE, state).status == HV_STATUS_SUCCESS;
    }
    void connect() {
        hv_input_create_port port{};
        port.port_partition_id = id(Whom::self);
        port.port_id = 3;
        port.connection_partition_id = id(Whom::initialized);
        port.port_info.port_type = HV_PORT_TYPE_DOORBELL;
        hv_input_connect_port connection{};
        connection.connection_partition_id = id(Whom::initialized);
        connection.connection_id = 4;
        connection.port_partition_id = id(Whom::self);
        connection.port_id = port.port_id;
        connection.connection_info.port_type = HV_PORT_TYPE_DOORBELL;
        all_ = all_ && call(HVCALL_CREATE_PORT, port).status == HV_STATUS_SUCCESS &&
            call(HVCALL_CONNECT_PORT, connection).status == HV_STATUS_SUCCESS;
        for (const auto& [status, field] : {PortCase{HV_STATUS_INVALID_PORT_ID, {8, 4, 3}},
                 PortCase{HV_STATUS_INVALID_PORT_ID, {8, 4, 0}},
                 PortCase{HV_STATUS_INVALID_PARAMETER, {24, 4, HV_PORT_TYPE_EVENT}},
                 PortCase{HV_STATUS_INVALID_PARAMETER, {32, 4, HV_SYNIC_SINT_COUNT}},
                 PortCase{HV_STATUS_INVALID_VP_INDEX, {36, 4, no_vp}}}) {
            port.port_id = 5;
            put(port);
            put(static_cast<std::uint32_t>(field.value), field.offset);
            const Result result =
                call_word(HVCALL_CREATE_PORT, address(input_page), address(output_page));
            all_ = all_ && result.status == status;
        }
    }
    struct PortCase {
        std::uint16_t status;
        Field field;
    };

    std::uint64_t ids_[partitions] = {no_partition, HV_PARTITION_ID_SELF, 0, 0, 0};
    bool all_ = true;
};

void put_field(const Field& field) {
    for (unsigned i = 0; i < field.size; ++i) {
        input_page[field.offset + i] = static_cast<std::uint8_t>(field.value >> (8 * i));
    }
}

/// The calls of a table, one after the other; the first one that is not refused as it should be,
/// or has changed something, is told.
class Refuser {
public:
    explicit Refuser(const Cast& cast) : cast_{cast}, before_{cast.digest()} {}

    void refuse(const Refusal& row) {
        const CallEntry* const entry = hypervisor::hypercall::find(row.code);
        for (unsigned i = 0; i < HV_PAGE_SIZE; ++i) {
            input_page[i] = 0;
        }
        if (row.whom != Whom::any) {
            put(cast_.id(row.whom));
        }
        for (const Field& field : row.fields) {
            put_field(field);
        }
        const std::uint64_t reps = entry->is_rep ? 1 : 0;
        const Result result = call_word(row.code | reps << HV_HYPERCALL_REP_COUNT_SHIFT |
                row.variable_header / 8 << HV_HYPERCALL_VARIABLE_HEADER_SHIFT,
            address(input_page), address(output_page));
        if (result.status != row.status || result.reps != 0) {
            bare_print("# %s, %s, of partition %u: status %x after %u, not %x\n", entry->name,
                row.what, static_cast<unsigned>(row.whom), static_cast<unsigned>(result.status),
                result.reps, static_cast<unsigned>(row.status));
            refused_ = false;
        }
        const Digest after = cast_.digest();
        if (after != before_) {
            bare_print("# %s, %s, of partition %u has changed something\n", entry->name, row.what,
                static_cast<unsigned>(row.whom));
            unchanged_ = false;
            before_ = after;
        }
        ++made_;
    }
    void tell(const char* which) const {
        check(check_words(which, "are refused with the status that is specified"), refused_);
        check(check_words(which, "change nothing"), unchanged_);
        check_at_least(check_words(which, "are many"), made_, 30);
    }

private:
    const Cast& cast_;
    Digest before_;
    bool refused_ = true;
    bool unchanged_ = true;
    unsigned made_ = 0;
};

void refuse_subject(Refuser& refuser, const Subject& subject) {
    refuser.refuse(
        {"that there isn't", subject.code, Whom::nobody, HV_STATUS_INVALID_PARTITION_ID});
    if (!subject.may_be_own) {
        refuser.refuse({"its own", subject.code, Whom::self, HV_STATUS_ACCESS_DENIED});
    }
    if (!subject.has_vp) {
        return;
    }
    const bool is_intercept = subject.code == HVCALL_REGISTER_INTERCEPT_RESULT ||
        subject.code == HVCALL_UNREGISTER_INTERCEPT_RESULT;
    // CPUID's can be of one processor.
    const Field type{12, 4, is_intercept ? std::uint64_t{HV_INTERCEPT_TYPE_X64_CPUID} : 0};
    for (const std::uint64_t vp : {std::uint64_t{no_vp}, std::uint64_t{HV_VP_INDEX_SELF}}) {
        refuser.refuse({"a processor that there isn't", subject.code, Whom::initialized,
            HV_STATUS_INVALID_VP_INDEX, {{8, 4, vp}, type}});
    }
    if (subject.may_be_own) {
        refuser.refuse({"a processor that it hasn't", subject.code, Whom::self,
            HV_STATUS_INVALID_VP_INDEX, {{8, 4, no_vp}}});
    }
}

/// What CPUID doesn't show: control of frequency and voltage, CPPC (AMD64 APM vol. 2, 17.6).
void check_power_registers() {
    constexpr int general_protection = 13;
    const bare_cpuid_result power = bare_cpuid(0x80000007, 0);
    const bare_cpuid_result sizes = bare_cpuid(0x80000008, 0);
    check("no performance is the root's to govern but by P-states",
        (power.edx & (1u << 1 | 1u << 2 | 1u << 9)) == 0 && (sizes.ebx & 1u << 27) == 0);
    for (const std::uint32_t msr :
        {0xc0010041u, 0xc00102b0u, 0xc00102b1u, 0xc00102b2u, 0xc00102b3u, 0xc00102b4u}) {
        std::uint32_t number = msr;
        check_equal("a write that would change it faults",
            static_cast<std::uint64_t>(bare_catch(
                [](void* at) { bare_write_msr(*static_cast<std::uint32_t*>(at), 1); }, &number)),
            general_protection);
    }
}

} // namespace

void check_refusals() {
    check_power_registers();
    const std::uint64_t taken = pages_taken();
    {
        const Cast cast;
        Refuser subjects_of_calls{cast};
        for (const Subject& subject : subjects) {
            refuse_subject(subjects_of_calls, subject);
        }
        subjects_of_calls.tell("partitions and processors that there aren't");
        Refuser calls{cast};
        for (const Refusal& row : refusals) {
            calls.refuse(row);
        }
        calls.tell("calls that can't be carried out");
    }
    check_equal("nothing is kept after refusals", pages_taken(), taken);
}

} // namespace root
