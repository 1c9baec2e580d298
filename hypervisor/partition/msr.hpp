// SPDX-License-Identifier: Apache-2.0
// What reads and writes of MSRs do in a partition.
#pragma once

#include "hypervisor/partition/named.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace hypervisor {

class VirtualProcessor;

enum class MsrResult : std::uint8_t {
    done,
    fault,         ///< the guest gets #GP
    no_memory,     ///< the same, and the parent that it has deposited too little
    unimplemented, ///< nobody here knows it: what is to happen then is the parent's to say
};

MsrResult partition_read_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t& value);
/// The instruction has been completed before: what a write sets off may stop the virtual processor.
MsrResult partition_write_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t value);

using MsrContent = std::optional<std::uint64_t>; ///< none: the guest gets #GP

/// One MSR, or several side by side.
struct MsrRow {
    std::uint32_t first;
    std::uint32_t last;
    [[no_unique_address]] Name name;
    std::uint32_t privilege; ///< of HV_PARTITION_PRIVILEGE_MASK: without it, it isn't there
    MsrContent (*read)(VirtualProcessor& vp, std::uint32_t msr);
    MsrResult (*write)(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t value);
};

// What stands in several rows.
inline MsrContent no_read(VirtualProcessor&, std::uint32_t) {
    return std::nullopt;
}
inline MsrContent read_zero(VirtualProcessor&, std::uint32_t) {
    return 0;
}
inline MsrResult no_write(VirtualProcessor&, std::uint32_t, std::uint64_t) {
    return MsrResult::fault;
}
inline MsrResult leave_to_parent(VirtualProcessor&, std::uint32_t, std::uint64_t) {
    return MsrResult::unimplemented;
}
MsrResult ignore_write(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t value);

inline constexpr std::uint32_t synthetic_msr_first = 0x40000000;
inline constexpr std::uint32_t synthetic_msr_last = 0x400001ff;
/// The synthetic MSRs (TLFS "MSRs"), in synthetic_msr.cpp.
MsrResult read_synthetic_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t& value);
MsrResult write_synthetic_msr(VirtualProcessor& vp, std::uint32_t msr, std::uint64_t value);

extern const std::span<const MsrRow> synthetic_msrs;
/// Those of processors (AMD64 Architecture Programmer's Manual, vol. 2, appendix A) that every
/// partition has, and then the root's or a child's, in the order in which a number is looked for.
extern const std::span<const MsrRow> msrs_of_all;
extern const std::span<const MsrRow> msrs_of_root;
extern const std::span<const MsrRow> msrs_of_child;

} // namespace hypervisor
