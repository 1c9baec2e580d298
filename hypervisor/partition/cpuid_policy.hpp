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
