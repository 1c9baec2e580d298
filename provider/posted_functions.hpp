// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/descriptor.hpp"
#include "vmbus/remote/reactor.hpp"

#include <functional>
#include <mutex>
#include <vector>

namespace croft::provider {

/// Functions that other threads want run on the thread of a reactor, in the order in which they
/// came.
class PostedFunctions {
public:
    /// `reactor` outlives the object. Errors: DeviceError without an eventfd.
    explicit PostedFunctions(vmbus::Reactor& reactor);
    ~PostedFunctions();
    PostedFunctions(const PostedFunctions&) = delete;
    PostedFunctions& operator=(const PostedFunctions&) = delete;

    /// Any thread; `function` is never called from within.
    void post(std::function<void()> function);

private:
    void run();

    vmbus::Reactor& reactor_;
    vmbus::Descriptor event_;
    std::mutex mutex_;
    std::vector<std::function<void()>> functions_;
};

} // namespace croft::provider
