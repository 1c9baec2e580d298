// SPDX-License-Identifier: Apache-2.0
#include "vmbus/remote/poll_reactor.hpp"

#include <poll.h>
#include <vector>

namespace croft::vmbus {

void PollReactor::watch(int descriptor, short events, std::function<void()> ready) {
    watches_[descriptor] = {
        events, std::make_shared<std::function<void()>>(std::move(ready)), next_id_++};
}

void PollReactor::unwatch(int descriptor) {
    watches_.erase(descriptor);
}

bool PollReactor::run_once(int milliseconds) {
    std::vector<pollfd> polled;
    std::vector<std::uint64_t> ids;
    for (const auto& [descriptor, watch] : watches_) {
        polled.push_back({descriptor, watch.events, 0});
        ids.push_back(watch.id);
    }
    if (::poll(polled.data(), polled.size(), milliseconds) <= 0) {
        return false;
    }
    for (std::size_t i = 0; i < polled.size(); ++i) {
        const auto found = watches_.find(polled[i].fd);
        if (polled[i].revents != 0 && found != watches_.end() && found->second.id == ids[i]) {
            const std::shared_ptr<std::function<void()>> ready = found->second.ready;
            (*ready)();
        }
    }
    return true;
}

} // namespace croft::vmbus
