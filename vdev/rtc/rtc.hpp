// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/device.hpp"
#include "vdev/rtc/rtc_state.hpp"

#include <memory>
#include <mutex>

namespace croft::vdev {

/// The PC's clock and its memory, an MC146818 (Motorola data sheet) at ports 0x70 and 0x71 with the
/// century at 0x32: time in UTC, alarm, periodic and update interrupts at line 8.
class Rtc final : public Device, private PortHandler {
public:
    static constexpr std::uint16_t port = 0x70;
    static constexpr unsigned line = 8;
    static constexpr std::uint8_t century_index = 0x32;

    [[nodiscard]] std::string_view name() const override { return "rtc0"; }
    void configure(Platform& platform) override;
    void start() override;
    void stop() override;
    [[nodiscard]] Record save() const override;
    void restore(const Record& record) override;
    void reset() override;
    void remove() override;

private:
    std::uint32_t port_read(std::uint16_t port, unsigned size) override;
    void port_write(std::uint16_t port, unsigned size, std::uint32_t value) override;

    [[nodiscard]] std::int64_t guest_time() const;
    [[nodiscard]] bool is_setting() const;
    [[nodiscard]] std::uint8_t read(std::uint8_t index);
    void write(std::uint8_t index, std::uint8_t value);
    void show_time();
    void take_time();
    [[nodiscard]] std::uint8_t encode(unsigned value) const;
    [[nodiscard]] unsigned decode(std::uint8_t value) const;
    [[nodiscard]] std::uint8_t encode_hour(unsigned hour) const;
    [[nodiscard]] unsigned decode_hour(std::uint8_t value) const;
    [[nodiscard]] std::int64_t period() const;
    [[nodiscard]] bool alarm_between(std::int64_t first_second, std::int64_t last_second) const;
    void compute_flags();
    void update_line();
    void arm_timer();
    void on_timer();

    mutable std::mutex mutex_;
    RtcState state_;
    bool running_ = false;
    Clock* clock_ = nullptr;
    std::unique_ptr<Timer> timer_;
    Claim ports_;
    InterruptLine line_;
};

} // namespace croft::vdev
