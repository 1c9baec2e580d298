// SPDX-License-Identifier: Apache-2.0
#include "cli/vm_console.hpp"

#include "cli/vm_client.hpp"
#include "cli/vm_command.hpp"
#include "worker/console/raw_terminal.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <poll.h>
#include <span>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace croft::cli {

namespace {

constexpr char detach_key = 0x1d; // Ctrl-], as of telnet and virsh
constexpr std::string_view console_kind = "unix:";

// As much is read from a file or a pipe ahead of what the guest takes.
constexpr std::size_t most_ahead = 65536;

// SIGINT and SIGTERM arrive only while `wait` waits, so none is missed between a look and a wait.
class SignalWindow {
public:
    SignalWindow() {
        sigset_t ours;
        sigemptyset(&ours);
        sigaddset(&ours, SIGINT);
        sigaddset(&ours, SIGTERM);
        sigprocmask(SIG_BLOCK, &ours, &before_);
    }
    ~SignalWindow() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
    SignalWindow(const SignalWindow&) = delete;
    SignalWindow& operator=(const SignalWindow&) = delete;

    void wait(std::span<pollfd> what) const {
        if (ppoll(what.data(), what.size(), nullptr, &before_) < 0)
            std::ranges::for_each(what, [](pollfd& it) { it.revents = 0; });
    }

private:
    sigset_t before_{};
};

// Writes all of it; false if nobody reads it any more.
bool show(std::span<const char> output) {
    while (!output.empty()) {
        const ssize_t written = write(STDOUT_FILENO, output.data(), output.size());
        if (written < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        if (written > 0)
            output = output.subspan(static_cast<std::size_t>(written));
    }
    return true;
}

// What goes between this side and a VM's console.
class Conversation {
public:
    explicit Conversation(int socket) : socket_{socket} {}

    ConsoleEnd run() {
        const worker::RawTerminal terminal{STDIN_FILENO};
        has_terminal_ = terminal.is_terminal();
        const SignalWindow signals;
        while (!interrupted) {
            std::array<pollfd, 2> ready = {pollfd{wants_input() ? STDIN_FILENO : -1, POLLIN, 0},
                pollfd{socket_, static_cast<short>(input_.empty() ? POLLIN : POLLIN | POLLOUT), 0}};
            signals.wait(ready);
            if (ready[0].revents != 0 && !take_input())
                return leave();
            if ((ready[1].revents & POLLOUT) != 0)
                pass_input();
            if ((ready[1].revents & ~POLLOUT) != 0) {
                if (const auto end = pass_output())
                    return *end;
            }
        }
        leave();
        return ConsoleEnd::stopped;
    }

private:
    bool wants_input() const {
        // A terminal is always listened to, for its key.
        return !input_ended_ && (has_terminal_ || input_.size() < most_ahead);
    }

    // False if it is the key.
    bool take_input() {
        std::array<char, 4096> buffer;
        const ssize_t got = read(STDIN_FILENO, buffer.data(), buffer.size());
        if (got <= 0) {
            input_ended_ = got == 0 || (errno != EINTR && errno != EAGAIN);
            return true;
        }
        const std::span typed{buffer.data(), static_cast<std::size_t>(got)};
        const auto key = has_terminal_ ? std::ranges::find(typed, detach_key) : typed.end();
        if (input_.size() < most_ahead)
            input_.append(typed.begin(), key);
        pass_input();
        return key == typed.end();
    }

    void pass_input() {
        const ssize_t sent =
            send(socket_, input_.data(), input_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0)
            input_.erase(0, static_cast<std::size_t>(sent));
    }

    std::optional<ConsoleEnd> pass_output() const {
        std::array<char, 65536> buffer;
        const ssize_t got = recv(socket_, buffer.data(), buffer.size(), 0);
        if (got < 0 && errno == EINTR)
            return std::nullopt;
        if (got <= 0)
            return ConsoleEnd::ended;
        if (!show({buffer.data(), static_cast<std::size_t>(got)}))
            return ConsoleEnd::detached;
        return std::nullopt;
    }

    // What was sent to us counts as seen: it is shown before we go.
    ConsoleEnd leave() const {
        shutdown(socket_, SHUT_WR);
        constexpr timeval patience{.tv_sec = 2, .tv_usec = 0};
        setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        while (!pass_output()) {
        }
        return ConsoleEnd::detached;
    }

    int socket_;
    bool has_terminal_ = false;
    bool input_ended_ = false;
    std::string input_; // that the socket had no room for
};

Exit watch_console(const VmWords& words) {
    const nlohmann::json status = VmClient{words.name}.ask({{"command", "status"}});
    const nlohmann::json::json_pointer place{"/settings/serial_ports/0/connection"};
    const std::string connection = status.contains(place) ? status.at(place) : "none";
    if (!connection.starts_with(console_kind))
        throw VmError(fmt::format("{}: found its console at {}, expected a socket as 'croft vm "
                                  "run' makes one",
            words.name, connection));
    switch (attach_console(words.name, connection.substr(console_kind.size()))) {
    case ConsoleEnd::stopped:
        return Exit::interrupted;
    case ConsoleEnd::ended:
        note(fmt::format("{}: it has ended", words.name));
        break;
    case ConsoleEnd::detached:
        break;
    }
    return Exit::success;
}

} // namespace

ConsoleEnd attach_console(const std::string& name, const std::string& socket) {
    const UnixSocket connection{name, socket, "console"};
    const bool on_terminal = isatty(STDIN_FILENO) != 0;
    if (on_terminal)
        note(fmt::format("{}: this is its console; Ctrl-] leaves it, and the VM runs on", name));
    const ConsoleEnd end = Conversation{connection.descriptor()}.run();
    if (on_terminal && end == ConsoleEnd::detached) {
        fmt::print(stderr, "\n");
        note(fmt::format("{0}: runs on; 'croft vm console {0}' is its console again", name));
    }
    return end;
}

void add_console_command(CLI::App& vm, Exit& exit) {
    const auto words = std::make_shared<VmWords>();
    add_vm_name(add_vm_command(vm, exit, "console", "Be a VM's console; Ctrl-] leaves it", words,
                    [words] { return watch_console(*words); }),
        *words);
}

} // namespace croft::cli
