// SPDX-License-Identifier: Apache-2.0
//
// croft-agent: runs commands in the root for the lab, several at once, over a virtio-serial port.
// It is the root's first process, so it also reaps what nobody else waits for; that it must not die
// is why nothing here throws for a cause that comes from outside.

#include "lab/agent/protocol.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <linux/netlink.h>
#include <map>
#include <memory>
#include <poll.h>
#include <span>
#include <string>
#include <string_view>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace croft::agent {
namespace {

constexpr std::string_view port_name = "croft.agent";

// Beyond this much unsent output, commands are not read from: they wait, as with any full pipe.
constexpr std::size_t output_limit = 1024 * 1024;

class Descriptor final {
public:
    Descriptor() = default;
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() { reset(); }

    void reset() {
        if (fd_ >= 0) {
            close(std::exchange(fd_, -1));
        }
    }
    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] bool valid() const { return fd_ >= 0; }

private:
    int fd_ = -1;
};

[[noreturn]] void die(const std::string& what) {
    std::fprintf(stderr, "croft-agent: %s: %s\n", what.c_str(), std::strerror(errno));
    std::exit(1);
}

void set_nonblocking(int fd) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

struct Pipe {
    Descriptor reader;
    Descriptor writer;
};

bool make_pipe(Pipe& pipe) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) {
        return false;
    }
    pipe.reader = Descriptor(ends[0]);
    pipe.writer = Descriptor(ends[1]);
    return true;
}

struct StartRequest {
    bool terminal = false;
    winsize size{};
    std::string directory;
    std::vector<std::string> arguments;
    std::vector<std::string> environment;
};

// Answers false if the payload isn't what the protocol says.
bool parse_start(std::span<const char> payload, StartRequest& request) {
    StartHeader header{};
    if (payload.size() < sizeof header) {
        return false;
    }
    std::memcpy(&header, payload.data(), sizeof header);
    std::vector<std::string> strings;
    std::string_view rest(payload.data() + sizeof header, payload.size() - sizeof header);
    while (!rest.empty()) {
        const auto end = rest.find('\0');
        if (end == std::string_view::npos) {
            return false;
        }
        strings.emplace_back(rest.substr(0, end));
        rest.remove_prefix(end + 1);
    }
    const std::size_t expected =
        std::size_t{1} + std::size_t{header.arguments} + std::size_t{header.environment};
    if (header.arguments == 0 || strings.size() != expected) {
        return false;
    }
    request.terminal = header.terminal != 0;
    request.size.ws_row = header.rows;
    request.size.ws_col = header.columns;
    request.directory = strings[0];
    const auto first = strings.begin() + 1;
    request.arguments.assign(first, first + header.arguments);
    request.environment.assign(first + header.arguments, strings.end());
    return true;
}

// In the child process, between fork and exec: reports a failure through `report` and ends.
[[noreturn]] void become(
    const StartRequest& request, int input, int output, int error, bool terminal, int report) {
    auto fail = [report](const char* what, const std::string& subject) {
        const std::string text = std::string(what) + " '" + subject + "': " + std::strerror(errno);
        [[maybe_unused]] const auto written = write(report, text.data(), text.size());
        _exit(127);
    };
    setsid();
    if (terminal && ioctl(input, TIOCSCTTY, 0) != 0) {
        fail("cannot take the terminal for", request.arguments[0]);
    }
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(error, STDERR_FILENO);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    std::signal(SIGPIPE, SIG_DFL);
    if (!request.directory.empty() && chdir(request.directory.c_str()) != 0) {
        fail("cannot enter directory", request.directory);
    }
    for (const auto& setting : request.environment) {
        const auto equals = setting.find('=');
        if (equals != std::string::npos) {
            setenv(setting.substr(0, equals).c_str(), setting.c_str() + equals + 1, 1);
        }
    }
    std::vector<char*> arguments;
    arguments.reserve(request.arguments.size() + 1);
    for (const auto& argument : request.arguments) {
        arguments.push_back(const_cast<char*>(argument.c_str()));
    }
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    fail("cannot run", request.arguments[0]);
    _exit(127);
}

