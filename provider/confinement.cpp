// SPDX-License-Identifier: Apache-2.0
#include "provider/confinement.hpp"

#include "vdev/error.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fmt/format.h>
#include <linux/capability.h>
#include <string_view>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace croft::provider {

namespace {

[[noreturn]] void refuse(std::string_view what) {
    throw vdev::DeviceError(
        fmt::format("{}: {}, expected that to be allowed; run on Linux 5.9 or newer", what,
            std::strerror(errno)));
}

void close_between(unsigned first, unsigned last) {
    if (first <= last && close_range(first, last, 0) != 0) {
        refuse("closing what was inherited");
    }
}

} // namespace

void confine(int kept) {
    close_between(STDERR_FILENO + 1, static_cast<unsigned>(kept) - 1);
    close_between(static_cast<unsigned>(kept) + 1, ~0U);
    // Should the worker be gone already, its end of the socket is too.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        refuse("ending with the worker");
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        refuse("giving up new rights");
    }
}

void drop_capabilities() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
    if (syscall(SYS_capset, &header, none.data()) != 0) {
        refuse("giving up capabilities");
    }
}

} // namespace croft::provider
