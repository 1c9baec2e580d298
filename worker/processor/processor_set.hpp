// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/partition.hpp"
#include "worker/processor/intercept_handler.hpp"
#include "worker/processor/run_gate.hpp"

#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace croft::worker {

/// A VM's virtual processors, each with its thread. All calls are for one thread, the control
/// thread.
class ProcessorSet {
public:
    /// Gets what ended a processor's thread. Called on that thread.
    using Failure = std::function<void(std::exception_ptr)>;

    /// Creates `count` VPs, which don't run yet. `counters`, one each, outlive the set. Errors:
    /// HypervisorError.
    ProcessorSet(hv::Partition& partition, const InterceptHandler::Services& services,
        std::span<InterceptCounters> counters, Failure failure);
    /// Ends the threads and gives the VPs back.
    ~ProcessorSet();
    ProcessorSet(const ProcessorSet&) = delete;
    ProcessorSet& operator=(const ProcessorSet&) = delete;

    [[nodiscard]] std::size_t size() const { return processors_.size(); }
    /// Only while they don't run.
    [[nodiscard]] hv::VirtualProcessor& operator[](std::size_t index) {
        return *processors_[index];
    }

    /// Lets all of them run.
    void run();
    /// Returns when none runs any more.
    void halt();

private:
    void run_one(std::size_t index, InterceptHandler& handler);

    std::vector<std::unique_ptr<hv::VirtualProcessor>> processors_;
    std::vector<InterceptHandler> handlers_;
    Failure failure_;
    RunGate gate_;
    std::vector<std::thread> threads_;
};

} // namespace croft::worker
