// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/emulate/instruction_length.hpp"
#include "hypervisor/emulate/walk_trace.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace hypervisor {

/// The intercepted instructions that a virtual processor came to last: what led to the bytes of
/// each, and, for processors that don't save the next instruction pointer, how long it is. One that
/// comes again is not sought through the guest's page tables once more; what led to it is compared
/// with what lies there now. For 64-bit code under four levels of tables, which is where it happens
/// often.
class KnownInstructions final {
public:
    /// Bytes of an instruction that are compared; a longer one is not remembered.
    static constexpr unsigned longest = sizeof(std::uint64_t);
    static constexpr std::uint64_t no_epoch = ~0ull; ///< they are counted from below

    /// What an instruction is found by.
    struct Place {
        InterceptedInstruction which{};
        std::uint64_t rip = 0;
        std::uint64_t cr3 = 0;
        /// Of the translations that pointers into guest memory rest on.
        std::uint64_t epoch = no_epoch;
    };
    struct Instruction {
        const std::byte* code =
            nullptr; ///< `longest` bytes can be read here, or more: as remembered
        std::uint8_t length = 0;
    };

    /// \param top_entry as of WalkTrace::follow. \return it, until the next call, if all is as it
    /// was; or null.
    template <class TopEntry>
    [[nodiscard, gnu::always_inline]] const Instruction* find(
        const Place& place, TopEntry&& top_entry) {
        Known& first = first_home(place.rip);
        Known& known = first.place.rip == place.rip ? first : second_home(place.rip);
        if (known.place.rip != place.rip || known.place.which != place.which ||
            known.place.epoch != place.epoch) {
            return nullptr;
        }
        if (known.place.cr3 != place.cr3) {
            if (!known.trace.follow(place.cr3, place.rip, top_entry)) {
                return nullptr;
            }
            known.place.cr3 = place.cr3;
        }
        known.used_at = ++uses_;
        return matches(known) ? &known.instruction : nullptr;
    }

    void remember(const Place& place, const WalkTrace& trace, const Instruction& instruction) {
        if (instruction.length == 0 || instruction.length > longest || trace.depth == 0) {
            return;
        }
        Known& known = home_for(place.rip);
        known = {.place = place, .trace = trace, .instruction = instruction, .used_at = ++uses_};
        known.trace.fill_up();
        known.bytes = word_at(instruction.code) & mask_of(instruction.length);
    }

private:
    static constexpr unsigned slots = 16; // as many as there are numbers of four bits

    struct Known {
        Place place{};
        WalkTrace trace{};
        Instruction instruction{};
        std::uint64_t bytes = 0;
        std::uint64_t used_at = 0; ///< a number of uses_
    };

    /// Of the bytes that are the instruction's.
    static constexpr std::uint64_t mask_of(unsigned length) {
        return ~std::uint64_t{0} >> (8 * (longest - length));
    }
    static std::uint64_t word_at(const std::byte* code) {
        std::uint64_t word = 0;
        __builtin_memcpy(&word, code, sizeof word); // one load, where there is no library either
        return word;
    }
    static bool matches(const Known& known) {
        return known.trace.is_as_it_was() &&
            (word_at(known.instruction.code) & mask_of(known.instruction.length)) == known.bytes;
    }
    // Each has two homes. It takes the first, where it is found sooner, if that has not been used
    // lately, or else the one that was used longer ago: a few that come again and again don't drive
    // each other out, nor is one driven out for another that comes no more.
    Known& home_for(std::uint64_t rip) {
        Known& first = first_home(rip);
        Known& second = second_home(rip);
        const bool is_stale = first.used_at + slots < uses_;
        const bool takes_second = first.place.rip != rip &&
            (second.place.rip == rip || (!is_stale && second.used_at < first.used_at));
        return takes_second ? second : first;
    }
    static std::uint64_t spread(std::uint64_t rip) {
        constexpr std::uint64_t golden_ratio = 0x9e3779b97f4a7c15; // of 2^64
        return rip * golden_ratio;
    }
    Known& first_home(std::uint64_t rip) { return known_[spread(rip) >> 60]; }
    Known& second_home(std::uint64_t rip) { return known_[(spread(rip) >> 56) % slots]; }

    std::array<Known, slots> known_{};
    std::uint64_t uses_ = 0;
};

} // namespace hypervisor
