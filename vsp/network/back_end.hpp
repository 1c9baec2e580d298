// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <sys/uio.h>
#include <vector>

namespace croft::vsp::network {

/// What of a frame to the guest may be left undone. A checksum may always be missing.
struct Coalescing {
    /// Frames may be of several segments of TCP, as large as IP allows.
    bool ipv4 = false;
    bool ipv6 = false;

    friend bool operator==(const Coalescing&, const Coalescing&) = default;
};

/// How a guest wants the frames that it gets to be spread over its channels (RSS): by a Toeplitz
/// hash with the key over `hashed` (protocol::hash_…), whose lowest bits choose an entry of the
/// table, a channel. Others go by channel 0.
struct ReceiveScaling {
    bool enabled = false;
    std::uint32_t hashed = 0;
    std::vector<std::uint32_t> table;
    std::vector<std::uint8_t> key;

    friend bool operator==(const ReceiveScaling&, const ReceiveScaling&) = default;
};

/// One way into the network, of several that an adapter may have side by side. It is used by one
/// thread at a time; what it has is a FrameHeader, then the frame.
class Queue {
public:
    Queue() = default;
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;
    virtual ~Queue() = default;

    /// Readable when there is a frame.
    [[nodiscard]] virtual int descriptor() const = 0;
    /// Takes the next frame into `segments`; what they have no room for is lost. Never waits.
    /// Answers bytes, or a negative errno value: -EAGAIN if there is none now. 0 is the end.
    [[nodiscard]] virtual int receive(std::span<const iovec> segments) = 0;
    /// Sends one. Never waits: the frame is lost if it can't be sent now. Answers bytes, or a
    /// negative errno value.
    [[nodiscard]] virtual int send(std::span<const iovec> segments) = 0;
    /// Whether frames come and go by this queue. One that begins anew has no old frames.
    virtual void enable(bool enabled) = 0;
};

/// What an adapter is plugged into.
class BackEnd {
public:
    BackEnd() = default;
    BackEnd(const BackEnd&) = delete;
    BackEnd& operator=(const BackEnd&) = delete;
    virtual ~BackEnd() = default;

    /// At least one; fixed. None is enabled at first.
    [[nodiscard]] virtual std::uint16_t queue_count() const = 0;
    [[nodiscard]] virtual Queue& queue(std::uint16_t index) = 0;
    /// From now on, of frames that come by any queue. The bus's thread.
    virtual void set_coalescing(Coalescing coalescing) = 0;
    /// By which queue frames come from now on, as far as the network can tell them apart: a queue
    /// is a channel's. While it isn't enabled, that is the network's choice. The bus's thread.
    virtual void set_scaling(const ReceiveScaling& scaling) = 0;
    /// Whether the guest is plugged in, for those at the other end. The bus's thread.
    virtual void set_plugged(bool plugged) = 0;
};

} // namespace croft::vsp::network
