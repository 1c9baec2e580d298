// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hypervisor {

/// Where the states of XSAVE lie in its two forms: the standard one, in which each has its place,
/// and the compacted one, in which those that are there follow each other (SDM vol. 1, 13.4). The
/// hypervisor keeps the first, its interface has the second.
class XsaveLayout final {
public:
    static constexpr unsigned state_count = 63;
    static constexpr std::uint32_t legacy_size = 512;
    static constexpr std::uint32_t header_end = 576;
    static constexpr std::uint64_t compacted = std::uint64_t{1} << 63; ///< in XCOMP_BV

    /// One behind x87 and SSE, as CPUID leaf 0xD tells of it.
    struct Component {
        std::uint32_t offset = 0; ///< of the standard form
        std::uint32_t size = 0;
        bool aligned = false; ///< to 64 bytes in the compacted form
    };

    constexpr XsaveLayout() = default;
    constexpr void set(unsigned state, Component component) { components_[state] = component; }
    [[nodiscard]] constexpr const Component& component(unsigned state) const {
        return components_[state];
    }

    /// Writes what x87 and SSE have initially to an area in the standard form where they are not in
    /// use: XSAVEOPT leaves there what was. MXCSR is there in any case.
    static void settle(std::span<std::byte> standard);

    /// Bytes of an area that holds these states.
    [[nodiscard]] std::uint32_t standard_size(std::uint64_t states) const;
    [[nodiscard]] std::uint32_t compacted_size(std::uint64_t states) const;

    /// Makes the compacted form, with room for `states`, of an area in the standard form.
    void compact(
        std::span<const std::byte> standard, std::uint64_t states, std::span<std::byte> to) const;
    /// Makes the standard form of either. The area has been checked: is_valid_extended_state.
    void expand(std::span<const std::byte> area, std::span<std::byte> standard) const;

private:
    std::array<Component, state_count> components_{};
};

} // namespace hypervisor
