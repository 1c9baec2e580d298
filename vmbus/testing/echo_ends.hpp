// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/error.hpp"
#include "vmbus/server/server.hpp"
#include "vmbus/vsp/channel_service.hpp"

#include <gtest/gtest.h>
#include <string>
#include <sys/socket.h>
#include <utility>

namespace croft::vmbus::testing {

/// What an echo service offers.
inline Offer echo_offer() {
    Offer offer;
    offer.interface_type = Guid::of(1, 2, 3, {});
    offer.instance = Guid::of(7, 0, 0, {1});
    return offer;
}

/// The ends of a connection between a bus and a service.
inline std::pair<Descriptor, Descriptor> socket_pair() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    return {Descriptor(ends[0]), Descriptor(ends[1])};
}

/// As an owner does that knows no better than the server. \return why it refuses, or nothing.
inline std::string add(
    Server& server, const Offer& offer, ChannelService& service, Server::DeviceId& id) {
    try {
        id = server.add(offer, service);
        return {};
    } catch (const vdev::DeviceError& error) {
        return error.what();
    }
}

} // namespace croft::vmbus::testing
