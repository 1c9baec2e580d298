// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/partition.hpp"

#include <cstdint>
#include <map>
#include <mutex>

namespace croft::worker {

/// The connections on which the guest may signal events (HvCallSignalEvent), each with the eventfd
/// that a signal rings. The hypervisor finds the eventfd itself, by a doorbell that stands for the
/// connection in a window of guest physical addresses that no memory ever has (abi/port.h): the
/// guest's processor runs on and its thread in the worker never wakes. Any thread.
class EventConnections {
public:
    /// Connection ids are 24 bits (TLFS "Ports and Connections").
    static constexpr std::uint32_t most = 1U << 24;

    /// Says which partition signals, or with null that there is none now. The connections stay: a
    /// new partition, after a reset, gets them all. Errors: HypervisorError.
    void attach(hv::Partition* partition);

    /// From now on a signal on connection `id` rings `event`, an eventfd that stays the caller's.
    /// Errors: SettingsError if the id is too large or taken, HypervisorError.
    void connect(std::uint32_t id, int event);
    /// Ends that. A connection that isn't there is none the less gone.
    void disconnect(std::uint32_t id);

private:
    [[nodiscard]] static hv::Doorbell doorbell(std::uint32_t id, int event);

    std::mutex mutex_;
    hv::Partition* partition_ = nullptr;
    std::map<std::uint32_t, int> events_;
};

} // namespace croft::worker
