// SPDX-License-Identifier: Apache-2.0
#include "cli/vm_client.hpp"

#include "cli/output.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace croft::cli {

using nlohmann::json;

namespace {

constexpr std::string_view suffix = ".sock";
// Of the sockets in the folder; a name has to leave room for it.
constexpr std::string_view longest_suffix = ".console";
constexpr std::size_t longest_answer = 16U << 20U;

} // namespace

std::filesystem::path vm_directory() {
    if (const char* const told = std::getenv("CROFT_VMS"); told != nullptr && *told != '\0')
        return told;
    if (geteuid() == 0)
        return "/run/croft/vm";
    if (const char* const own = std::getenv("XDG_RUNTIME_DIR"); own != nullptr && *own != '\0')
        return std::filesystem::path{own} / "croft" / "vm";
    return fmt::format("/tmp/croft-{}/vm", geteuid());
}

std::vector<std::string> vm_names() {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(vm_directory(), error)) {
        if (entry.is_socket(error) && entry.path().extension() == suffix)
            names.push_back(entry.path().stem());
    }
    std::ranges::sort(names);
    return names;
}

void check_vm_name(const std::string& name) {
    const std::size_t longest = sizeof(sockaddr_un::sun_path) - 1 - longest_suffix.size();
    if (name.empty() || name.contains('/') || (vm_directory() / name).string().size() > longest)
        throw VmError(
            fmt::format("'{}' is no name of a VM; expected a short one without '/'", name));
}

std::filesystem::path vm_socket(const std::string& name) {
    return vm_directory() / (name + std::string{suffix});
}

UnixSocket::UnixSocket(
    const std::string& name, const std::filesystem::path& path, const std::string& what)
    : socket_{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string& text = path.native();
    std::memcpy(address.sun_path, text.data(), std::min(text.size(), sizeof address.sun_path - 1));
    const auto* const generic = static_cast<const sockaddr*>(static_cast<const void*>(&address));
    if (connect(socket_, generic, sizeof address) == 0)
        return;
    const int why = errno;
    close(socket_);
    throw VmError(fmt::format("{}: found {} {}, expected the {} of a running VM; 'croft vm list' "
                              "shows those there are",
        name,
        why == ECONNREFUSED ? "nobody behind"
            : why == ENOENT ? "no"
                            : "an unusable",
        text, what));
}

UnixSocket::~UnixSocket() {
    close(socket_);
}

VmClient::VmClient(const std::string& name)
    : name_{name},
      socket_{(check_vm_name(name), name), vm_socket(name), "control socket"} {}

json VmClient::ask(const json& request) {
    const std::string line = request.dump() + "\n";
    if (send(socket_.descriptor(), line.data(), line.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(line.size()))
        throw VmError(fmt::format("{}: its worker has ended", name_));
    while (!input_.contains('\n')) {
        std::array<char, 4096> buffer;
        const ssize_t got = recv(socket_.descriptor(), buffer.data(), buffer.size(), 0);
        if (got < 0 && errno == EINTR && !interrupted)
            continue;
        if (got <= 0 || input_.size() > longest_answer)
            throw VmError(fmt::format("{}: its worker ended before it answered", name_));
        input_.append(buffer.data(), static_cast<std::size_t>(got));
    }
    const std::size_t end = input_.find('\n');
    json answer = json::parse(input_.substr(0, end), nullptr, false);
    input_.erase(0, end + 1);
    if (!answer.is_object())
        throw VmError(
            fmt::format("{}: found an answer of its worker that is no JSON object", name_));
    if (!answer.value("ok", false))
        throw VmError(
            fmt::format("{}: {}", name_, answer.value("error", "refused without a reason")));
    return answer;
}

bool VmClient::wait_for_end(int milliseconds) {
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::milliseconds{milliseconds};
    pollfd ready{socket_.descriptor(), POLLIN, 0};
    while (!interrupted) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
        const int found =
            poll(&ready, 1, milliseconds < 0 ? -1 : static_cast<int>(std::max<long>(left, 0)));
        std::array<char, 4096> buffer;
        if (found > 0 && recv(socket_.descriptor(), buffer.data(), buffer.size(), 0) <= 0)
            return true;
        if (found == 0)
            return false;
    }
    return false;
}

} // namespace croft::cli
