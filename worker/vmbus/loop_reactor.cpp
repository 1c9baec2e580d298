// SPDX-License-Identifier: Apache-2.0
#include "worker/vmbus/loop_reactor.hpp"

#include <cerrno>
#include <utility>

namespace croft::worker {

LoopReactor::~LoopReactor() {
    while (!watches_.empty()) {
        unwatch(watches_.begin()->first);
    }
}

void LoopReactor::watch(int descriptor, short events, std::function<void()> ready) {
    unwatch(descriptor);
    auto made = std::make_shared<Watch>(Watch{descriptor, events, std::move(ready)});
    watches_.emplace(descriptor, made);
    arm(made);
}

void LoopReactor::unwatch(int descriptor) {
    const auto found = watches_.find(descriptor);
    if (found == watches_.end()) {
        return;
    }
    found->second->ended = true;
    loop_.cancel(found->second->poll);
    watches_.erase(found);
}

/// A poll of the loop calls back once, so it is begun anew after each. The callback may end its
/// own watch; then its function lives on until it returns.
void LoopReactor::arm(const std::shared_ptr<Watch>& watch) {
    watch->poll = loop_.poll(watch->descriptor, watch->events, [this, watch](int result) {
        if (watch->ended || result == -ECANCELED) {
            return;
        }
        watch->ready();
        if (!watch->ended) {
            arm(watch);
        }
    });
}

} // namespace croft::worker
