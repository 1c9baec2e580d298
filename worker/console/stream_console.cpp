// SPDX-License-Identifier: Apache-2.0
#include "worker/console/stream_console.hpp"

#include "worker/console/gathering.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <poll.h>
#include <utility>

namespace croft::worker {

namespace {

/// With so many bytes waiting there is nothing to gather for.
constexpr std::size_t enough = 4096;

/// With so many bytes waiting, the port is asked to wait.
constexpr std::size_t full_size = 65536;

/// The largest piece written at once.
constexpr std::size_t write_size = 65536;

} // namespace

StreamConsole::StreamConsole(
    IoLoop& loop, FileDescriptor input, FileDescriptor output, std::optional<EscapeFilter> filter)
    : loop_(loop),
      input_(std::move(input)),
      output_(std::move(output)),
      filter_(std::move(filter)),
      typed_(loop, [this] { resume_reading(); }) {}

StreamConsole::~StreamConsole() = default;

bool StreamConsole::send(std::span<const std::uint8_t> bytes) {
    if (!output_) {
        return true;
    }
    bool schedule = false;
    bool has_room = false;
    {
        const std::lock_guard lock(output_mutex_);
        gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
        schedule = !std::exchange(flush_scheduled_, true);
        has_room = gathered_.size() < full_size;
        was_full_ = was_full_ || !has_room;
    }
    if (schedule) {
        loop_.post([this] { schedule_flush(); });
    }
    return has_room;
}

void StreamConsole::schedule_flush() {
    loop_.after(gather_time, [this](int) { flush(); });
}

void StreamConsole::flush() {
    {
        const std::lock_guard lock(output_mutex_);
        if (written_ == writing_.size()) {
            writing_.clear();
            written_ = 0;
            writing_.swap(gathered_);
        }
        if (writing_.empty()) {
            flush_scheduled_ = false;
            output_idle_.notify_all();
            return;
        }
    }
    const auto left = std::span<const std::uint8_t>(writing_).subspan(written_);
    loop_.write(output_.get(), left.first(std::min(left.size(), write_size)),
        [this](int result) { flushed(result); });
}

void StreamConsole::flushed(int result) {
    if (result == -EAGAIN || result == -EINTR) {
        loop_.poll(output_.get(), POLLOUT, [this](int) { flush(); });
        return;
    }
    // An output that is gone takes everything, as a printer without paper doesn't stop a PC.
    written_ = result < 0 ? writing_.size() : written_ + static_cast<std::size_t>(result);
    bool tell = false;
    {
        const std::lock_guard lock(output_mutex_);
        tell = was_full_ && gathered_.size() < full_size / 2;
        was_full_ = was_full_ && !tell;
    }
    if (tell) {
        typed_.tell_output_possible();
    }
    bool has_enough = written_ < writing_.size();
    {
        const std::lock_guard lock(output_mutex_);
        has_enough = has_enough || gathered_.empty() || gathered_.size() >= enough;
    }
    if (has_enough) {
        flush();
    } else {
        schedule_flush();
    }
}

void StreamConsole::start() {
    if (input_) {
        read_more();
    }
}

void StreamConsole::read_more() {
    loop_.read(input_.get(), buffer_, [this](int result) { received(result); });
}

void StreamConsole::received(int result) {
    if (result == -EAGAIN || result == -EINTR) {
        loop_.poll(input_.get(), POLLIN, [this](int) { read_more(); });
        return;
    }
    if (result <= 0) {
        return; // the end of the input, or it is gone: there will be no more
    }
    const auto bytes =
        std::span<const std::uint8_t>(buffer_).first(static_cast<std::size_t>(result));
    if (filter_) {
        typed_.add(filter_->pass(bytes));
    } else {
        typed_.add(bytes);
    }
    // With an escape key the terminal is always listened to, otherwise only while there is room.
    if (filter_ || typed_.empty()) {
        read_more();
    }
}

void StreamConsole::resume_reading() {
    if (!filter_) {
        read_more();
    }
}

void StreamConsole::drain() {
    std::unique_lock lock(output_mutex_);
    output_idle_.wait_for(lock, drain_timeout, [this] { return !flush_scheduled_; });
}

} // namespace croft::worker
