// SPDX-License-Identifier: Apache-2.0
#include "worker/worker.hpp"

#include "worker/console/raw_terminal.hpp"
#include "worker/console/socket_console.hpp"
#include "worker/console/stream_console.hpp"
#include "worker/control/control_server.hpp"
#include "worker/control/ending.hpp"
#include "worker/control/machine_control.hpp"
#include "worker/control/ready_notice.hpp"
#include "worker/error.hpp"
#include "worker/machine/machine.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <unistd.h>
#include <utility>

namespace croft::worker {

namespace {

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
    Session(
        const Settings& settings, hv::Hypervisor& hypervisor, std::chrono::milliseconds patience)
        : settings_(settings),
          ending_(patience,
              {.begin = [this] { end(); },
                  .give_up =
                      [this] {
                          give_up();
                      }}) {
        // A console or a client that went away shows in the write's result.
        std::signal(SIGPIPE, SIG_IGN);
        std::vector<vdev::CharacterBackend*> backends;
        for (const SerialPortSettings& port : settings_.serial_ports) {
            consoles_.push_back(make_console(port));
            backends.push_back(consoles_.back().get());
        }
        machine_ = std::make_unique<Machine>(settings_, hypervisor, *executor_, backends, events());
        control_ =
            std::make_unique<MachineControl>(*machine_, settings_, [this] { ending_.ask(); });
        if (!settings_.control.socket.empty()) {
            serve_control_socket();
        }
    }

    /// The machine uses the loops until it is gone; the loops use everything else's buffers.
    ~Session() {
        machine_.reset();
        ending_.close();
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

    void serve_control_socket() {
        // The devices' thread waits for nothing, so there is always somebody who listens.
        server_ = std::make_unique<ControlServer>(executor_->devices(), executor_->control(),
            settings_.control.socket,
            ControlServer::Handlers{
                .urgent =
                    [this](
                        const nlohmann::json& request) { return control_->handle_urgent(request); },
                .others = [this](
                              const nlohmann::json& request) { return control_->handle(request); },
            });
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
            ending_.ask();
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

    /// Ends the process though some thread of it still waits.
    void give_up() {
        if (terminal_) {
            terminal_->restore();
        }
        if (!settings_.control.socket.empty()) {
            unlink(settings_.control.socket.c_str());
        }
        fmt::print(stderr,
            "machine {}: found it still busy long after it was told to end, "
            "expected the host's storage to answer; it ends without closing its "
            "disks\r\n",
            settings_.name);
        _exit(EXIT_FAILURE);
    }

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
    Ending ending_;
    std::vector<std::unique_ptr<Console>> consoles_;
    std::unique_ptr<Machine> machine_;
    std::unique_ptr<MachineControl> control_;
    std::unique_ptr<ControlServer> server_;
    std::exception_ptr failure_;
};

} // namespace

int run_worker(
    const Settings& settings, hv::Hypervisor& hypervisor, std::chrono::milliseconds patience) {
    Session(settings, hypervisor, patience).run();
    return 0;
}

} // namespace croft::worker
