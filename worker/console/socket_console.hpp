// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/console/backlog.hpp"
#include "worker/console/console.hpp"
#include "worker/console/port_input.hpp"
#include "worker/control/unix_listener.hpp"
#include "worker/executor/io_loop.hpp"
#include "worker/file_descriptor.hpp"

#include <array>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace croft::worker {

/// Connects a serial port to a Unix socket: everybody who connects to it sees the output, and what
/// anybody sends is input. One who comes is shown what nobody has been shown yet, and the line that
/// the output is in, where a prompt stands. The guest waits for no viewer: one who falls behind by
/// more than what is kept misses the oldest.
class SocketConsole final : public Console {
public:
    /// Of output that was shown to nobody.
    static constexpr std::size_t kept = 256 * std::size_t{1024};

    /// Listens at `path`, which only this user may connect to. The loop outlives the console.
    /// Errors: SystemError.
    SocketConsole(IoLoop& loop, std::string path);
    /// After the loop's thread has ended.
    ~SocketConsole() override;
    SocketConsole(const SocketConsole&) = delete;
    SocketConsole& operator=(const SocketConsole&) = delete;

    void connect(vdev::CharacterSink* sink) override { typed_.connect(sink); }
    bool send(std::span<const std::uint8_t> bytes) override;
    void input_wanted() override { typed_.wanted(); }
    void start() override;
    void drain() override;

private:
    using ViewerId = std::uint64_t;
    struct Viewer {
        FileDescriptor socket;
        /// What comes next of the output.
        std::uint64_t position = 0;
        /// The socket is full.
        bool waits = false;
        /// It has closed its end: it gets no more, but what it typed before is still taken.
        bool leaving = false;
        /// Its input waits until the guest has taken what was read before.
        bool held = false;
    };

    void accept_next();
    void accepted(int result);
    void schedule_flush();
    void flush();
    void push(ViewerId id);
    void push_to(Viewer& viewer, ViewerId id);
    void listen_to(ViewerId id);
    void receive_from(ViewerId id);
    void hung_up(ViewerId id);
    void forget(ViewerId id);
    void count_behind();
    void resume_listening();

    IoLoop& loop_;
    UnixListener listener_;

    std::mutex output_mutex_;
    std::vector<std::uint8_t> gathered_;
    bool flush_scheduled_ = false;
    bool somebody_is_behind_ = false;
    std::condition_variable output_idle_;

    /// The rest is the loop's thread's.
    Backlog backlog_{kept};
    /// How much of the output anybody was shown.
    std::uint64_t shown_ = 0;
    std::map<ViewerId, Viewer> viewers_;
    ViewerId next_viewer_ = 1;
    PortInput typed_;
};

} // namespace croft::worker
