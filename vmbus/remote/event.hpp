// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/descriptor.hpp"
#include "vmbus/vsp/channel_service.hpp"

#include <cstdint>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace croft::vmbus::remote {

[[nodiscard]] inline Descriptor duplicate(int descriptor) {
    return Descriptor(fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
}

/// Takes what was signalled on an eventfd; answers whether there was something.
[[nodiscard]] inline bool take_event(int event) {
    std::uint64_t count = 0;
    return ::read(event, &count, sizeof(count)) == sizeof(count);
}

/// An interrupt that somebody else hears by an eventfd.
class EventInterrupt final : public Interrupt {
public:
    explicit EventInterrupt(Descriptor event) : event_(std::move(event)) {}

    void signal() override {
        const std::uint64_t one = 1;
        // It can only fail when there are signals that nobody has taken yet.
        (void)!::write(event_.get(), &one, sizeof(one));
    }

private:
    Descriptor event_;
};

} // namespace croft::vmbus::remote
