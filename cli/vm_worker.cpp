// SPDX-License-Identifier: Apache-2.0
#include "cli/vm_worker.hpp"

#include "cli/output.hpp"
#include "cli/vm_client.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <poll.h>
#include <string_view>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace croft::cli {

namespace {

constexpr const char* program = "croft-worker";
constexpr int cannot_run = 127;

// Where the worker's program may be: CROFT_WORKER says it; else it is beside croft, in a build tree
// in the folder next to croft's, or on the PATH.
std::string worker_program() {
    if (const char* const told = std::getenv("CROFT_WORKER"); told != nullptr && *told != '\0')
        return told;
    std::error_code error;
    const auto folder = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
    for (const auto& place : {folder / program, folder.parent_path() / "worker" / program}) {
        if (access(place.c_str(), X_OK) == 0)
            return place;
    }
    return program;
}

} // namespace

WorkerProcess::WorkerProcess(const std::string& name, const std::filesystem::path& folder,
    const std::vector<std::string>& arguments)
    : name_{name},
      log_{folder / (name + ".log")},
      notices_path_{folder / (name + ".start")} {
    listen();
    id_ = fork();
    if (id_ == 0)
        become_worker(arguments);
    if (id_ < 0)
        throw VmError(fmt::format("{}: cannot start a process: {}", name, std::strerror(errno)));
}

WorkerProcess::~WorkerProcess() {
    if (notices_ >= 0) {
        close(notices_);
        unlink(notices_path_.c_str());
    }
}

void WorkerProcess::listen() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string& path = notices_path_.native();
    std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
    unlink(path.c_str()); // of a start that was killed
    notices_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (bind(notices_, static_cast<const sockaddr*>(static_cast<const void*>(&address)),
            sizeof address) != 0) {
        const int why = errno;
        close(notices_);
        notices_ = -1;
        throw VmError(
            fmt::format("{}: {}; expected a folder that can be written to: CROFT_VMS names another",
                path, std::strerror(why)));
    }
}

void WorkerProcess::become_worker(const std::vector<std::string>& arguments) const {
    setsid();
    const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int log = open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (dup2(nothing, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
        dup2(log, STDERR_FILENO) < 0)
        _exit(cannot_run);
    setenv("NOTIFY_SOCKET", notices_path_.c_str(), 1);
    const std::string path = worker_program();
    std::vector<std::string> words{path};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    std::ranges::transform(
        words, std::back_inserter(pointers), [](std::string& word) { return word.data(); });
    pointers.push_back(nullptr);
    execvp(path.c_str(), pointers.data());
    fmt::print(stderr, "{}: {}; expected croft's worker: CROFT_WORKER says where it is\n", path,
        std::strerror(errno));
    std::fflush(stderr);
    _exit(cannot_run);
}

void WorkerProcess::wait_until_running() {
    // The C library of Debian 12 declares it for C only.
    const auto process = static_cast<int>(syscall(SYS_pidfd_open, id_, 0));
    std::array<pollfd, 2> ready = {pollfd{notices_, POLLIN, 0}, pollfd{process, POLLIN, 0}};
    while (poll(ready.data(), ready.size(), -1) < 0 && !interrupted) {
    }
    close(process);
    close(notices_);
    unlink(notices_path_.c_str());
    notices_ = -1;
    if (interrupted) {
        kill(id_, SIGTERM);
        waitpid(id_, nullptr, 0);
        throw VmError(fmt::format("{}: ended before it ran", name_));
    }
    if (ready[0].revents == 0)
        throw VmError(wait_for_end().value_or(fmt::format("{}: ended at once", name_)));
}

WorkerProcess::Complaint WorkerProcess::wait_for_end() {
    int status = 0;
    while (waitpid(id_, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status))
        return fmt::format("{}: its worker was ended by signal {} ({})", name_, WTERMSIG(status),
            strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) == 0)
        return std::nullopt;
    const std::string said = last_words();
    return fmt::format("{}: {}", name_,
        said.empty() ? fmt::format("its worker ended with status {}", WEXITSTATUS(status)) : said);
}

// The last line of the log, without the program's name.
std::string WorkerProcess::last_words() const {
    std::ifstream file{log_};
    std::string last;
    for (std::string line; std::getline(file, line);) {
        while (line.ends_with('\r'))
            line.pop_back();
        if (!line.empty())
            last = line;
    }
    const std::string own = std::string{program} + ": ";
    return last.starts_with(own) ? last.substr(own.size()) : last;
}

} // namespace croft::cli
