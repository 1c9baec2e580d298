// SPDX-License-Identifier: Apache-2.0
#include "worker/worker.hpp"

#include "worker/console/raw_terminal.hpp"
#include "worker/console/socket_console.hpp"
#include "worker/console/stream_console.hpp"
#include "worker/control/control_server.hpp"
#include "worker/control/machine_control.hpp"
#include "worker/control/ready_notice.hpp"
#include "worker/error.hpp"
#include "worker/machine/machine.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <sys/signalfd.h>
#include <unistd.h>
#include <utility>

namespace croft::worker {

namespace {

/// Signals that end the worker arrive on a descriptor, and none reaches a thread.
class EndSignals {
public:
    EndSignals(IoLoop& loop, std::function<void()> end) : loop_(loop), end_(std::move(end)) {
        sigset_t set;
        sigemptyset(&set);
        for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
            sigaddset(&set, number);
        }
        pthread_sigmask(SIG_BLOCK, &set, &before_);
        // A console or a client that went away shows in the write's result.
        std::signal(SIGPIPE, SIG_IGN);
        descriptor_ = FileDescriptor(signalfd(-1, &set, SFD_CLOEXEC));
        if (!descriptor_) {
            throw SystemError(fmt::format("signals: {}", std::strerror(errno)));
        }
        loop_.read(descriptor_.get(), buffer_, [this](int) { end_(); });
    }
    ~EndSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    EndSignals(const EndSignals&) = delete;
    EndSignals& operator=(const EndSignals&) = delete;

private:
    IoLoop& loop_;
    std::function<void()> end_;
    sigset_t before_{};
    FileDescriptor descriptor_;
    std::array<std::uint8_t, sizeof(signalfd_siginfo)> buffer_{};
};

FileDescriptor open_console_file(const std::string& path) {
    FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!file) {
        throw SystemError(
            fmt::format("console {}: {}; give a file that can be written to as --console", path,
                std::strerror(errno)));
    }
    return file;
}

/// One VM and what surrounds it in the process.
class Session {
public:
    Session(const Settings& settings, hv::Hypervisor& hypervisor)
        : settings_(settings),
          signals_(executor_->control(), [this] { end(); }) {
        std::vector<vdev::CharacterBackend*> backends;
        for (const SerialPortSettings& port : settings_.serial_ports) {
            consoles_.push_back(make_console(port));
            backends.push_back(consoles_.back().get());
        }
        machine_ = std::make_unique<Machine>(settings_, hypervisor, *executor_, backends, events());
        control_ = std::make_unique<MachineControl>(*machine_, settings_, [this] { end(); });
        if (!settings_.control.socket.empty()) {
            server_ =
                std::make_unique<ControlServer>(executor_->control(), settings_.control.socket,
                    [this](const nlohmann::json& request) { return control_->handle(request); });
        }
    }

    /// The machine uses the loops until it is gone; the loops use everything else's buffers.
    ~Session() {
        machine_.reset();
        executor_.reset();
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    /// Runs the VM to its end. Errors: what ended it, if nobody wanted that.
    void run() {
        for (const auto& console : consoles_) {
            console->start();
        }
        executor_->start();
        machine_->power_on();
        send_ready_notice();
        executor_->control().run();
        machine_->power_off();
        for (const auto& console : consoles_) {
            console->drain();
        }
        if (failure_) {
            std::rethrow_exception(failure_);
        }
    }

private:
    [[nodiscard]] Machine::Events events() {
        IoLoop& loop = executor_->control();
        return {
            .power_off = [this, &loop] { loop.post([this] { end(); }); },
            .reset = [this, &loop] { loop.post([this] { reset(); }); },
            .failed =
                [this, &loop](std::exception_ptr failure) {
                    loop.post([this, failure = std::move(failure)] { fail(failure); });
                },
        };
    }

    [[nodiscard]] std::unique_ptr<Console> make_console(const SerialPortSettings& port) {
        if (const auto socket = port.socket()) {
            return std::make_unique<SocketConsole>(executor_->devices(), *socket);
        }
        const std::string& connection = port.connection;
        FileDescriptor input;
        FileDescriptor output;
        std::optional<EscapeFilter> filter;
        if (connection == "stdio") {
            input = FileDescriptor(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0));
            output = FileDescriptor(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
            terminal_.emplace(STDIN_FILENO);
            if (terminal_->is_terminal()) {
                filter.emplace([this](char key) { on_escape(key); });
            }
        } else if (connection != "none") {
            output = open_console_file(connection);
        }
        return std::make_unique<StreamConsole>(
            executor_->devices(), std::move(input), std::move(output), std::move(filter));
    }

    /// A key after the escape key. Runs on the devices' thread.
    void on_escape(char key) {
        IoLoop& loop = executor_->control();
        switch (key) {
        case 'q':
            loop.post([this] { end(); });
            break;
        case 'b':
            loop.post([this] { machine_->press_power_button(); });
            break;
        case 'r':
            loop.post([this] { reset(); });
            break;
        default:
            fmt::print(stderr,
                "\r\nCtrl-] q ends the VM, b presses its power button, r resets it, "
                "Ctrl-] sends Ctrl-]\r\n");
            break;
        }
    }

    void end() { executor_->control().quit(); }

    void fail(const std::exception_ptr& failure) {
        if (!failure_) {
            failure_ = failure;
        }
        end();
    }

    void reset() {
        try {
            machine_->reset();
        } catch (...) {
            fail(std::current_exception());
        }
    }

    const Settings& settings_;
    std::optional<RawTerminal> terminal_;
    std::unique_ptr<Executor> executor_ = std::make_unique<Executor>();
    EndSignals signals_;
    std::vector<std::unique_ptr<Console>> consoles_;
    std::unique_ptr<Machine> machine_;
    std::unique_ptr<MachineControl> control_;
    std::unique_ptr<ControlServer> server_;
    std::exception_ptr failure_;
};

} // namespace

int run_worker(const Settings& settings, hv::Hypervisor& hypervisor) {
    Session(settings, hypervisor).run();
    return 0;
}

} // namespace croft::worker
