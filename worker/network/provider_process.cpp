// SPDX-License-Identifier: Apache-2.0
#include "worker/network/provider_process.hpp"

#include "worker/error.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace croft::worker {

namespace {

/// The socket's number in the process.
constexpr int socket_there = 3;
constexpr int moment = 2000; // milliseconds

std::string find_program(const std::string& program) {
    if (const char* const told = std::getenv("CROFT_NIC"); told != nullptr && *told != '\0') {
        return told;
    }
    std::error_code error;
    const auto folder = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
    const std::array places = {folder / program, folder.parent_path() / "libexec" / program,
        folder.parent_path() / "provider" / program};
    const auto* const found = std::ranges::find_if(
        places, [](const auto& place) { return access(place.c_str(), X_OK) == 0; });
    return found != places.end() ? *found : places.front();
}

std::string describe_end(int status) {
    return WIFSIGNALED(status)
        ? fmt::format("was ended by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)))
        : fmt::format("ended with status {}", WEXITSTATUS(status));
}

/// What the process begins with: the socket, standard error, and signals as they are by default.
class Beginnings {
public:
    explicit Beginnings(int socket) {
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&files, socket, socket_there);
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
        sigset_t none;
        sigemptyset(&none);
        posix_spawnattr_setsigmask(&attributes, &none);
    }
    ~Beginnings() {
        posix_spawn_file_actions_destroy(&files);
        posix_spawnattr_destroy(&attributes);
    }
    Beginnings(const Beginnings&) = delete;
    Beginnings& operator=(const Beginnings&) = delete;

    posix_spawn_file_actions_t files{};
    posix_spawnattr_t attributes{};
};

} // namespace

ProviderProcess::ProviderProcess(const std::string& program, std::vector<std::string> arguments)
    : program_(program) {
    std::array<int, 2> ends{-1, -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        throw SystemError(fmt::format("{}: can't make a socket for it: {}; raise the limit on open "
                                      "files",
            program, std::strerror(errno)));
    }
    socket_ = vmbus::Descriptor(ends[0]);
    const vmbus::Descriptor theirs(ends[1]);
    arguments.insert(arguments.begin(), program);
    arguments.insert(arguments.end(), {"--socket", fmt::format("{}", socket_there)});
    start(find_program(program), std::move(arguments), theirs.get());
}

void ProviderProcess::start(const std::string& path, std::vector<std::string> words, int socket) {
    std::vector<char*> pointers;
    std::ranges::transform(
        words, std::back_inserter(pointers), [](std::string& word) { return word.data(); });
    pointers.push_back(nullptr);
    const Beginnings beginnings(socket);
    const int error = posix_spawn(
        &id_, path.c_str(), &beginnings.files, &beginnings.attributes, pointers.data(), environ);
    if (error != 0) {
        throw SystemError(fmt::format("{}: can't start {}: {}, expected croft's program for a "
                                      "network adapter; CROFT_NIC says where it is",
            program_, path, std::strerror(error)));
    }
    running_ = id_;
}

ProviderProcess::~ProviderProcess() {
    socket_ = vmbus::Descriptor();
    if (running_ != 0) {
        // The C library of Debian 12 declares it for C only.
        const vmbus::Descriptor process(static_cast<int>(syscall(SYS_pidfd_open, running_, 0)));
        pollfd ended{process.get(), POLLIN, 0};
        (void)poll(&ended, 1, moment);
    }
    (void)end();
}

void ProviderProcess::wait_until_heard(std::chrono::milliseconds longest) const {
    pollfd heard{socket_.get(), POLLIN, 0};
    if (poll(&heard, 1, static_cast<int>(longest.count())) == 0) {
        throw SystemError(fmt::format("{}: found it silent for {} ms after its start, expected a "
                                      "greeting; see what holds it up",
            program_, longest.count()));
    }
}

/// What has ended already has its own status, and whoever is killed needs but an instant.
std::string ProviderProcess::end() {
    if (running_ != 0) {
        kill(running_, SIGKILL);
        int status = 0;
        while (waitpid(running_, &status, 0) < 0 && errno == EINTR) {
        }
        running_ = 0;
        how_it_ended_ = describe_end(status);
    }
    return how_it_ended_;
}

} // namespace croft::worker
