// SPDX-License-Identifier: Apache-2.0
// A SynIC with its pages, and a guest's processor that serves it.
#pragma once

#include "hypervisor/synic/synic.hpp"

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <thread>

namespace hypervisor {

inline constexpr std::uint64_t enabled = 1;
inline constexpr std::uint64_t masked = 1ull << 16;
inline constexpr std::uint64_t auto_eoi = 1ull << 17;
inline constexpr std::uint64_t polling = 1ull << 18;

struct alignas(4096) Pages {
    hv_message_page messages{};
    hv_synic_event_flags_page flags{};
    hv_synic_event_ring_page rings{};
};

/// A guest's side of a slot, as it reads and writes its own memory.
class Slot {
public:
    Slot(Pages& pages, unsigned sint) : slot_{&pages.messages.sint_message[sint]} {}
    [[nodiscard]] std::uint32_t type() const { return word(0).load(); }
    [[nodiscard]] bool pending() const { return (byte(5).load() & HV_MESSAGE_FLAG_PENDING) != 0; }
    [[nodiscard]] hv_message read() const {
        hv_message message;
        std::memcpy(&message, slot_, sizeof message);
        return message;
    }
    template <class T>
    [[nodiscard]] T payload() const {
        T value;
        std::memcpy(&value, reinterpret_cast<const std::byte*>(slot_) + 16, sizeof value);
        return value;
    }
    /// Frees the slot. \return whether the guest must write the end of message.
    bool free() {
        word(0).store(HVMSG_NONE);
        return pending();
    }

private:
    [[nodiscard]] std::atomic_ref<std::uint32_t> word(std::size_t at) const {
        return std::atomic_ref{
            *reinterpret_cast<std::uint32_t*>(reinterpret_cast<std::byte*>(slot_) + at)};
    }
    [[nodiscard]] std::atomic_ref<std::uint8_t> byte(std::size_t at) const {
        return std::atomic_ref{reinterpret_cast<std::uint8_t*>(slot_)[at]};
    }
    void* slot_;
};

class SynicTest : public testing::Test {
protected:
    void SetUp() override {
        synic_.reset();
        synic_.set_message_page(&pages_->messages);
        synic_.set_event_flags_page(&pages_->flags);
        synic_.set_event_ring_page(&pages_->rings);
        synic_.set_control(enabled);
        ASSERT_TRUE(synic_.set_sint(2, 0x52));
        ASSERT_TRUE(synic_.set_sint(3, 0x53 | auto_eoi));
    }
    Slot slot(unsigned sint) { return {*pages_, sint}; }

    std::unique_ptr<Pages> pages_ = std::make_unique<Pages>();
    Synic synic_{};
};

/// A guest's processor: an interrupt that is pending, and a thread that serves it as upstream Linux
/// does: one message for an interrupt, and an end of message only if one is asked for.
class Guest {
public:
    explicit Guest(std::function<void()> serve) : serve_{std::move(serve)} {
        thread_ = std::thread{[this] {
            while (!stop_) {
                if (pending_.exchange(false)) {
                    serve_();
                } else {
                    std::this_thread::yield();
                }
            }
        }};
    }
    ~Guest() { stop(); }
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;
    void stop() {
        stop_ = true;
        if (thread_.joinable()) {
            thread_.join();
        }
    }
    void interrupt(const std::optional<Synic::Interrupt>& interrupt) {
        if (interrupt) {
            notify();
        }
    }
    /// It was stopped, and goes on.
    void notify() { pending_ = true; }

private:
    std::function<void()> serve_;
    std::atomic<bool> pending_ = false;
    std::atomic<bool> stop_ = false;
    std::thread thread_{};
};

inline bool comes_true(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        std::this_thread::yield();
    }
    return true;
}

} // namespace hypervisor
