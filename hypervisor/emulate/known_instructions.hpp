// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/emulate/guest_page_walk.hpp"
#include "hypervisor/emulate/instruction_length.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace hypervisor {

/// The intercepted instructions that a virtual processor came to last, for processors that don't
/// save the next instruction pointer: how long each is, and what led to its bytes. One that comes
/// again is not sought through the guest's page tables once more; what led to it is compared with
/// what lies there now. For 64-bit code under four levels of tables, which is where it happens
/// often.
class KnownInstructions final {
public:
    using Word = std::atomic<std::uint64_t>;
    static constexpr std::size_t levels = 4;
    /// Bytes of an instruction that are compared; a longer one is not remembered.
    static constexpr unsigned longest = sizeof(std::uint64_t);

    /// What an instruction is found by.
    struct Place {
        InterceptedInstruction which;
        std::uint64_t rip;
        std::uint64_t cr3;
        std::uint64_t epoch; ///< of the translations that pointers into guest memory rest on
    };
    /// What led to it: the entries of a walk, from the top, and where they lie.
    struct Trace {
        std::array<const Word*, levels> entries{};
        std::array<std::uint64_t, levels> values{};
        unsigned depth = 0;
        const std::byte* code = nullptr; ///< `longest` bytes can be read here
    };

    static std::uint64_t top_entry_gpa(std::uint64_t cr3, std::uint64_t rip) {
        return (cr3 & 0x000ffffffffff000) + ((rip >> 39) & 0x1ff) * sizeof(Word);
    }

    /// \param top_entry where the entry at a GPA lies, or null: asked for when the guest has gone
    /// to other tables, which are the same below where kernels are concerned. \return the length,
    /// if all is as it was.
    template <class TopEntry>
    [[nodiscard]] std::optional<std::uint8_t> find(const Place& place, TopEntry&& top_entry) {
        Known& known = slot(place.rip);
        if (known.place.rip != place.rip || known.place.which != place.which ||
            known.place.epoch != place.epoch || known.length == 0) {
            return std::nullopt;
        }
        const Word* const top = known.place.cr3 == place.cr3
            ? known.trace.entries[0]
            : top_entry(top_entry_gpa(place.cr3, place.rip));
        if (top == nullptr || !matches(known, top)) {
            return std::nullopt;
        }
        known.place.cr3 = place.cr3;
        known.trace.entries[0] = top;
        return known.length;
    }

    void remember(const Place& place, const Trace& trace, std::uint8_t length) {
        if (length == 0 || length > longest) {
            return;
        }
        Known& known = slot(place.rip);
        known = {.place = place, .trace = trace, .length = length};
        known.bytes = bytes_at(trace.code, length);
    }

private:
    static constexpr unsigned slots = 8;

    struct Known {
        Place place{};
        Trace trace{};
        std::uint64_t bytes = 0;
        std::uint8_t length = 0; ///< 0: there is none
    };

    static std::uint64_t bytes_at(const std::byte* code, unsigned length) {
        std::uint64_t bytes = 0;
        std::memcpy(&bytes, code, sizeof bytes);
        return bytes & (~std::uint64_t{0} >> (8 * (longest - length)));
    }
    static bool matches(const Known& known, const Word* top) {
        if (top->load(std::memory_order_relaxed) != known.trace.values[0]) {
            return false;
        }
        for (unsigned i = 1; i < known.trace.depth; ++i) {
            if (known.trace.entries[i]->load(std::memory_order_relaxed) != known.trace.values[i]) {
                return false;
            }
        }
        return bytes_at(known.trace.code, known.length) == known.bytes;
    }
    Known& slot(std::uint64_t rip) {
        constexpr std::uint64_t spread = 0x9e3779b97f4a7c15; // 2^64 by the golden ratio
        return known_[(rip * spread) >> 61];
    }

    std::array<Known, slots> known_{};
};

} // namespace hypervisor
