// SPDX-License-Identifier: Apache-2.0
#include "vmbus/remote/connection.hpp"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <utility>

namespace croft::vmbus::remote {

namespace {

/// What is kept for a side that doesn't read: everything that can be under way for one device.
constexpr std::size_t most_waiting_bytes = std::size_t{16} << 20;
constexpr std::size_t control_size = CMSG_SPACE(most_descriptors * sizeof(int));

struct Control {
    alignas(cmsghdr) std::array<std::uint8_t, control_size> bytes{};
};

/// Takes over all descriptors that came, also those of a message that is refused.
std::vector<Descriptor> take_descriptors(msghdr& header) {
    std::vector<Descriptor> descriptors;
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr;
         part = CMSG_NXTHDR(&header, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int descriptor = -1;
            std::memcpy(&descriptor, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
            descriptors.emplace_back(descriptor);
        }
    }
    return descriptors;
}

} // namespace

Connection::Connection(Reactor& reactor, Descriptor socket, Events events)
    : reactor_(reactor),
      socket_(std::move(socket)),
      events_(std::move(events)),
      buffer_(largest_message) {
    watch();
}

Connection::~Connection() {
    close();
}

void Connection::close() {
    if (socket_) {
        reactor_.unwatch(socket_.get());
        socket_ = Descriptor();
    }
    waiting_.clear();
    waiting_bytes_ = 0;
}

void Connection::watch() {
    const auto events = static_cast<short>(waiting_.empty() ? POLLIN : POLLIN | POLLOUT);
    reactor_.watch(socket_.get(), events, [this] { ready(); });
}

void Connection::ready() {
    if (!waiting_.empty()) {
        send_waiting();
    }
    if (socket_) {
        receive();
    }
}

void Connection::receive() {
    Control control;
    iovec part{buffer_.data(), buffer_.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.bytes.data();
    header.msg_controllen = control.bytes.size();
    const ssize_t size =
        ::recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
    if (size < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            end(errno == ECONNRESET ? "" : std::strerror(errno));
        }
        return;
    }
    std::vector<Descriptor> descriptors = take_descriptors(header);
    if (size == 0) {
        end("");
        return;
    }
    if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        end(fmt::format("found a message of {} bytes or more descriptors than {}, expected at most "
                        "{} bytes",
            size, most_descriptors, buffer_.size()));
        return;
    }
    auto message = decode({buffer_.data(), static_cast<std::size_t>(size)}, std::move(descriptors));
    if (!message) {
        end(message.error());
        return;
    }
    if (const std::string wrong = events_.received(std::move(*message)); !wrong.empty()) {
        end(wrong);
    }
}

bool Connection::send_one(const Outgoing& outgoing) {
    const std::vector<int> descriptors = descriptors_of(outgoing.message);
    Control control;
    iovec part{const_cast<std::uint8_t*>(outgoing.bytes.data()), outgoing.bytes.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (!descriptors.empty()) {
        header.msg_control = control.bytes.data();
        header.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
        cmsghdr* const rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
        std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size() * sizeof(int));
    }
    if (::sendmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
        return true;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ETOOMANYREFS) {
        return false;
    }
    // That it has ended is noticed when it is read: a caller may be in the middle of something.
    ::shutdown(socket_.get(), SHUT_RDWR);
    return true;
}

void Connection::send(Message message) {
    if (!socket_) {
        return;
    }
    Outgoing outgoing{encode(message), std::move(message)};
    if (waiting_.empty() && send_one(outgoing)) {
        return;
    }
    waiting_bytes_ += outgoing.bytes.size();
    waiting_.push_back(std::move(outgoing));
    if (waiting_bytes_ > most_waiting_bytes) {
        // As above: the socket is at its end then, and both sides read that.
        ::shutdown(socket_.get(), SHUT_RDWR);
    }
    watch();
}

void Connection::send_waiting() {
    while (!waiting_.empty() && send_one(waiting_.front())) {
        waiting_bytes_ -= waiting_.front().bytes.size();
        waiting_.pop_front();
    }
    if (waiting_.empty()) {
        watch();
    }
}

void Connection::end(const std::string& reason) {
    if (!socket_) {
        return;
    }
    close();
    events_.ended(reason);
}

} // namespace croft::vmbus::remote
