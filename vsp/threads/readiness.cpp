// SPDX-License-Identifier: Apache-2.0
#include "vsp/threads/readiness.hpp"

#include <poll.h>
#include <utility>

namespace croft::vsp {

Readiness::Readiness(disk::Ring& ring, int descriptor, std::function<void()> ready)
    : Completion([](Completion& completion, int) noexcept {
          auto& self = static_cast<Readiness&>(completion);
          self.is_waiting_ = false;
          self.ready_();
      }),
      ring_(ring),
      descriptor_(descriptor),
      ready_(std::move(ready)) {}

void Readiness::wait() {
    if (!std::exchange(is_waiting_, true)) {
        stop_wanted_ = false;
        ring_.poll(descriptor_, POLLIN, *this);
    }
}

void Readiness::stop() {
    if (is_waiting_ && !std::exchange(stop_wanted_, true)) {
        ring_.cancel(*this);
    }
}

} // namespace croft::vsp
