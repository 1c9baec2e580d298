// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "abi/port.h"
#include "hypervisor/cpu/spin_lock.hpp"
#include "hypervisor/memory/paged_table.hpp"

#include <cstdint>
#include <optional>

namespace hypervisor {

/// A doorbell: a write of the child to an address, or its HvSignalEvent on the connection that the
/// address in the signal window stands for, puts the port's id into an event ring of the root.
struct Doorbell {
    std::uint64_t gpa = 0;
    std::uint64_t trigger_value = 0;
    std::uint64_t flags = 0;
    std::uint32_t port_id = 0;
    std::uint32_t connection_id = 0;
    std::uint32_t target_vp = 0;
    std::uint8_t target_sint = 0;
    bool in_use = false;
    bool waiting = false; ///< it rang while the ring was full

    [[nodiscard]] bool matches_write(
        std::uint64_t address, unsigned size, std::uint64_t value) const;
};

/// A port of the root for which no connection has been made yet.
struct Port {
    std::uint32_t id = 0;
    std::uint32_t target_vp = 0;
    std::uint64_t connection_partition = 0;
    std::uint8_t target_sint = 0;
    bool in_use = false;
};

/// The ports of a partition, and the connections that are doorbells of it: walked when a port is
/// made or connected, and on a write to unmapped memory or a signal.
struct PortTable {
    SpinLock lock{};
    PagedTable<Port> ports{};
    PagedTable<Doorbell> doorbells{};

    Doorbell* find_doorbell(std::uint64_t gpa) {
        return doorbells.find([gpa](const Doorbell& d) { return d.in_use && d.gpa == gpa; });
    }
    Doorbell* find_connection(std::uint32_t id) {
        return doorbells.find(
            [id](const Doorbell& d) { return d.in_use && d.connection_id == id; });
    }
    Port* find_port(std::uint32_t id) {
        return ports.find([id](const Port& p) { return p.in_use && p.id == id; });
    }
};

} // namespace hypervisor
