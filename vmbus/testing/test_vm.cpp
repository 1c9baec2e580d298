// SPDX-License-Identifier: Apache-2.0
#include "vmbus/testing/test_vm.hpp"

#include <stdexcept>
#include <unistd.h>
#include <utility>

namespace croft::vmbus::testing {

TestVm::TestVm(std::uint64_t pages, ServerLimits limits)
    : memory_(pages),
      server_(std::make_unique<Server>(*this, limits)) {}

void TestVm::replace_server(ServerLimits limits) {
    server_.reset();
    server_ = std::make_unique<Server>(*this, limits);
}

std::optional<std::vector<std::uint8_t>> TestVm::take_message(std::uint32_t vp) {
    const auto slot = slots_.find(vp);
    if (slot == slots_.end()) {
        return std::nullopt;
    }
    std::vector<std::uint8_t> message = std::move(slot->second);
    slots_.erase(slot);
    server_->retry();
    return message;
}

bool TestVm::take_flag(std::uint32_t vp, std::uint16_t flag) {
    const std::lock_guard lock(flags_mutex_);
    return flags_.erase({vp, flag}) != 0;
}

void TestVm::signal(std::uint32_t connection) {
    const auto event = events_.find(connection);
    const std::uint64_t one = 1;
    if (event != events_.end() && ::write(event->second, &one, sizeof(one)) != sizeof(one)) {
        throw std::runtime_error("an event that can't be rung");
    }
}

Host::Posted TestVm::post_message(std::uint32_t vp, std::span<const std::uint8_t> payload) {
    if (vp >= processors) {
        return Posted::refused;
    }
    return slots_.try_emplace(vp, payload.begin(), payload.end()).second ? Posted::taken
                                                                         : Posted::busy;
}

void TestVm::signal_event(std::uint32_t vp, std::uint16_t flag) {
    const std::lock_guard lock(flags_mutex_);
    flags_.emplace(vp, flag);
}

bool TestVm::connect_event(std::uint32_t connection, int event) {
    return !refuse_events_ && events_.emplace(connection, event).second;
}

void TestVm::disconnect_event(std::uint32_t connection) {
    events_.erase(connection);
}

} // namespace croft::vmbus::testing
