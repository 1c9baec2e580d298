// SPDX-License-Identifier: Apache-2.0
// A child's memory type range registers. With nested paging they have no effect; software has to
// find what it wrote, and a fault where a processor would raise one.
#pragma once

#include <array>
#include <cstdint>

namespace hypervisor {

struct Mtrrs {
    std::uint64_t def_type = 0;
    std::array<std::uint64_t, 16> variable{}; ///< base and mask in turn
    std::array<std::uint64_t, 11> fixed{};

    /// Eight variable ranges, fixed ranges, write combining.
    static constexpr std::uint64_t capabilities = 8 | (1u << 8) | (1u << 10);

    /// Where an MSR of these is kept, or null. That of the capabilities is not among them.
    [[nodiscard]] std::uint64_t* find(std::uint32_t msr);
};

/// Whether a processor with so many bits of physical addresses takes the value (APM vol. 2, 7.7.2
/// to 7.7.4): of reserved bits and types there is none.
[[nodiscard]] bool is_valid_mtrr(std::uint32_t msr, std::uint64_t value, unsigned physical_bits);

} // namespace hypervisor