// One command and its three streams. On a terminal, `input_` and `output_` are the same device.
class Command final {
public:
    // Answers why it couldn't be started, or an empty text.
    std::string start(const StartRequest& request) {
        Pipe input;
        Pipe output;
        Pipe error;
        Pipe report;
        if (!make_pipe(report)) {
            return std::string("cannot make a pipe: ") + std::strerror(errno);
        }
        Descriptor terminal;
        if (request.terminal) {
            std::string problem = open_terminal(request.size, terminal);
            if (!problem.empty()) {
                return problem;
            }
        } else if (!make_pipe(input) || !make_pipe(output) || !make_pipe(error)) {
            return std::string("cannot make a pipe: ") + std::strerror(errno);
        }
        process_ = fork();
        if (process_ < 0) {
            return std::string("cannot fork: ") + std::strerror(errno);
        }
        if (process_ == 0) {
            if (request.terminal) {
                const int fd = terminal.get();
                become(request, fd, fd, fd, true, report.writer.get());
            }
            become(request, input.reader.get(), output.writer.get(), error.writer.get(), false,
                report.writer.get());
        }
        report.writer.reset();
        // exec closes the other end without a word; this waits for no longer than that takes.
        std::string problem;
        std::array<char, 512> text{};
        for (;;) {
            const auto count = read(report.reader.get(), text.data(), text.size());
            if (count > 0) {
                problem.append(text.data(), static_cast<std::size_t>(count));
            } else if (count == 0 || errno != EINTR) {
                break;
            }
        }
        if (!problem.empty()) {
            waitpid(process_, nullptr, 0);
            process_ = -1;
            return problem;
        }
        if (!request.terminal) {
            input_ = std::move(input.writer);
            output_ = std::move(output.reader);
            error_ = std::move(error.reader);
            set_nonblocking(input_.get());
            set_nonblocking(error_.get());
        }
        set_nonblocking(output_.get());
        return {};
    }

    [[nodiscard]] pid_t process() const { return process_; }
    [[nodiscard]] Descriptor& output() { return output_; }
    [[nodiscard]] Descriptor& error() { return error_; }
    [[nodiscard]] int input_fd() const { return on_terminal_ ? output_.get() : input_.get(); }
    [[nodiscard]] bool wants_input() const { return !pending_.empty() && input_fd() >= 0; }

    void queue_input(std::span<const char> bytes) {
        if (bytes.empty()) {
            input_ends_ = true;
            finish_input();
        } else {
            pending_.append(bytes.data(), bytes.size());
        }
    }

    // Hands on as much input as the command takes now; answers how much of the lab's window is
    // free again.
    std::uint32_t feed() {
        std::size_t taken = 0;
        while (wants_input()) {
            const auto count = write(input_fd(), pending_.data(), pending_.size());
            if (count > 0) {
                taken += static_cast<std::size_t>(count);
                pending_.erase(0, static_cast<std::size_t>(count));
            } else if (errno == EAGAIN) {
                break;
            } else if (errno != EINTR) {
                // The reader is gone: what else comes is swallowed, as a shell's pipe would.
                taken += pending_.size();
                pending_.clear();
                if (!on_terminal_) {
                    input_.reset();
                }
            }
        }
        if (input_fd() < 0) {
            taken += pending_.size();
            pending_.clear();
        }
        finish_input();
        return static_cast<std::uint32_t>(taken);
    }

    void send_signal(int signal) const {
        if (process_ > 0) {
            kill(-process_, signal);
        }
    }

