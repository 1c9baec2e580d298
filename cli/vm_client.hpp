// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace croft::cli {

// One line that says what was found, what was expected and what to do.
class VmError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// Where workers put their control sockets, NAME.sock each: CROFT_VMS, else /run/croft/vm for root
// and a folder of the user's own for others.
std::filesystem::path vm_directory();

// The names of the VMs that have a socket there, in their order.
std::vector<std::string> vm_names();

// Refuses what cannot be a VM's name. Errors: VmError.
void check_vm_name(const std::string& name);

// Where the worker of a VM of that name listens to commands.
std::filesystem::path vm_socket(const std::string& name);

// A connection to a socket of a VM.
class UnixSocket {
public:
    // `what` is what messages call the socket. Errors: VmError if nobody listens there.
    UnixSocket(const std::string& name, const std::filesystem::path& path, const std::string& what);
    ~UnixSocket();
    UnixSocket(const UnixSocket&) = delete;
    UnixSocket& operator=(const UnixSocket&) = delete;

    int descriptor() const { return socket_; }

private:
    int socket_;
};

// A conversation with a VM's worker (croft-worker(1), CONTROL SOCKET).
class VmClient {
public:
    // Errors: VmError if there is no such VM.
    explicit VmClient(const std::string& name);

    // Asks, and answers what the worker answers. Errors: VmError with what the worker says against
    // it, or if it has ended.
    nlohmann::json ask(const nlohmann::json& request);
    // Returns when the worker has ended; false if `milliseconds` were over first (-1: no limit).
    bool wait_for_end(int milliseconds);

private:
    std::string name_;
    UnixSocket socket_;
    std::string input_;
};

} // namespace croft::cli
