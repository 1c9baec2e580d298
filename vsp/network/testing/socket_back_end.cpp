// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/testing/socket_back_end.hpp"

#include <array>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace croft::vsp::network::testing {

SocketBackEnd::SocketBackEnd(std::uint16_t queues) {
    std::signal(SIGPIPE, SIG_IGN); // as the worker does
    for (std::uint16_t i = 0; i < queues; ++i) {
        std::array<int, 2> ends{};
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) !=
            0) {
            throw std::runtime_error("no socket for the test");
        }
        // A network keeps frames until they are taken.
        queues_.push_back(
            std::make_unique<FileQueue>(vmbus::Descriptor(ends[0]), [](bool) { return true; }));
        ends_.emplace_back(ends[1]);
    }
}

bool SocketBackEnd::offer(const Frame& frame, std::uint16_t queue) {
    std::vector<std::uint8_t> message(sizeof(frame.header) + frame.bytes.size());
    std::memcpy(message.data(), &frame.header, sizeof(frame.header));
    std::memcpy(message.data() + sizeof(frame.header), frame.bytes.data(), frame.bytes.size());
    return ::write(ends_.at(queue).get(), message.data(), message.size()) ==
        static_cast<ssize_t>(message.size());
}

void SocketBackEnd::send(const Frame& frame, std::uint16_t queue) {
    if (!offer(frame, queue)) {
        throw std::runtime_error("the test's network is full");
    }
}

std::optional<Frame> SocketBackEnd::receive(std::uint16_t queue) {
    std::vector<std::uint8_t> message(sizeof(FrameHeader) + largest_frame + 1);
    const ssize_t size = ::read(ends_.at(queue).get(), message.data(), message.size());
    if (size < static_cast<ssize_t>(sizeof(FrameHeader))) {
        return std::nullopt;
    }
    Frame frame;
    std::memcpy(&frame.header, message.data(), sizeof(frame.header));
    frame.bytes.assign(message.begin() + sizeof(frame.header), message.begin() + size);
    return frame;
}

void SocketBackEnd::break_down(std::uint16_t queue) {
    ends_.at(queue) = vmbus::Descriptor();
}

} // namespace croft::vsp::network::testing
