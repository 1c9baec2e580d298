// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/guest_pages.hpp"

#include <cstdint>
#include <span>
#include <string_view>

namespace croft::vmbus {

/// What VMBus needs of the virtual machine.
class Host {
public:
    Host() = default;
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;
    virtual ~Host() = default;

    enum class Posted : std::uint8_t {
        taken,
        /// The guest hasn't taken the last one: `Server::retry` is called when it may have.
        busy,
        /// It never will, as for a processor that is not there.
        refused,
    };
    /// Puts a message of type protocol::synic_message_type, of up to protocol::largest_message
    /// bytes, into the SINT protocol::synic_interrupt_source of a virtual processor.
    virtual Posted post_message(std::uint32_t vp, std::span<const std::uint8_t> payload) = 0;

    /// Sets an event flag of the same SINT. Any thread.
    virtual void signal_event(std::uint32_t vp, std::uint16_t flag) = 0;

    [[nodiscard]] virtual bool has_processor(std::uint32_t vp) const = 0;

    /// From now on the guest's signals on `connection` ring the eventfd `event`, until the
    /// connection is taken away. Answers false if that can't be.
    [[nodiscard]] virtual bool connect_event(std::uint32_t connection, int event) = 0;
    virtual void disconnect_event(std::uint32_t connection) = 0;

    [[nodiscard]] virtual const GuestPages& memory() const = 0;

    /// One line on what a guest or a service has done wrong, to be marked as VMBus's. Comes seldom:
    /// the caller counts.
    virtual void report(std::string_view line) = 0;
};

} // namespace croft::vmbus
