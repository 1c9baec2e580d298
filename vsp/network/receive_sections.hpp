// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace croft::vsp::network {

/// The sections of the receive buffer that are one channel's, and which of them the guest has:
/// those of a transaction, from when a packet names them until the guest completes it.
class ReceiveSections {
public:
    /// A transaction that the guest has.
    struct Transaction {
        std::uint64_t id = 0;
        std::vector<std::uint32_t> sections;
    };

    struct State {
        std::uint32_t generation = 0;
        /// Transactions of earlier sections that the guest hasn't completed.
        std::uint64_t orphans = 0;
        std::vector<Transaction> transactions;
    };

    /// None at first.
    ReceiveSections() = default;

    /// From now on it is these, all free. What the guest has of others may still be completed.
    void assign(std::uint32_t first, std::uint32_t count);
    /// What the guest has.
    [[nodiscard]] State save() const;
    /// Takes it over, of sections that were assigned and are free. False if it can't be.
    [[nodiscard]] bool restore(const State& state);

    /// Whether the guest has completed all that it got.
    [[nodiscard]] bool all_complete() const { return begun_ == 0 && orphans_ == 0; }

    [[nodiscard]] std::uint32_t free_count() const { return free_count_; }
    /// A free one, of which there is at least one.
    [[nodiscard]] std::uint32_t take();
    /// Gives one back that the guest hasn't seen.
    void give_back(std::uint32_t section);

    /// The guest gets sections that were taken, at least one: answers the transaction.
    [[nodiscard]] std::uint64_t begin(std::span<const std::uint32_t> sections);
    /// Takes back what the guest was to get and hasn't.
    void cancel(std::uint64_t transaction) { (void)complete(transaction); }
    /// The guest has done with one. False if it didn't have it.
    [[nodiscard]] bool complete(std::uint64_t transaction);

private:
    static constexpr std::uint32_t none = 0xffffffff;

    [[nodiscard]] bool resume(const Transaction& transaction, std::vector<bool>& used);

    std::uint32_t first_ = 0;
    std::uint32_t free_count_ = 0;
    std::uint32_t free_ = none;
    /// In the list of free sections, or of those of its transaction.
    std::vector<std::uint32_t> next_;
    /// A transaction is named by its first section: of those that the guest has.
    std::vector<bool> is_head_;
    /// Tells transactions of the sections that there are from those of earlier ones.
    std::uint32_t generation_ = 1;
    std::uint32_t begun_ = 0;
    /// See State.
    std::uint64_t orphans_ = 0;
};

} // namespace croft::vsp::network
