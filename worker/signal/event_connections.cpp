// SPDX-License-Identifier: Apache-2.0
#include "worker/signal/event_connections.hpp"

#include "worker/error.hpp"

#include <fmt/format.h>

namespace croft::worker {

hv::Doorbell EventConnections::doorbell(std::uint32_t id, int event) {
    return {
        .gpa = HV_SIGNAL_WINDOW_BASE + id * HV_SIGNAL_WINDOW_STRIDE,
        .size = HV_SIGNAL_WINDOW_STRIDE,
        .value = std::nullopt,
        .event = event,
    };
}

void EventConnections::attach(hv::Partition* partition) {
    const std::lock_guard lock(mutex_);
    partition_ = partition;
    if (partition_ != nullptr) {
        for (const auto& [id, event] : events_) {
            partition_->connect_doorbell(doorbell(id, event));
        }
    }
}

void EventConnections::connect(std::uint32_t id, int event) {
    const std::lock_guard lock(mutex_);
    if (id >= most || events_.contains(id)) {
        throw SettingsError(
            fmt::format("connection: found id {:#x}, expected one below {:#x} that is "
                        "free; choose another",
                id, most));
    }
    if (partition_ != nullptr) {
        partition_->connect_doorbell(doorbell(id, event));
    }
    events_.emplace(id, event);
}

void EventConnections::disconnect(std::uint32_t id) {
    const std::lock_guard lock(mutex_);
    const auto found = events_.find(id);
    if (found == events_.end()) {
        return;
    }
    const hv::Doorbell ended = doorbell(id, found->second);
    events_.erase(found);
    if (partition_ != nullptr) {
        partition_->disconnect_doorbell(ended);
    }
}

} // namespace croft::worker
