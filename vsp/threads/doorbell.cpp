// SPDX-License-Identifier: Apache-2.0
#include "vsp/threads/doorbell.hpp"

#include <fcntl.h>
#include <utility>

namespace croft::vsp {

Doorbell::Doorbell(disk::Ring& ring, int event, std::function<void()> rang)
    : Completion([](Completion& completion, int) noexcept {
          static_cast<Doorbell&>(completion).completed();
      }),
      ring_(ring),
      event_(event),
      rang_(std::move(rang)) {
    const int flags = fcntl(event_, F_GETFL);
    fcntl(event_, F_SETFL, flags & ~O_NONBLOCK);
}

void Doorbell::start() {
    ring_.read(event_, {&segment_, 1}, 0, *this);
}

void Doorbell::listen() {
    stop_wanted_ = false;
    if (!std::exchange(is_listening_, true)) {
        start();
    }
}

void Doorbell::stop() {
    if (is_listening_ && !std::exchange(stop_wanted_, true)) {
        ring_.cancel(*this);
    }
}

void Doorbell::completed() {
    if (stop_wanted_) {
        is_listening_ = false;
    } else {
        start();
    }
    rang_();
}

} // namespace croft::vsp
