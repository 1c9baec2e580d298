// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/receive_sections.hpp"

namespace croft::vsp::network {

namespace {

constexpr std::uint64_t id_of(std::uint32_t generation, std::uint32_t head) {
    return std::uint64_t{generation} << 32 | (head + 1U);
}

} // namespace

void ReceiveSections::assign(std::uint32_t first, std::uint32_t count) {
    orphans_ += begun_;
    begun_ = 0;
    ++generation_;
    first_ = first;
    free_count_ = count;
    free_ = count != 0 ? 0 : none;
    next_.resize(count);
    for (std::uint32_t i = 0; i < count; ++i) {
        next_[i] = i + 1 < count ? i + 1 : none;
    }
    is_head_.assign(count, false);
}

std::uint32_t ReceiveSections::take() {
    const std::uint32_t taken = free_;
    free_ = next_[taken];
    --free_count_;
    return first_ + taken;
}

void ReceiveSections::give_back(std::uint32_t section) {
    const std::uint32_t index = section - first_;
    next_[index] = free_;
    free_ = index;
    ++free_count_;
}

std::uint64_t ReceiveSections::begin(std::span<const std::uint32_t> sections) {
    std::uint32_t head = none;
    for (const std::uint32_t section : sections) {
        const std::uint32_t index = section - first_;
        next_[index] = head;
        head = index;
    }
    is_head_[head] = true;
    ++begun_;
    return id_of(generation_, head);
}

bool ReceiveSections::complete(std::uint64_t transaction) {
    const auto generation = static_cast<std::uint32_t>(transaction >> 32);
    const std::uint32_t head = static_cast<std::uint32_t>(transaction) - 1U;
    if (generation != generation_) {
        if (orphans_ == 0 || generation == 0 || generation > generation_) {
            return false;
        }
        --orphans_;
        return true;
    }
    if (head >= is_head_.size() || !is_head_[head]) {
        return false;
    }
    is_head_[head] = false;
    --begun_;
    for (std::uint32_t index = head; index != none;) {
        const std::uint32_t next = next_[index];
        give_back(first_ + index);
        index = next;
    }
    return true;
}

ReceiveSections::State ReceiveSections::save() const {
    State state{generation_, orphans_, {}};
    for (std::uint32_t head = 0; head < is_head_.size(); ++head) {
        if (!is_head_[head]) {
            continue;
        }
        Transaction& transaction = state.transactions.emplace_back();
        transaction.id = id_of(generation_, head);
        for (std::uint32_t index = head; index != none; index = next_[index]) {
            transaction.sections.push_back(first_ + index);
        }
    }
    return state;
}

bool ReceiveSections::resume(const Transaction& transaction, std::vector<bool>& used) {
    if (transaction.sections.empty() ||
        transaction.id != id_of(generation_, transaction.sections.front() - first_)) {
        return false;
    }
    std::uint32_t last = none;
    for (const std::uint32_t section : transaction.sections) {
        const std::uint32_t index = section - first_;
        if (section < first_ || index >= used.size() || used[index]) {
            return false;
        }
        used[index] = true;
        if (last != none) {
            next_[last] = index;
        }
        next_[index] = none;
        last = index;
    }
    is_head_[transaction.sections.front() - first_] = true;
    ++begun_;
    return true;
}

bool ReceiveSections::restore(const State& state) {
    generation_ = state.generation;
    orphans_ = state.orphans;
    std::vector<bool> used(next_.size());
    for (const Transaction& transaction : state.transactions) {
        if (!resume(transaction, used)) {
            return false;
        }
    }
    free_ = none;
    free_count_ = 0;
    for (std::uint32_t i = static_cast<std::uint32_t>(used.size()); i-- > 0;) {
        if (!used[i]) {
            next_[i] = free_;
            free_ = i;
            ++free_count_;
        }
    }
    return true;
}

} // namespace croft::vsp::network
