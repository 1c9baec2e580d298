// SPDX-License-Identifier: Apache-2.0
#include "worker/processor/processor_set.hpp"

#include "vsp/threads/named_thread.hpp"

#include <fmt/format.h>
#include <utility>

namespace croft::worker {

namespace {
/// How long a halted processor that nothing can wake waits before it is tried again.
constexpr std::chrono::milliseconds idle_time{10};
} // namespace

ProcessorSet::ProcessorSet(hv::Partition& partition, const InterceptHandler::Services& services,
    std::span<InterceptCounters> counters, Failure failure)
    : failure_(std::move(failure)),
      gate_(counters.size()) {
    for (std::uint32_t index = 0; index < counters.size(); ++index) {
        processors_.push_back(partition.create_vp(index));
        handlers_.emplace_back(services, counters[index]);
    }
}

ProcessorSet::~ProcessorSet() {
    gate_.end();
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

void ProcessorSet::run() {
    if (threads_.empty()) {
        RunGate::prepare();
        for (std::size_t index = 0; index < processors_.size(); ++index) {
            threads_.push_back(vsp::start_thread(
                fmt::format("vp {}", index), [this, index] { run_one(index, handlers_[index]); }));
        }
    }
    gate_.open();
}

void ProcessorSet::halt() {
    gate_.close();
}

void ProcessorSet::run_one(std::size_t index, InterceptHandler& handler) {
    gate_.enter(index);
    hv::VirtualProcessor& processor = *processors_[index];
    try {
        while (gate_.pass()) {
            if (processor.run() == hv::RunResult::intercepted &&
                handler.handle(processor) == InterceptHandler::Next::idle) {
                gate_.idle(idle_time);
            }
        }
    } catch (...) {
        failure_(std::current_exception());
    }
    gate_.leave(index);
}

} // namespace croft::worker
