// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/descriptor.hpp"
#include "vmbus/remote/message.hpp"
#include "vmbus/remote/reactor.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace croft::vmbus::remote {

/// One end of the socket between bus and service. Nothing blocks; what the other side doesn't take
/// is kept, up to a limit. It ends once, by whatever goes wrong first. Not to be destroyed from
/// within its events.
class Connection {
public:
    struct Events {
        /// Answers what is wrong with the message, or nothing.
        std::function<std::string(Message)> received;
        /// The connection has ended; the last call. Empty if the other side has just left.
        std::function<void(const std::string& reason)> ended;
    };

    /// `socket` is a SOCK_SEQPACKET; `reactor` outlives the connection.
    Connection(Reactor& reactor, Descriptor socket, Events events);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// The message's descriptors are sent and then closed.
    void send(Message message);
    /// Takes the next message now, if one has come.
    void receive();
    /// Ends it from this side; `ended` is not called.
    void close();

private:
    struct Outgoing {
        std::vector<std::uint8_t> bytes;
        Message message;
    };

    void watch();
    void ready();
    [[nodiscard]] bool send_one(const Outgoing& outgoing);
    void send_waiting();
    void end(const std::string& reason);

    Reactor& reactor_;
    Descriptor socket_;
    Events events_;
    std::vector<std::uint8_t> buffer_;
    std::deque<Outgoing> waiting_;
    std::size_t waiting_bytes_ = 0;
};

} // namespace croft::vmbus::remote
