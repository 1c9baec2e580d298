// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/console/console.hpp"
#include "worker/console/escape_filter.hpp"
#include "worker/console/port_input.hpp"
#include "worker/executor/io_loop.hpp"
#include "worker/file_descriptor.hpp"

#include <array>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace croft::worker {

/// Connects a serial port to file descriptors: output is gathered for a moment and written at once
/// by the loop's thread, input is read when the port has room. Either descriptor may be absent:
/// then output is dropped, or there is no input.
class StreamConsole final : public Console {
public:
    /// `filter` sees the input first; none for a plain stream. The loop outlives the console.
    StreamConsole(IoLoop& loop, FileDescriptor input, FileDescriptor output,
        std::optional<EscapeFilter> filter);
    /// After the loop's thread has ended.
    ~StreamConsole() override;
    StreamConsole(const StreamConsole&) = delete;
    StreamConsole& operator=(const StreamConsole&) = delete;

    void connect(vdev::CharacterSink* sink) override { typed_.connect(sink); }
    bool send(std::span<const std::uint8_t> bytes) override;
    void input_wanted() override { typed_.wanted(); }

    void start() override;
    void drain() override;

private:
    void schedule_flush();
    void flush();
    void flushed(int result);
    void read_more();
    void received(int result);
    void resume_reading();

    IoLoop& loop_;
    FileDescriptor input_;
    FileDescriptor output_;
    std::optional<EscapeFilter> filter_;

    std::mutex output_mutex_;
    std::vector<std::uint8_t> gathered_;
    bool flush_scheduled_ = false;
    bool was_full_ = false;
    std::condition_variable output_idle_;
    /// What is being written; the loop's thread's.
    std::vector<std::uint8_t> writing_;
    std::size_t written_ = 0;

    PortInput typed_;
    std::array<std::uint8_t, 256> buffer_{};
};

} // namespace croft::worker
