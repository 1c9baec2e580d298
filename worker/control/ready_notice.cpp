// SPDX-License-Identifier: Apache-2.0
#include "worker/control/ready_notice.hpp"

#include "worker/file_descriptor.hpp"

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>

namespace croft::worker {

void send_ready_notice() {
    const char* const told = std::getenv("NOTIFY_SOCKET");
    const std::string_view path = told != nullptr ? told : "";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof(address.sun_path)) {
        return;
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    if (path.front() == '@') {
        address.sun_path[0] = '\0'; // a name that is no file
    }
    const FileDescriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    constexpr std::string_view notice = "READY=1";
    (void)sendto(socket.get(), notice.data(), notice.size(), MSG_NOSIGNAL,
        static_cast<const sockaddr*>(static_cast<const void*>(&address)),
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size()));
}

} // namespace croft::worker
