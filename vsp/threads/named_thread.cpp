// SPDX-License-Identifier: Apache-2.0
#include "vsp/threads/named_thread.hpp"

#include <csignal>
#include <pthread.h>
#include <utility>

namespace croft::vsp {

std::thread start_thread(const std::string& name, std::function<void()> function) {
    // A new thread inherits the mask of its maker.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread thread([name, function = std::move(function)] {
        pthread_setname_np(pthread_self(), name.c_str());
        function();
    });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return thread;
}

} // namespace croft::vsp
