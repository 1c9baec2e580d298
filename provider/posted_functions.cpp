// SPDX-License-Identifier: Apache-2.0
#include "provider/posted_functions.hpp"

#include "vdev/error.hpp"
#include "vmbus/remote/event.hpp"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <utility>

namespace croft::provider {

PostedFunctions::PostedFunctions(vmbus::Reactor& reactor)
    : reactor_(reactor),
      event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!event_) {
        throw vdev::DeviceError(
            fmt::format("eventfd: {}; raise the limit on open files", std::strerror(errno)));
    }
    reactor_.watch(event_.get(), POLLIN, [this] { run(); });
}

PostedFunctions::~PostedFunctions() {
    reactor_.unwatch(event_.get());
}

void PostedFunctions::post(std::function<void()> function) {
    const std::lock_guard lock(mutex_);
    functions_.push_back(std::move(function));
    eventfd_write(event_.get(), 1);
}

void PostedFunctions::run() {
    std::vector<std::function<void()>> functions;
    {
        const std::lock_guard lock(mutex_);
        (void)vmbus::remote::take_event(event_.get());
        functions.swap(functions_);
    }
    for (const auto& function : functions) {
        function();
    }
}

} // namespace croft::provider
