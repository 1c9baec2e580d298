// SPDX-License-Identifier: Apache-2.0
#include "disk/service.hpp"

#include <utility>

namespace croft::disk {

Service::~Service() {
    {
        const std::lock_guard lock{mutex_};
        stop_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable())
        thread_.join();
}

void Service::submit(Job& job) {
    const std::lock_guard lock{mutex_};
    jobs_.push_back(&job);
    if (!thread_.joinable())
        thread_ = std::thread{[this] {
            work();
        }};
    else if (jobs_.size() == 1)
        wake_.notify_one();
}

void Service::work() {
    std::unique_lock lock{mutex_};
    for (;;) {
        wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
        if (jobs_.empty())
            return;
        const std::vector<Job*> batch = std::exchange(jobs_, {});
        lock.unlock();
        run_batch(batch);
        lock.lock();
    }
}

// Flushes come last and are served by one: each covers what completed before it was submitted, and
// all of that lies before this moment. What merely waits for metadata does not wait for them.
void Service::run_batch(const std::vector<Job*>& batch) {
    const auto answer = [this](Job& job, const Result<void>& outcome) {
        if (!outcome)
            told_(outcome.error());
        job.job_status = outcome ? Status{} : outcome.error().status();
        job.ring->post(job, 0);
    };
    std::vector<Job*> flushes;
    for (Job* job : batch) {
        if (job->kind == Job::Kind::flush)
            flushes.push_back(job);
        else
            answer(*job, run(*job));
    }
    if (flushes.empty())
        return;
    const Result<void> outcome = chain_.flush();
    for (Job* job : flushes)
        answer(*job, outcome);
}

Result<void> Service::run(const Job& job) {
    switch (job.kind) {
    case Job::Kind::prepare_read:
        return job.image->prepare(job.offset, job.length, Image::Access::read);
    case Job::Kind::prepare_write:
        return job.image->prepare(job.offset, job.length, Image::Access::write);
    case Job::Kind::flush:
        return chain_.flush();
    case Job::Kind::discard:
        return chain_.discard(job.offset, job.length);
    case Job::Kind::write_zeroes:
        return chain_.write_zeroes(job.offset, job.length);
    }
    return {};
}

} // namespace croft::disk
