// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace croft::cli {

// A worker that this process has started: in a session of its own, so that it survives the
// terminal, with what it says in a log.
class WorkerProcess {
public:
    // How it ended, in a line for people; nothing where that is what everybody wanted.
    using Complaint = std::optional<std::string>;

    // `folder` is where the VM's log is, and for a moment the socket on which the worker says that
    // the VM runs. Errors: VmError.
    WorkerProcess(const std::string& name, const std::filesystem::path& folder,
        const std::vector<std::string>& arguments);
    // Lets it run on.
    ~WorkerProcess();
    WorkerProcess(const WorkerProcess&) = delete;
    WorkerProcess& operator=(const WorkerProcess&) = delete;

    // Returns when the VM runs. Errors: VmError with the worker's own line if it can't be started,
    // or if the user doesn't want it any more.
    void wait_until_running();
    Complaint wait_for_end();

    pid_t id() const { return id_; }
    const std::filesystem::path& log() const { return log_; }

private:
    void listen();
    [[noreturn]] void become_worker(const std::vector<std::string>& arguments) const;
    std::string last_words() const;

    std::string name_;
    std::filesystem::path log_;
    std::filesystem::path notices_path_;
    int notices_ = -1;
    pid_t id_ = -1;
};

} // namespace croft::cli
