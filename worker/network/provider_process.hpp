// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/descriptor.hpp"

#include <chrono>
#include <string>
#include <sys/types.h>
#include <vector>

namespace croft::worker {

/// A service provider's program, running in a process of its own, with a socket to it. It is in a
/// process group of its own, so that the terminal's keys are the worker's only. One thread at a
/// time.
class ProviderProcess {
public:
    /// Starts `program`, which is found by CROFT_NIC, beside the worker's, or where the build or
    /// the installation puts it. It gets `arguments`, and --socket with a descriptor's number.
    /// Errors: SystemError.
    ProviderProcess(const std::string& program, std::vector<std::string> arguments);
    /// Waits a moment for it to end, since its socket has, and else ends it.
    ~ProviderProcess();
    ProviderProcess(const ProviderProcess&) = delete;
    ProviderProcess& operator=(const ProviderProcess&) = delete;

    [[nodiscard]] pid_t id() const { return id_; }
    /// Returns when it has said something on the socket, or has ended. Errors: SystemError if it
    /// does neither in that time.
    void wait_until_heard(std::chrono::milliseconds longest) const;
    /// The worker's end of the socket (SOCK_SEQPACKET); once.
    [[nodiscard]] vmbus::Descriptor take_socket() { return std::move(socket_); }

    /// Ends it at once, if it hasn't ended. Answers how it did, as "was ended by signal 9
    /// (Killed)".
    std::string end();

private:
    void start(const std::string& path, std::vector<std::string> words, int socket);

    const std::string program_;
    vmbus::Descriptor socket_;
    /// Of a process that has not been waited for; else 0.
    pid_t running_ = 0;
    pid_t id_ = 0;
    std::string how_it_ended_;
};

} // namespace croft::worker
