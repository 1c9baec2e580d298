// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

namespace hypervisor {

/// INIT and start-up messages for a processor (SDM vol. 3, 9.4.3). Between the two it waits; a
/// start-up message at any other time has no effect, as with the second one that systems send. An
/// INIT makes that of before void. Messages come from any LP; they are taken by the one that runs
/// the virtual processor.
class Startup final {
public:
    explicit Startup(bool waits) : state_{waits ? waiting : 0} {}

    void init() {
        std::uint32_t old = state_.load(std::memory_order_seq_cst);
        while (!state_.compare_exchange_weak(old, (old & waiting) | init_pending)) {
        }
    }

    /// \param page where to start: the number of a page below 1 MiB.
    /// \return whether it has an effect.
    bool start(std::uint8_t page) {
        std::uint32_t old = state_.load(std::memory_order_seq_cst);
        do {
            if ((old & (waiting | init_pending)) == 0) {
                return false;
            }
        } while (!state_.compare_exchange_weak(old, (old & ~page_mask) | page_valid | page));
        return true;
    }

    /// Whether there was an INIT; from now on the processor waits for a start-up message.
    bool take_init() {
        std::uint32_t old = state_.load(std::memory_order_seq_cst);
        do {
            if ((old & init_pending) == 0) {
                return false;
            }
        } while (!state_.compare_exchange_weak(old, (old & ~init_pending) | waiting));
        return true;
    }

    /// The page to start at, if the processor waits for one and one has come: it waits no longer.
    std::optional<std::uint8_t> take_start() {
        std::uint32_t old = state_.load(std::memory_order_seq_cst);
        do {
            if ((old & (init_pending | waiting | page_valid)) != (waiting | page_valid)) {
                return std::nullopt;
            }
        } while (!state_.compare_exchange_weak(old, 0));
        return static_cast<std::uint8_t>(old & page_mask);
    }

    [[nodiscard]] bool waits() const {
        return (state_.load(std::memory_order_seq_cst) & waiting) != 0;
    }
    /// Takes over a state; nobody sends a message meanwhile.
    void set_waits(bool waits) { state_.store(waits ? waiting : 0, std::memory_order_seq_cst); }

private:
    static constexpr std::uint32_t page_mask = 0xff;
    static constexpr std::uint32_t page_valid = 1u << 8;
    static constexpr std::uint32_t init_pending = 1u << 9;
    static constexpr std::uint32_t waiting = 1u << 10;

    std::atomic<std::uint32_t> state_;
};

} // namespace hypervisor
