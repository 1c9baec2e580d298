// SPDX-License-Identifier: Apache-2.0
// Writes the references in docs/ from the tables that the hypervisor works by. Its sources are
// linked for their tables' sake, without most of what they call: nothing of it runs.
#include "abi/cpuid.h"
#include "hypervisor/hypercall/property_table.hpp"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/partition/msr.hpp"
#include "hypervisor/partition/registers.hpp"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

namespace {

using namespace hypervisor;

const char* privilege_name(std::uint64_t privilege) {
    switch (privilege) {
    case 0:
        return "";
    case HV_ACCESS_VP_RUN_TIME_REG:
        return "AccessVpRunTimeReg";
    case HV_ACCESS_PARTITION_REFERENCE_COUNTER:
        return "AccessPartitionReferenceCounter";
    case HV_ACCESS_SYNIC_REGS:
        return "AccessSynicRegs";
    case HV_ACCESS_SYNTHETIC_TIMER_REGS:
        return "AccessSyntheticTimerRegs";
    case HV_ACCESS_INTR_CTRL_REGS:
        return "AccessIntrCtrlRegs";
    case HV_ACCESS_HYPERCALL_MSRS:
        return "AccessHypercallMsrs";
    case HV_ACCESS_VP_INDEX:
        return "AccessVpIndex";
    case HV_ACCESS_PARTITION_REFERENCE_TSC:
        return "AccessPartitionReferenceTsc";
    case HV_ACCESS_GUEST_IDLE_REG:
        return "AccessGuestIdleReg";
    case HV_ACCESS_FREQUENCY_REGS:
        return "AccessFrequencyRegs";
    case HV_ACCESS_TSC_INVARIANT_CONTROLS:
        return "AccessTscInvariantControls";
    case HV_CREATE_PARTITIONS:
        return "CreatePartitions";
    case HV_ACCESS_PARTITION_ID:
        return "AccessPartitionId";
    case HV_ACCESS_MEMORY_POOL:
        return "AccessMemoryPool";
    case HV_POST_MESSAGES:
        return "PostMessages";
    case HV_SIGNAL_EVENTS:
        return "SignalEvents";
    case HV_CREATE_PORT:
        return "CreatePort";
    case HV_CONNECT_PORT:
        return "ConnectPort";
    case HV_ACCESS_STATS:
        return "AccessStats";
    case HV_ACCESS_VP_REGISTERS:
        return "AccessVpRegisters";
    case HV_CPU_MANAGEMENT:
        return "CpuManagement";
    default:
        std::fprintf(stderr, "privilege %#llx has no name in %s\n",
            static_cast<unsigned long long>(privilege), __FILE__);
        std::exit(1);
    }
}

std::string bytes(unsigned fixed, unsigned each, bool has_variable_header) {
    std::string text = fixed != 0 || each == 0 ? std::to_string(fixed) : "";
    text += has_variable_header ? " + variable" : "";
    if (each != 0) {
        text += (text.empty() ? "" : " + ") + std::to_string(each) + " a rep";
    }
    return text;
}

std::string zeros(const CallEntry& entry) {
    std::string text;
    for (const ReservedBits& bits : hypercall::reserved_bits(entry)) {
        char one[64];
        std::snprintf(one, sizeof one, "%s%u: `%016llx`", text.empty() ? "" : ", ",
            unsigned{bits.offset}, static_cast<unsigned long long>(bits.mask));
        text += one;
    }
    return text;
}

const char* class_name(VpCounter counter) {
    switch (counter) {
    case VpCounter::gpa_space_hypercalls:
        return "GPA space";
    case VpCounter::logical_processor_hypercalls:
        return "logical processor";
    case VpCounter::long_spin_wait_hypercalls:
        return "long spin wait";
    case VpCounter::other_hypercalls:
        return "other";
    case VpCounter::synthetic_interrupt_hypercalls:
        return "synthetic interrupt";
    case VpCounter::virtual_interrupt_hypercalls:
        return "virtual interrupt";
    case VpCounter::virtual_mmu_hypercalls:
        return "virtual MMU";
    case VpCounter::virtual_processor_hypercalls:
        return "virtual processor";
    case VpCounter::deposit_hypercalls:
        return "deposit";
    default:
        std::fprintf(stderr, "counter %u is not one of a class of hypercalls\n",
            static_cast<unsigned>(counter));
        std::exit(1);
    }
}

void write_hypercalls() {
    std::printf(
        "# Hypercalls\n\n"
        "Made from the table that the hypervisor works by (`hypervisor/hypercall/table.cpp`): "
        "don't change it\nby hand, run `make docs`. Layouts and meanings are those of the "
        "Hypervisor Top-Level Functional\nSpecification and, for the root partition's calls, "
        "of upstream Linux; `abi/` has both as C.\n\n"
        "Sizes are bytes of the fixed header, and of each element of a rep call. Privileges "
        "are those of\nHV_PARTITION_PRIVILEGE_MASK; a caller without one gets "
        "HV_STATUS_ACCESS_DENIED.\n\n"
        "Zeros are the bits of the fixed input that must be: reserved ones, and flags and virtual "
        "trust levels\nthat are not offered. Each is an offset and a mask of the eight bytes "
        "there; "
        "a caller that sets one\ngets HV_STATUS_INVALID_PARAMETER, or where they belong to the "
        "number of a port or a connection,\nHV_STATUS_INVALID_PORT_ID or "
        "HV_STATUS_INVALID_CONNECTION_ID.\n\n"
        "The class is the counter in the statistics of the calling virtual processor that the call "
        "is counted\nunder, however it ends.\n\n"
        "| code | name | kind | input | output | privilege | class | zeros |\n"
        "|---|---|---|---|---|---|---|---|\n");
    for (const CallEntry& entry : hypercall::table()) {
        std::printf("| 0x%04x | %s | %s | %s | %s | %s | %s | %s |\n", unsigned{entry.code},
            entry.name, entry.is_rep ? "rep" : "simple",
            bytes(entry.input_size, entry.rep_input_size, entry.has_variable_header).c_str(),
            bytes(entry.output_size, entry.rep_output_size, false).c_str(),
            privilege_name(entry.privilege), class_name(entry.counter), zeros(entry).c_str());
    }
}

std::string numbers(std::uint32_t first, std::uint32_t last) {
    char text[32];
    std::snprintf(text, sizeof text, first == last ? "0x%08x" : "0x%08x – 0x%08x", first, last);
    return last == ~0u ? "" : text;
}

const char* read_of(const MsrRow& row) {
    return row.read == no_read ? "#GP" : row.read == read_zero ? "zero" : "yes";
}
const char* write_of(const MsrRow& row) {
    return row.write == no_write       ? "#GP"
        : row.write == ignore_write    ? "ignored"
        : row.write == leave_to_parent ? "unknown"
                                       : "yes";
}

void write_msrs(const char* title, std::span<const MsrRow> rows) {
    std::printf("\n## %s\n\n| MSR | name | read | write |\n|---|---|---|---|\n", title);
    std::map<std::uint32_t, const MsrRow*> ascending;
    for (const MsrRow& row : rows) {
        ascending[row.last] = &row;
    }
    for (const auto& [last, row] : ascending) {
        std::printf("| %s | %s | %s | %s |\n", numbers(row->first, last).c_str(), row->name,
            read_of(*row), write_of(*row));
    }
}

void write_msrs() {
    std::printf(
        "# MSRs\n\n"
        "Made from the tables that the hypervisor works by "
        "(`hypervisor/partition/synthetic_msr.cpp` and\n`msr.cpp`): don't change it by hand, run "
        "`make docs`. What the synthetic ones mean is told by the\nHypervisor Top-Level "
        "Functional Specification, what the others do by AMD's Architecture "
        "Programmer's\nManual, and who uses them by [interface.md](interface.md).\n\n"
        "A write that is ignored has no effect, and no fault. An MSR of a child that is not here, "
        "and a write\nthat is \"unknown\", is its parent's to decide: a #GP if it has not. "
        "Values that a register can't hold are a\n#GP.\n\n"
        "## Synthetic\n\n"
        "Without its privilege (HV_PARTITION_PRIVILEGE_MASK), an MSR is a #GP. So are all others "
        "from 0x40000000\nto 0x400001ff.\n\n"
        "| MSR | name | read | write | privilege |\n|---|---|---|---|---|\n");
    for (const MsrRow& row : synthetic_msrs) {
        std::printf("| %s | %s | %s | %s | %s |\n", numbers(row.first, row.last).c_str(), row.name,
            read_of(row), write_of(row), privilege_name(row.privilege));
    }
    write_msrs("The processor's, in every partition", msrs_of_all);
    write_msrs("The processor's, in the root", msrs_of_root);
    write_msrs("The processor's, in a child", msrs_of_child);
}

struct RegisterText {
    std::uint32_t last;
    const char* name;
    const char* read;
    const char* set;
    std::string msr;
};

/// As a child has it: it is whose registers are read and set.
const MsrRow& msr_row(std::uint32_t msr) {
    for (const auto rows : {synthetic_msrs, msrs_of_all, msrs_of_child}) {
        for (const MsrRow& row : rows) {
            if (msr >= row.first && msr <= row.last) {
                return row;
            }
        }
    }
    std::fprintf(stderr, "a register is MSR %#x, which has no row\n", unsigned{msr});
    std::exit(1);
}

RegisterText text_of(const PlacedRegister& row) {
    const bool is_pair = row.way == RegisterWay::pair;
    if (row.way != RegisterWay::msr && !is_pair) {
        return {row.last, row.name, "yes", "yes", ""};
    }
    const MsrRow& msr = msr_row(row.place);
    const std::string all =
        numbers(row.place, row.place + (row.last - row.first) * (is_pair ? 2 : 1));
    return {row.last, row.name, read_of(msr), msr.write == no_write ? "no" : write_of(msr),
        is_pair ? all + ", every other" : all};
}

void write_registers() {
    std::printf(
        "# Registers\n\n"
        "Made from the tables that the hypervisor works by "
        "(`hypervisor/partition/registers.cpp`): don't change\nit by hand, run `make docs`. These "
        "are the names (HV_REGISTER_NAME) that HvCallGetVpRegisters and\nHvCallSetVpRegisters "
        "take. Meanings and layouts are those of the Hypervisor Top-Level Functional\n"
        "Specification; `abi/register.h` has them as C, and [interface.md](interface.md) tells who "
        "uses which.\n\n"
        "Another name, and setting one that can't be set, answers HV_STATUS_INVALID_PARAMETER; a "
        "value that the\nregister can't hold HV_STATUS_INVALID_REGISTER_VALUE, as does setting "
        "one that is an MSR which can't be\nwritten. Those that are MSRs ask for the privilege "
        "and do what is told in [msrs.md](msrs.md).\n\n"
        "| register | name | read | set | MSR |\n|---|---|---|---|---|\n");
    std::map<std::uint32_t, RegisterText> ascending;
    for (const PlacedRegister& row : placed_registers) {
        ascending[row.first] = text_of(row);
    }
    for (const OwnRegister& row : own_registers) {
        ascending[row.first] = {row.last, row.name, "yes", row.write != nullptr ? "yes" : "no", ""};
    }
    for (const auto& [first, text] : ascending) {
        std::printf("| %s | %s | %s | %s | %s |\n", numbers(first, text.last).c_str(), text.name,
            text.read, text.set, text.msr.c_str());
    }
}

void write_properties() {
    std::printf(
        "# Partition properties\n\n"
        "Made from the tables that the hypervisor works by "
        "(`hypervisor/hypercall/property_calls.cpp`): don't\nchange it by hand, run `make docs`. "
        "Meanings are those of the Hypervisor Top-Level Functional\nSpecification; "
        "`abi/partition.h` has the numbers as C, and [interface.md](interface.md) tells who uses "
        "which.\n\n"
        "What is read is told by HvCallGetPartitionProperty, or by HvCallGetPartitionPropertyEx "
        "(\"Ex\"). Of the\nroot none can be set. Another property, and setting one that can't be "
        "set, answers\nHV_STATUS_UNKNOWN_PROPERTY. Those of the trace of exits, which are the "
        "root's, are told in\n[interface.md](interface.md).\n\n"
        "| property | name | read | set |\n|---|---|---|---|\n");
    std::map<std::uint32_t, std::pair<const hypercall::PropertyRow*, const char*>> ascending;
    for (const hypercall::PropertyRow& row : hypercall::properties) {
        ascending[row.first] = {&row, "yes"};
    }
    for (const hypercall::PropertyRow& row : hypercall::ex_properties) {
        ascending[row.first] = {&row, "Ex"};
    }
    for (const auto& [code, row] : ascending) {
        std::printf("| 0x%08x | %s | %s | %s |\n", code, row.first->name, row.second,
            row.first->set != nullptr ? "yes" : "no");
    }
}

} // namespace

int main(int argc, char** argv) {
    const std::map<std::string_view, void (*)()> references{{"hypercalls", write_hypercalls},
        {"registers", write_registers},
        {"msrs",
            [] {
                write_msrs();
            }},
        {"properties", write_properties}};
    const auto wanted = references.find(argc == 2 ? argv[1] : "");
    if (wanted == references.end()) {
        std::fprintf(stderr, "usage: %s hypercalls|registers|msrs|properties\n", argv[0]);
        return 2;
    }
    wanted->second();
}
