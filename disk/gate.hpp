// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/ring.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace croft::disk {

// Lets requests through, or holds them back for the moment in which a disk's files change places.
// Each queue has a lane of its own, so that going in and out costs no line of memory that another
// thread writes.
class Gate final {
public:
    class Lane {
    public:
        // `reopened` is posted to `ring` after enter() has refused, once the gate is open again.
        Lane(Gate& gate, Ring& ring, Completion& reopened);
        Lane(const Lane&) = delete;
        Lane& operator=(const Lane&) = delete;
        ~Lane();

        // Only the lane's thread calls these.
        bool enter() noexcept;
        void leave() noexcept;

    private:
        friend class Gate;

        Gate& gate_;
        Ring& ring_;
        Completion& reopened_;
        std::atomic<unsigned> inside_{0};
        bool refused_ = false; // under the gate's mutex
    };

    // Returns when nobody is inside; nobody comes in until open(). One at a time.
    void close();
    void open();

private:
    bool empty() const;

    std::mutex mutex_;
    std::condition_variable left_;
    std::vector<Lane*> lanes_;
    std::atomic<bool> closed_{false};
};

} // namespace croft::disk
