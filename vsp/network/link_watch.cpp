// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/link_watch.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <utility>

namespace croft::vsp::network {

LinkWatch::LinkWatch(vmbus::Reactor& reactor, std::function<void()> changed)
    : reactor_(reactor),
      changed_(std::move(changed)),
      socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)) {
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK;
    if (::bind(socket_.get(), static_cast<sockaddr*>(static_cast<void*>(&address)),
            sizeof(address)) == 0) {
        reactor_.watch(socket_.get(), POLLIN, [this] { heard(); });
    }
}

LinkWatch::~LinkWatch() {
    reactor_.unwatch(socket_.get());
}

/// What was said doesn't matter, and some may be lost: who is told looks for himself.
void LinkWatch::heard() {
    std::array<std::uint8_t, 64> start{};
    while (::recv(socket_.get(), start.data(), start.size(), 0) >= 0 || errno == ENOBUFS) {
    }
    changed_();
}

} // namespace croft::vsp::network
