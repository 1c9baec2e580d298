// SPDX-License-Identifier: Apache-2.0
#include "worker/console/port_input.hpp"

#include <cstddef>

namespace croft::worker {

void PortInput::connect(vdev::CharacterSink* port) {
    const std::lock_guard lock(mutex_);
    port_ = port;
}

void PortInput::wanted() {
    if (has_waiting_.load()) {
        loop_.post([this] { deliver(); });
    }
}

void PortInput::tell_output_possible() {
    const std::lock_guard lock(mutex_);
    if (port_ != nullptr) {
        port_->output_possible();
    }
}

void PortInput::add(std::span<const std::uint8_t> bytes) {
    waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
    deliver();
}

void PortInput::deliver() {
    // Said before the port is asked: it may have room again, and say so once, as soon as it has
    // answered that there is none.
    const bool had_waited = has_waiting_.exchange(true);
    {
        const std::lock_guard lock(mutex_);
        while (port_ != nullptr && !waiting_.empty()) {
            const std::size_t taken = port_->receive(waiting_);
            if (taken == 0) {
                break;
            }
            waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(taken));
        }
    }
    has_waiting_.store(!waiting_.empty());
    if (had_waited && waiting_.empty()) {
        resumed_();
    }
}

} // namespace croft::worker
