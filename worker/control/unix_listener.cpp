// SPDX-License-Identifier: Apache-2.0
#include "worker/control/unix_listener.hpp"

#include "worker/error.hpp"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

namespace croft::worker {

namespace {

constexpr int backlog = 8;

const sockaddr* generic(const sockaddr_un& address) {
    return static_cast<const sockaddr*>(static_cast<const void*>(&address));
}

/// Whether somebody listens at a socket file.
bool is_alive(const sockaddr_un& address) {
    const FileDescriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return connect(probe.get(), generic(address), sizeof(address)) == 0 || errno != ECONNREFUSED;
}

} // namespace

UnixListener::UnixListener(std::string path, std::string_view role, std::string_view option)
    : path_(std::move(path)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path_.size() >= sizeof(address.sun_path)) {
        throw SystemError(fmt::format("{} {}: found a path of {} characters, expected at most {}; "
                                      "give a shorter one as {}",
            role, path_, path_.size(), sizeof(address.sun_path) - 1, option));
    }
    std::memcpy(address.sun_path, path_.data(), path_.size());
    FileDescriptor made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct stat status {};
    if (stat(path_.c_str(), &status) == 0 && S_ISSOCK(status.st_mode) && !is_alive(address)) {
        unlink(path_.c_str());
    }
    const mode_t mask = umask(0077);
    const int bound = bind(made.get(), generic(address), sizeof(address));
    const int error = errno;
    umask(mask);
    if (bound != 0) {
        throw SystemError(fmt::format(
            "{} {}: {}; give a path that is free, in a folder that can be written to, as {}", role,
            path_, std::strerror(error), option));
    }
    socket_ = std::move(made);
    if (::listen(socket_.get(), backlog) != 0) {
        const int reason = errno;
        unlink(path_.c_str());
        throw SystemError(fmt::format("{} {}: {}", role, path_, std::strerror(reason)));
    }
}

UnixListener::~UnixListener() {
    unlink(path_.c_str());
}

} // namespace croft::worker
