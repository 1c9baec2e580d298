// SPDX-License-Identifier: Apache-2.0
#include "vsp/threads/ring_threads.hpp"

#include "vdev/error.hpp"
#include "vsp/threads/named_thread.hpp"

#include <fmt/format.h>
#include <future>
#include <utility>

namespace croft::vsp {

/// One of them. A ring belongs to the thread that has made it.
class RingThreads::Worker {
public:
    explicit Worker(const std::string& name) {
        std::promise<disk::Ring*> made;
        thread_ = start_thread(name, [this, &made] { run(made); });
        ring_ = made.get_future().get();
        if (ring_ == nullptr) {
            thread_.join();
            throw vdev::DeviceError(fmt::format(
                "io_uring: found none for the thread '{}', expected one for each thread "
                "that does I/O; raise the limit on locked memory (ulimit -l), or run a "
                "kernel that has io_uring",
                name));
        }
    }
    ~Worker() {
        ring_->post(quit_, 0);
        thread_.join();
    }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    [[nodiscard]] disk::Ring* ring() const { return ring_; }

private:
    class Quit final : public disk::Completion {
    public:
        Quit()
            : Completion([](Completion& completion, int) noexcept {
                  static_cast<Quit&>(completion).wanted = true;
              }) {}
        bool wanted = false;
    };

    void run(std::promise<disk::Ring*>& made) {
        const auto ring = disk::UringRing::create();
        made.set_value(ring ? ring->get() : nullptr);
        while (ring && !quit_.wanted) {
            (*ring)->run(true);
        }
    }

    Quit quit_;
    disk::Ring* ring_ = nullptr;
    std::thread thread_;
};

RingThreads::RingThreads(std::string_view name, std::size_t count) {
    for (std::size_t index = 0; index < count; ++index) {
        workers_.push_back(std::make_unique<Worker>(fmt::format("{} {}", name, index)));
    }
}

RingThreads::~RingThreads() = default;

std::vector<disk::Ring*> RingThreads::rings() const {
    std::vector<disk::Ring*> result;
    result.reserve(workers_.size());
    for (const auto& worker : workers_) {
        result.push_back(worker->ring());
    }
    return result;
}

} // namespace croft::vsp
