// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/ring.hpp"

#include <cstdint>
#include <functional>
#include <sys/uio.h>

namespace croft::vsp {

/// A guest's signals, taken by the ring that does a channel's I/O: one operation waits for the next
/// signal and takes it, so that a channel costs its thread no other call. The ring's thread only.
class Doorbell final : public disk::Completion {
public:
    /// `event` is an eventfd; it is made to block, since that is what lets a ring wait for it.
    /// `rang` is called after each signal while it listens, and once more when that has ended.
    Doorbell(disk::Ring& ring, int event, std::function<void()> rang);

    void listen();
    /// Ends that; it still listens until `rang` is called.
    void stop();
    [[nodiscard]] bool is_listening() const { return is_listening_; }

private:
    void start();
    void completed();

    disk::Ring& ring_;
    int event_;
    std::function<void()> rang_;
    std::uint64_t count_ = 0;
    iovec segment_{&count_, sizeof(count_)};
    bool is_listening_ = false;
    bool stop_wanted_ = false;
};

} // namespace croft::vsp
