// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/chain.hpp"
#include "disk/ring.hpp"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace croft::disk {

// The thread that does a disk's blocking work: it brings metadata into memory and makes it durable.
// Started by the first job.
class Service final {
public:
    // A job belongs to its caller; after run() its completion is posted to `ring`.
    class Job : public Completion {
    public:
        enum class Kind : std::uint8_t {
            prepare_read,
            prepare_write,
            flush,
            discard,
            write_zeroes
        };

        explicit Job(Function function) : Completion{function} {}

        Kind kind = Kind::flush;
        Image* image = nullptr; // to prepare
        Ring* ring = nullptr;
        std::uint64_t offset = 0;
        std::uint64_t length = 0;
        Status job_status; // the outcome
    };

    // `told` is called with each error of a job, on the service's thread.
    Service(Chain& chain, std::function<void(const Error&)> told)
        : chain_{chain},
          told_{std::move(told)} {}
    Service(const Service&) = delete;
    Service& operator=(const Service&) = delete;
    ~Service();

    void submit(Job& job);

private:
    void work();
    void run_batch(const std::vector<Job*>& batch);
    Result<void> run(const Job& job);

    Chain& chain_;
    const std::function<void(const Error&)> told_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<Job*> jobs_;
    bool stop_ = false;
    std::thread thread_;
};

} // namespace croft::disk