    void resize(std::uint16_t rows, std::uint16_t columns) const {
        if (on_terminal_) {
            winsize size{};
            size.ws_row = rows;
            size.ws_col = columns;
            ioctl(output_.get(), TIOCSWINSZ, &size);
        }
    }

private:
    std::string open_terminal(const winsize& size, Descriptor& other_end) {
        output_ = Descriptor(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
        std::array<char, 64> name{};
        if (!output_.valid() || grantpt(output_.get()) != 0 || unlockpt(output_.get()) != 0 ||
            ptsname_r(output_.get(), name.data(), name.size()) != 0) {
            return std::string("cannot open a pseudo-terminal: ") + std::strerror(errno);
        }
        ioctl(output_.get(), TIOCSWINSZ, &size);
        other_end = Descriptor(open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
        if (!other_end.valid()) {
            return std::string("cannot open ") + name.data() + ": " + std::strerror(errno);
        }
        on_terminal_ = true;
        return {};
    }

    void finish_input() {
        if (input_ends_ && pending_.empty() && !on_terminal_) {
            input_.reset();
        }
    }

    pid_t process_ = -1;
    bool on_terminal_ = false;
    bool input_ends_ = false;
    Descriptor input_;
    Descriptor output_;
    Descriptor error_;
    std::string pending_;
};

class Agent final {
public:
    explicit Agent(Descriptor port, Descriptor signals)
        : port_(std::move(port)),
          signals_(std::move(signals)) {
        set_nonblocking(port_.get());
        const auto version = protocol_version;
        send(FrameType::hello, 0, as_bytes(version));
    }

    [[noreturn]] void run() {
        for (;;) {
            wait_and_serve();
        }
    }

private:
    template <typename Value>
    static std::span<const char> as_bytes(const Value& value) {
        return {reinterpret_cast<const char*>(&value), sizeof value};
    }

    void send(FrameType type, std::uint32_t channel, std::span<const char> payload) {
        const FrameHeader header{
            frame_magic, type, channel, static_cast<std::uint32_t>(payload.size())};
        outgoing_.append(reinterpret_cast<const char*>(&header), sizeof header);
        outgoing_.append(payload.data(), payload.size());
    }

    void wait_and_serve() {
        std::vector<pollfd> waiting;
        const auto watch = [&waiting](int fd, short events) {
            waiting.push_back({.fd = fd, .events = events, .revents = 0});
        };
        watch(signals_.get(), POLLIN);
        // With nobody at the other end the port always reports a hang-up; the SIGIO that its
        // driver sends on a change comes through signals_.
        if (connected_) {
            watch(port_.get(), static_cast<short>(outgoing_.empty() ? POLLIN : POLLIN | POLLOUT));
        }
        const bool room = outgoing_.size() < output_limit;
        for (auto& [channel, command] : commands_) {
            if (room && command->output().valid()) {
                watch(command->output().get(), POLLIN);
            }
            if (room && command->error().valid()) {
                watch(command->error().get(), POLLIN);
            }
            if (command->wants_input()) {
                watch(command->input_fd(), POLLOUT);
            }
        }
        if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) {
            die("poll");
        }
        for (const auto& entry : waiting) {
            if (entry.revents != 0 && entry.fd == port_.get()) {
                if ((entry.revents & POLLIN) != 0) {
                    receive();
                } else if ((entry.revents & POLLHUP) != 0) {
                    connected_ = false;
                }
            }
        }
        for (auto& [channel, command] : commands_) {
            if (const auto taken = command->feed(); taken != 0) {
                send(FrameType::consumed, channel, as_bytes(taken));
            }
            if (outgoing_.size() < output_limit) {
                forward(channel, FrameType::output, command->output());
                forward(channel, FrameType::error, command->error());
            }
        }
        handle_signals();
        flush();
    }

    // Sends on what the stream holds now, up to one frame; closes it at its end.
    bool forward(std::uint32_t channel, FrameType type, Descriptor& stream) {
        if (!stream.valid()) {
            return false;
        }
        const auto count = read(stream.get(), buffer_.data(), buffer_.size());
        if (count > 0) {
            send(type, channel, std::span(buffer_).first(static_cast<std::size_t>(count)));
            return true;
        }
        if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
            stream.reset();
        }
        return false;
    }

    void handle_signals() {
        signalfd_siginfo info{};
        while (read(signals_.get(), &info, sizeof info) == sizeof info) {
            if (info.ssi_signo == SIGIO) {
                connected_ = true;
            }
        }
        // One SIGCHLD may stand for several children.
        int status = 0;
        for (pid_t process = 0; (process = waitpid(-1, &status, WNOHANG)) > 0;) {
            finish(process, status);
        }
    }

    void finish(pid_t process, int status) {
        for (auto entry = commands_.begin(); entry != commands_.end(); ++entry) {
            auto& [channel, command] = *entry;
            if (command->process() != process) {
                continue;
            }
            // Its own words come before the news of its end. What a process that it left behind
            // may still say has no reader, so that the end can't be held up.
            while (forward(channel, FrameType::output, command->output())) {
            }
            while (forward(channel, FrameType::error, command->error())) {
            }
            const std::uint32_t code = WIFSIGNALED(status)
                ? 256 + static_cast<std::uint32_t>(WTERMSIG(status))
                : static_cast<std::uint32_t>(WEXITSTATUS(status));
            send(FrameType::exited, channel, as_bytes(code));
            commands_.erase(entry);
            return;
        }
    }

    void flush() {
        std::size_t sent = 0;
        while (sent < outgoing_.size()) {
            const auto count = write(port_.get(), outgoing_.data() + sent, outgoing_.size() - sent);
            if (count > 0) {
                sent += static_cast<std::size_t>(count);
            } else if (count == 0 || errno == EAGAIN) {
                break;
            } else if (errno == EPIPE || errno == ENODEV) {
                connected_ = false;
                break;
            } else if (errno != EINTR) {
                die("write to the port");
            }
        }
        outgoing_.erase(0, sent);
    }

