// SPDX-License-Identifier: Apache-2.0
#include "cli/trace_source.hpp"

#include "hv/error.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <string>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace croft::cli {

namespace {

[[noreturn]] void fail(const std::string& what, int error) {
    throw hv::HypervisorError(fmt::format("{}: {}", what, std::strerror(error)), error);
}

class SocketTrace final : public hv::ExitTrace {
public:
    explicit SocketTrace(const std::string& folder)
        : folder_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
          socket_(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
        if (folder_ < 0)
            fail(folder, errno);
        if (flock(folder_, LOCK_EX | LOCK_NB) != 0)
            fail("found somebody who reads the trace of exits already", errno);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        const std::string path = folder + "/socket";
        if (path.size() >= sizeof address.sun_path)
            fail(path, ENAMETOOLONG);
        path.copy(address.sun_path, path.size());
        if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
            fail(path, errno);
    }
    SocketTrace(const SocketTrace&) = delete;
    SocketTrace& operator=(const SocketTrace&) = delete;
    ~SocketTrace() override {
        close(socket_);
        close(folder_);
    }

    hv_exit_trace read(unsigned lp) override { return ask(HV_PARTITION_PROPERTY_EXIT_TRACE + lp); }
    hv_exit_trace end(unsigned lp) override {
        return ask(HV_PARTITION_PROPERTY_EXIT_TRACE_END + lp);
    }

private:
    hv_exit_trace ask(std::uint32_t property) {
        if (send(socket_, &property, sizeof property, MSG_NOSIGNAL) != sizeof property)
            fail("the trace's socket", errno);
        std::array<std::byte, sizeof(std::uint32_t) + sizeof(hv_exit_trace)> bytes{};
        ssize_t count = 0;
        do {
            count = recv(socket_, bytes.data(), bytes.size(), 0);
        } while (count < 0 && errno == EINTR);
        if (count < static_cast<ssize_t>(sizeof(std::uint32_t)))
            fail("the trace's socket", count < 0 ? errno : EPIPE);
        std::uint32_t status = 0;
        std::memcpy(&status, bytes.data(), sizeof status);
        if (status != 0)
            throw hv::HypervisorError("the hypervisor refused to read the trace of exits", EIO,
                static_cast<std::uint16_t>(status));
        hv_exit_trace answer{};
        std::memcpy(&answer, bytes.data() + sizeof status, sizeof answer);
        return answer;
    }

    int folder_;
    int socket_;
};

} // namespace

std::unique_ptr<hv::ExitTrace> open_trace_source() {
    const char* const folder = std::getenv("CROFT_TRACE");
    if (folder != nullptr)
        return std::make_unique<SocketTrace>(folder);
    return hv::open_exit_trace();
}

} // namespace croft::cli
