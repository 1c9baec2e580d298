// SPDX-License-Identifier: Apache-2.0
// Which of the processor's answers to CPUID a partition sees. What is not named here reads as zero:
// a feature that a later processor has may need support of the hypervisor that nobody has written.
#pragma once

#include "abi/partition.h"
#include "hypervisor/cpu/intrinsics.hpp"

#include <array>
#include <cstdint>

namespace hypervisor::cpuid_policy {

enum class Audience : std::uint8_t {
    root, ///< manages the machine: power, temperature, errors, caches, topology
    child,
};

/// Features that a partition's creator has switched off (HV_PARTITION_PROCESSOR_FEATURES,
/// HV_PARTITION_PROCESSOR_XSAVE_FEATURES).
struct DisabledFeatures {
    std::array<std::uint64_t, HV_PARTITION_PROCESSOR_FEATURES_BANKS> banks{};
    std::uint64_t xsave = 0;
};

/// Whether ECX is of no account for a leaf. Guests leave in it what they like then.
constexpr bool is_without_subleaves(std::uint32_t leaf) {
    constexpr std::uint32_t extended = 0x80000000;
    constexpr std::uint32_t caches = 0x1d; // of the extended ones: the first with subleaves
    constexpr std::uint32_t last_plain = 0x1f;
    // 4, 7, 0xb, 0xd and many of the later ones have some; those of features yet to come may.
    constexpr std::uint32_t plain = 0x0260576f;
    if (leaf <= last_plain) {
        return (plain >> leaf & 1) != 0;
    }
    return leaf >= extended && leaf <= extended + last_plain && leaf != extended + caches;
}

/// \param hardware what the processor answers.
CpuidResult visible(const CpuidResult& hardware, std::uint32_t leaf, std::uint32_t subleaf,
    Audience audience, const DisabledFeatures& disabled);

/// Those of the `supported` states (bits of XCR0) that a partition may have.
std::uint64_t states(std::uint64_t supported, const DisabledFeatures& disabled);

/// Answers CPUID of the processor.
using Query = CpuidResult (*)(std::uint32_t leaf, std::uint32_t subleaf);

/// Those of HV_PARTITION_PROCESSOR_FEATURES that a child has. \param bank below
/// HV_PARTITION_PROCESSOR_FEATURES_BANKS.
std::uint64_t processor_features(unsigned bank, const DisabledFeatures& disabled, Query query);
/// The same of HV_PARTITION_PROCESSOR_XSAVE_FEATURES.
std::uint64_t xsave_features(const DisabledFeatures& disabled, Query query);

} // namespace hypervisor::cpuid_policy
