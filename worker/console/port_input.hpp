// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/serial/character_backend.hpp"
#include "worker/executor/io_loop.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace croft::worker {

/// What is typed at a console, until its serial port takes it: at the guest's pace, and a few bytes
/// at a time.
class PortInput {
public:
    /// `resumed` is called on the loop's thread when the port has taken the last of what had to
    /// wait. The loop outlives the object.
    PortInput(IoLoop& loop, std::function<void()> resumed)
        : loop_(loop),
          resumed_(std::move(resumed)) {}
    PortInput(const PortInput&) = delete;
    PortInput& operator=(const PortInput&) = delete;

    /// Null takes the port away; nothing is in it any more then. Any thread.
    void connect(vdev::CharacterSink* port);
    /// The port has room, again or for the first time. Any thread.
    void wanted();
    /// Tells the port that it may send again. Any thread.
    void tell_output_possible();

    // The loop's thread

    void add(std::span<const std::uint8_t> bytes);
    /// Whether the port has taken all.
    [[nodiscard]] bool empty() const { return waiting_.empty(); }

private:
    void deliver();

    IoLoop& loop_;
    const std::function<void()> resumed_;

    /// Held while the port is called, so that `connect` can wait for that. Taken before the port's
    /// own lock; `wanted`, which runs under that, doesn't take it.
    std::mutex mutex_;
    vdev::CharacterSink* port_ = nullptr;

    std::vector<std::uint8_t> waiting_;
    std::atomic<bool> has_waiting_ = false;
};

} // namespace croft::worker
