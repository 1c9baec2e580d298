// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/remote/reactor.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

namespace croft::vmbus {

/// A reactor on poll(2), for a process that has few descriptors and no loop of its own.
class PollReactor final : public Reactor {
public:
    void watch(int descriptor, short events, std::function<void()> ready) override;
    void unwatch(int descriptor) override;

    /// Waits for `milliseconds` at most (-1: as long as it takes) and calls back for all that is
    /// ready. Answers false if nothing was.
    bool run_once(int milliseconds);

private:
    struct Watch {
        short events;
        /// Shared, since the callback may unwatch itself.
        std::shared_ptr<std::function<void()>> ready;
        /// A descriptor that was closed and is another one now has another number here.
        std::uint64_t id;
    };

    std::map<int, Watch> watches_;
    std::uint64_t next_id_ = 1;
};

} // namespace croft::vmbus
