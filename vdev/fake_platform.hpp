// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/device.hpp"
#include "vdev/ioapic/ioapic.hpp"
#include "vdev/serial/character_backend.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

/// What the devices' tests plug devices into.
namespace croft::vdev {

/// A clock and its timers, moved on by hand.
class FakeTime final : public Clock, public TimerService {
public:
    [[nodiscard]] std::uint64_t now() const override { return now_; }
    [[nodiscard]] std::int64_t wall() const override {
        return wall_start + static_cast<std::int64_t>(now_);
    }

    /// Moves on by `nanoseconds`, calling back what is due in between, in order.
    void advance(std::uint64_t nanoseconds) {
        const std::uint64_t end = now_ + nanoseconds;
        while (FakeTimer* next = next_due(end)) {
            now_ = std::max(now_, *next->deadline);
            next->deadline.reset();
            next->callback();
        }
        now_ = end;
    }

    [[nodiscard]] bool is_any_armed() const {
        return std::any_of(timers_.begin(), timers_.end(),
            [](const FakeTimer* timer) { return timer->deadline.has_value(); });
    }

    [[nodiscard]] std::unique_ptr<Timer> create_timer(std::function<void()> callback) override {
        auto timer = std::make_unique<FakeTimer>(*this, std::move(callback));
        timers_.push_back(timer.get());
        return timer;
    }

    std::int64_t wall_start = 0;

private:
    struct FakeTimer final : Timer {
        FakeTimer(FakeTime& owner_time, std::function<void()> function)
            : owner(owner_time),
              callback(std::move(function)) {}
        ~FakeTimer() override { std::erase(owner.timers_, this); }
        FakeTimer(const FakeTimer&) = delete;
        FakeTimer& operator=(const FakeTimer&) = delete;
        void arm(std::uint64_t when) override { deadline = when; }
        void disarm() override { deadline.reset(); }

        FakeTime& owner;
        std::function<void()> callback;
        std::optional<std::uint64_t> deadline;
    };

    [[nodiscard]] FakeTimer* next_due(std::uint64_t end) const {
        FakeTimer* next = nullptr;
        for (FakeTimer* timer : timers_) {
            if (timer->deadline && *timer->deadline <= end &&
                (next == nullptr || *timer->deadline < *next->deadline)) {
                next = timer;
            }
        }
        return next;
    }

    std::uint64_t now_ = 0;
    std::vector<FakeTimer*> timers_;
};

/// Notes what the lines do.
class FakeController final : public InterruptController {
public:
    void set_line(unsigned line, bool asserted) override {
        rises[line] += asserted ? 1 : 0;
        levels[line] = asserted;
    }

    std::array<bool, Bus::line_count> levels{};
    std::array<unsigned, Bus::line_count> rises{};
};

/// A terminal: keeps what was sent, sends what the test types.
class FakeTerminal final : public CharacterBackend {
public:
    void connect(CharacterSink* sink) override { sink_ = sink; }
    bool send(std::span<const std::uint8_t> bytes) override {
        sent.append(bytes.begin(), bytes.end());
        return !full;
    }
    void input_wanted() override {
        while (sink_ != nullptr && !waiting_.empty()) {
            const std::string offered = waiting_;
            const std::size_t taken =
                sink_->receive(std::vector<std::uint8_t>(offered.begin(), offered.end()));
            if (taken == 0) {
                return;
            }
            waiting_.erase(0, taken);
        }
    }

    void type(const std::string& text) {
        waiting_ += text;
        input_wanted();
    }
    void drain() {
        full = false;
        sink_->output_possible();
    }

    std::string sent;
    bool full = false;

private:
    CharacterSink* sink_ = nullptr;
    std::string waiting_;
};

struct FakePlatform {
    FakePlatform() { bus.connect(&controller); }

    Bus bus;
    FakeTime time;
    FakeController controller;
    Platform platform{bus, time, time};
};

} // namespace croft::vdev
