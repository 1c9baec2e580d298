// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/ring.hpp"

#include <functional>

namespace croft::vsp {

/// Waits for a descriptor to have something to read, by the ring of a thread. The ring's thread
/// only.
class Readiness final : public disk::Completion {
public:
    /// `ready` is called once for each `wait`: when there is something, or when that was given up.
    Readiness(disk::Ring& ring, int descriptor, std::function<void()> ready);

    /// Does nothing while it waits already.
    void wait();
    /// Gives it up; it still waits until `ready` is called.
    void stop();
    [[nodiscard]] bool is_waiting() const { return is_waiting_; }

private:
    disk::Ring& ring_;
    int descriptor_;
    std::function<void()> ready_;
    bool is_waiting_ = false;
    bool stop_wanted_ = false;
};

} // namespace croft::vsp
