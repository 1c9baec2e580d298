// SPDX-License-Identifier: Apache-2.0
// Writes the reference of hypercalls, docs/hypercalls.md, from the table that the hypervisor works
// by.
#include "abi/cpuid.h"
#include "tests/unit/hypervisor/hypercall_handlers.hpp"

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using hypervisor::CallEntry;

const char* privilege_name(std::uint64_t privilege) {
    switch (privilege) {
    case 0:
        return "";
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

void write_row(const CallEntry& entry) {
    std::printf("| 0x%04x | %s | %s | %s | %s | %s |\n", unsigned{entry.code}, entry.name,
        entry.is_rep ? "rep" : "simple",
        bytes(entry.input_size, entry.rep_input_size, entry.has_variable_header).c_str(),
        bytes(entry.output_size, entry.rep_output_size, false).c_str(),
        privilege_name(entry.privilege));
}

} // namespace

int main() {
    std::printf(
        "# Hypercalls\n\n"
        "Made from the table that the hypervisor works by (`hypervisor/hypercall/table.cpp`): "
        "don't change it\nby hand, run `make docs`. Layouts and meanings are those of the "
        "Hypervisor Top-Level Functional\nSpecification and, for the root partition's calls, "
        "of upstream Linux; `abi/` has both as C.\n\n"
        "Sizes are bytes of the fixed header, and of each element of a rep call. Privileges "
        "are those of\nHV_PARTITION_PRIVILEGE_MASK; a caller without one gets "
        "HV_STATUS_ACCESS_DENIED.\n\n"
        "| code | name | kind | input | output | privilege |\n"
        "|---|---|---|---|---|---|\n");
    for (const CallEntry& entry : hypervisor::hypercall::table()) {
        write_row(entry);
    }
}
