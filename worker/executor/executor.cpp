// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/executor.hpp"

#include "vsp/threads/named_thread.hpp"

namespace croft::worker {

Executor::Executor() = default;

Executor::~Executor() {
    if (device_thread_.joinable()) {
        devices_.quit();
        device_thread_.join();
    }
}

void Executor::start() {
    device_thread_ = vsp::start_thread("devices", [this] { devices_.run(); });
}

} // namespace croft::worker
