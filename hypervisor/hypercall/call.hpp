// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/hypercall/status.hpp"
#include "hypervisor/partition/statistics.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace hypervisor {

class Partition;
class VirtualProcessor;

/// A hypercall under way. Input has been copied from the guest once; output is copied back when the
/// handler is done.
struct Call {
    VirtualProcessor& caller;
    std::span<const std::byte> input; ///< fixed header, variable header, rep elements
    std::span<std::byte> output;      ///< fixed output, rep output elements; zeros at first
    unsigned variable_header = 0;     ///< bytes
    unsigned rep_count = 0;
    unsigned rep_index = 0;  ///< the next rep: set to the start, counted by the handler
    bool for_parent = false; ///< set by the handler: the caller's parent is to answer the call

    /// The fixed part of the input, or a part of it at `offset`.
    template <class T>
    [[nodiscard]] T in(std::size_t offset = 0) const {
        T value;
        std::memcpy(&value, input.data() + offset, sizeof value);
        return value;
    }
    template <class T>
    void out(const T& value, std::size_t offset = 0) {
        std::memcpy(output.data() + offset, &value, sizeof value);
    }
    /// Element `index` of the rep list behind a fixed header of `Header`'s size.
    template <class Element, class Header>
    [[nodiscard]] Element rep(unsigned index) const {
        return in<Element>(sizeof(Header) + variable_header + index * sizeof(Element));
    }
};

/// Bits of a call's fixed input that must be zero: reserved ones, and flags and virtual trust
/// levels that are not offered.
struct ReservedBits {
    std::uint16_t code;
    std::uint8_t offset; ///< of the eight bytes that they are among
    std::uint8_t status; ///< what the call answers if they aren't
    std::uint64_t mask;
};

/// One row of the table of hypercalls.
struct CallEntry {
    std::uint16_t code;
    const char* name;
    std::uint16_t input_size;     ///< bytes of the fixed input header
    std::uint16_t rep_input_size; ///< bytes of a rep element; 0 with rep_output_size 0: simple call
    std::uint16_t output_size;
    std::uint16_t rep_output_size;
    bool is_rep;
    bool has_variable_header;
    VpCounter counter;       ///< of the caller's: which kind of call it is
    std::uint64_t privilege; ///< mask of HV_PARTITION_PRIVILEGE_MASK that the caller needs
    Status (*handler)(Call&);
};

} // namespace hypervisor
