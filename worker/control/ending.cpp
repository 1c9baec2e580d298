// SPDX-License-Identifier: Apache-2.0
#include "worker/control/ending.hpp"

#include "vsp/threads/named_thread.hpp"
#include "worker/error.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <utility>

namespace croft::worker {

Ending::Ending(std::chrono::milliseconds patience, Steps steps)
    : patience_(patience),
      steps_(std::move(steps)),
      asked_(eventfd(0, EFD_CLOEXEC)),
      closing_(eventfd(0, EFD_CLOEXEC)) {
    block_signals();
    thread_ = vsp::start_thread("end", [this] { watch(); });
}

Ending::~Ending() {
    close();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void Ending::block_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
        sigaddset(&set, number);
    }
    signals_ = FileDescriptor(signalfd(-1, &set, SFD_CLOEXEC));
    if (!signals_ || !asked_ || !closing_) {
        throw SystemError(fmt::format("signals: {}", std::strerror(errno)));
    }
    pthread_sigmask(SIG_BLOCK, &set, &before_);
}

void Ending::ask() {
    eventfd_write(asked_.get(), 1);
}

void Ending::close() {
    if (thread_.joinable()) {
        eventfd_write(closing_.get(), 1);
        thread_.join();
    }
}

/// In milliseconds, as poll wants it.
int Ending::time_left() const {
    if (!deadline_) {
        return -1;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(*deadline_ - Clock::now()).count();
    return static_cast<int>(std::max<std::chrono::milliseconds::rep>(left, 0));
}

void Ending::watch() {
    for (;;) {
        std::array<pollfd, 3> what = {pollfd{closing_.get(), POLLIN, 0},
            pollfd{asked_.get(), POLLIN, 0}, pollfd{signals_.get(), POLLIN, 0}};
        // Asked once, it waits for the end only.
        const int ready = poll(what.data(), deadline_ ? 1 : what.size(), time_left());
        if (ready < 0) {
            continue; // EINTR
        }
        if (what[0].revents != 0) {
            return;
        }
        if (ready == 0) {
            steps_.give_up();
            return;
        }
        if (what[2].revents != 0) {
            signalfd_siginfo taken{};
            (void)read(signals_.get(), &taken, sizeof(taken));
        }
        deadline_ = Clock::now() + patience_;
        steps_.begin();
    }
}

} // namespace croft::worker
