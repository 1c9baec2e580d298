// SPDX-License-Identifier: Apache-2.0
#include "vmbus/server/outbox.hpp"

#include <utility>

namespace croft::vmbus {

void Outbox::put_bytes(std::vector<std::uint8_t> bytes, bool is_answer) {
    messages_.push_back({std::move(bytes), is_answer});
    answers_ += is_answer ? 1U : 0U;
}

void Outbox::pump(Host& host, std::uint32_t vp) {
    while (!messages_.empty() &&
        host.post_message(vp, messages_.front().bytes) != Host::Posted::busy) {
        answers_ -= messages_.front().is_answer ? 1U : 0U;
        messages_.pop_front();
    }
}

void Outbox::clear() {
    messages_.clear();
    answers_ = 0;
}

} // namespace croft::vmbus
