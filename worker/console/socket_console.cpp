// SPDX-License-Identifier: Apache-2.0
#include "worker/console/socket_console.hpp"

#include "worker/console/gathering.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <poll.h>
#include <ranges>
#include <span>
#include <sys/socket.h>
#include <utility>

namespace croft::worker {

namespace {

/// As much as is read of one viewer at once.
constexpr std::size_t read_size = 4096;

} // namespace

SocketConsole::SocketConsole(IoLoop& loop, std::string path)
    : loop_(loop),
      listener_(std::move(path), "console socket", "--console unix:SOCKET"),
      typed_(loop, [this] { resume_listening(); }) {}

SocketConsole::~SocketConsole() = default;

void SocketConsole::start() {
    accept_next();
}

void SocketConsole::accept_next() {
    loop_.accept(listener_.descriptor(), [this](int result) { accepted(result); });
}

void SocketConsole::accepted(int result) {
    if (result >= 0) {
        const ViewerId id = next_viewer_++;
        viewers_.emplace(id,
            Viewer{.socket = FileDescriptor(result),
                .position = std::max(std::min(shown_, backlog_.line()), backlog_.begin())});
        loop_.poll(result, POLLRDHUP, [this, id](int) { hung_up(id); });
        listen_to(id);
        push(id);
    }
    accept_next();
}

// Output

bool SocketConsole::send(std::span<const std::uint8_t> bytes) {
    bool schedule = false;
    {
        const std::lock_guard lock(output_mutex_);
        gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
        schedule = !std::exchange(flush_scheduled_, true);
    }
    if (schedule) {
        loop_.post([this] { schedule_flush(); });
    }
    return true;
}

void SocketConsole::schedule_flush() {
    loop_.after(gather_time, [this](int) { flush(); });
}

void SocketConsole::flush() {
    std::vector<std::uint8_t> output;
    {
        const std::lock_guard lock(output_mutex_);
        output.swap(gathered_);
        flush_scheduled_ = false;
        // Until they have it: `drain` must not see the moment in between.
        somebody_is_behind_ = true;
    }
    backlog_.append(output);
    std::vector<ViewerId> ids;
    std::ranges::copy(viewers_ | std::views::keys, std::back_inserter(ids));
    for (const ViewerId id : ids) {
        push(id);
    }
    count_behind();
}

void SocketConsole::push(ViewerId id) {
    const auto found = viewers_.find(id);
    if (found != viewers_.end()) {
        push_to(found->second, id);
    }
    count_behind();
}

void SocketConsole::push_to(Viewer& viewer, ViewerId id) {
    while (!viewer.waits && !viewer.leaving && viewer.position < backlog_.end()) {
        viewer.position = std::max(viewer.position, backlog_.begin());
        const auto bytes = backlog_.from(viewer.position);
        const ssize_t sent =
            ::send(viewer.socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            viewer.position += static_cast<std::uint64_t>(sent);
            shown_ = std::max(shown_, viewer.position);
        } else if (errno == EAGAIN) {
            viewer.waits = true;
            loop_.poll(viewer.socket.get(), POLLOUT, [this, id](int) {
                const auto found = viewers_.find(id);
                if (found != viewers_.end()) {
                    found->second.waits = false;
                    push(id);
                }
            });
        } else if (errno != EINTR) {
            viewer.leaving = true; // its end is gone, and the poll for that is about to tell
        }
    }
}

void SocketConsole::count_behind() {
    const bool behind = std::ranges::any_of(viewers_ | std::views::values,
        [this](const Viewer& it) { return !it.leaving && it.position < backlog_.end(); });
    const std::lock_guard lock(output_mutex_);
    somebody_is_behind_ = behind;
    output_idle_.notify_all();
}

void SocketConsole::drain() {
    std::unique_lock lock(output_mutex_);
    output_idle_.wait_for(
        lock, drain_timeout, [this] { return !flush_scheduled_ && !somebody_is_behind_; });
}

// Input

void SocketConsole::listen_to(ViewerId id) {
    loop_.poll(viewers_.at(id).socket.get(), POLLIN, [this, id](int) { receive_from(id); });
}

void SocketConsole::receive_from(ViewerId id) {
    const auto found = viewers_.find(id);
    if (found == viewers_.end()) {
        return;
    }
    std::array<std::uint8_t, read_size> buffer;
    const ssize_t got =
        recv(found->second.socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) {
        found->second.held = true;
        typed_.add(std::span(buffer).first(static_cast<std::size_t>(got)));
        if (typed_.empty()) {
            resume_listening();
        }
    } else if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        listen_to(id);
    } else {
        forget(id);
    }
}

void SocketConsole::resume_listening() {
    for (auto& [id, viewer] : viewers_) {
        if (std::exchange(viewer.held, false)) {
            listen_to(id);
        }
    }
}

/// What was sent is still there for it to read, and then the end.
void SocketConsole::hung_up(ViewerId id) {
    const auto found = viewers_.find(id);
    if (found != viewers_.end()) {
        found->second.leaving = true;
        shutdown(found->second.socket.get(), SHUT_WR);
        count_behind();
    }
}

/// Its operations keep the socket open: it is shut down, and they complete.
void SocketConsole::forget(ViewerId id) {
    const auto found = viewers_.find(id);
    shutdown(found->second.socket.get(), SHUT_RDWR);
    viewers_.erase(found);
    count_behind();
}

} // namespace croft::worker
