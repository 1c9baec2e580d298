// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/remote/reactor.hpp"
#include "worker/executor/io_loop.hpp"

#include <functional>
#include <map>
#include <memory>

namespace croft::worker {

/// An I/O loop as service providers of VMBus know it. For the loop's own thread, and for any before
/// the loop runs.
class LoopReactor final : public vmbus::Reactor {
public:
    /// `loop` outlives the object. What is still watched then is not called back any more.
    explicit LoopReactor(IoLoop& loop) : loop_(loop) {}
    ~LoopReactor() override;

    void watch(int descriptor, short events, std::function<void()> ready) override;
    void unwatch(int descriptor) override;

private:
    struct Watch {
        int descriptor;
        short events;
        std::function<void()> ready;
        IoLoop::OperationId poll = 0;
        bool ended = false;
    };

    void arm(const std::shared_ptr<Watch>& watch);

    IoLoop& loop_;
    std::map<int, std::shared_ptr<Watch>> watches_;
};

} // namespace croft::worker