    void receive() {
        for (;;) {
            const auto count = read(port_.get(), buffer_.data(), buffer_.size());
            if (count > 0) {
                incoming_.append(buffer_.data(), static_cast<std::size_t>(count));
                continue;
            }
            if (count < 0 && errno == EINTR) {
                continue;
            }
            break;
        }
        std::size_t taken = 0;
        while (incoming_.size() - taken >= sizeof(FrameHeader)) {
            FrameHeader header{};
            std::memcpy(&header, incoming_.data() + taken, sizeof header);
            if (header.magic != frame_magic || header.length > max_payload) {
                // Bytes of a frame whose head went to the root before this one: the lab starts
                // a frame only after our hello, so the next magic number is a true one.
                ++taken;
                continue;
            }
            if (incoming_.size() - taken - sizeof header < header.length) {
                break;
            }
            handle(header, {incoming_.data() + taken + sizeof header, header.length});
            taken += sizeof header + header.length;
        }
        incoming_.erase(0, taken);
    }

    void handle(const FrameHeader& header, std::span<const char> payload) {
        if (header.type == FrameType::start) {
            start(header.channel, payload);
            return;
        }
        // A frame for a command that has just ended is no error: the lab couldn't know yet.
        const auto entry = commands_.find(header.channel);
        if (entry == commands_.end()) {
            return;
        }
        Command& command = *entry->second;
        switch (header.type) {
        case FrameType::input:
            command.queue_input(payload);
            break;
        case FrameType::signal: {
            std::uint32_t signal = 0;
            if (payload.size() == sizeof signal) {
                std::memcpy(&signal, payload.data(), sizeof signal);
                command.send_signal(static_cast<int>(signal));
            }
            break;
        }
        case FrameType::resize: {
            std::array<std::uint16_t, 2> size{};
            if (payload.size() == sizeof size) {
                std::memcpy(size.data(), payload.data(), sizeof size);
                command.resize(size[0], size[1]);
            }
            break;
        }
        default:
            std::fprintf(stderr, "croft-agent: frame of type %u; expected 1 to 4: ignored\n",
                static_cast<unsigned>(header.type));
        }
    }

    void start(std::uint32_t channel, std::span<const char> payload) {
        StartRequest request;
        std::string problem = "the start frame is malformed";
        if (parse_start(payload, request)) {
            auto command = std::make_unique<Command>();
            problem = command->start(request);
            if (problem.empty()) {
                commands_[channel] = std::move(command);
                return;
            }
        }
        send(FrameType::failed, channel, problem);
    }

    Descriptor port_;
    Descriptor signals_;
    bool connected_ = true;
    std::map<std::uint32_t, std::unique_ptr<Command>> commands_;
    std::string incoming_;
    std::string outgoing_;
    std::array<char, max_payload> buffer_{};
};

// The device file of the port, or an empty text if the kernel hasn't announced it.
std::string find_port() {
    const std::string directory = "/sys/class/virtio-ports";
    const std::unique_ptr<DIR, int (*)(DIR*)> ports(opendir(directory.c_str()), closedir);
    if (ports == nullptr) {
        return {};
    }
    while (const dirent* entry = readdir(ports.get())) {
        const std::string device = entry->d_name;
        std::string path = directory;
        path.append("/").append(device).append("/name");
        std::ifstream file(path);
        std::string name;
        if (std::getline(file, name) && name == port_name) {
            return "/dev/" + device;
        }
    }
    return {};
}

// The name of a port comes some time after the port; every step of it is a kernel event.
std::string wait_for_port() {
    const Descriptor events(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = 1;
    if (!events.valid() ||
        bind(events.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        die("cannot listen for kernel events");
    }
    std::array<char, 8192> event{};
    for (bool said = false;;) {
        std::string device = find_port();
        if (!device.empty()) {
            return device;
        }
        if (!said) {
            std::fprintf(stderr, "croft-agent: waiting for the virtio-serial port '%s'\n",
                std::string(port_name).c_str());
            said = true;
        }
        if (recv(events.get(), event.data(), event.size(), 0) < 0 && errno != EINTR &&
            errno != ENOBUFS) {
            die("cannot receive kernel events");
        }
    }
}

Descriptor block_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGIO);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    Descriptor signals(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals.valid()) {
        die("signalfd");
    }
    return signals;
}

Descriptor open_port(const std::string& device) {
    Descriptor port(open(device.c_str(), O_RDWR | O_CLOEXEC));
    if (!port.valid()) {
        die("cannot open " + device);
    }
    fcntl(port.get(), F_SETOWN, getpid());
    fcntl(port.get(), F_SETFL, fcntl(port.get(), F_GETFL) | O_ASYNC);
    return port;
}

} // namespace
} // namespace croft::agent

int main() {
    using namespace croft::agent;
    Descriptor signals = block_signals();
    Agent agent(open_port(wait_for_port()), std::move(signals));
    agent.run();
}
