// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/device.hpp"
#include "vdev/power/power_state.hpp"

#include <functional>
#include <memory>
#include <mutex>

namespace croft::vdev {

/// Where the ACPI fixed hardware stands, for the device and for the table that describes it (FADT).
struct PowerLayout {
    static constexpr std::uint16_t event_port = 0x600;
    static constexpr std::uint16_t control_port = 0x604;
    static constexpr std::uint16_t timer_port = 0x608;
    static constexpr std::uint16_t block_size = 0x0c;
    static constexpr std::uint16_t reset_port = 0xcf9;
    static constexpr std::uint8_t reset_value = 0x06;
    static constexpr unsigned sci_line = 9;
    /// The sleep type of S5, soft off, as the DSDT's \_S5 gives it to the guest.
    static constexpr unsigned soft_off_type = 5;
};

/// What a guest asked for through the power block. Called on a VP's thread, under no lock.
struct PowerRequests {
    std::function<void()> power_off;
    std::function<void()> reset;
};

/// The ACPI fixed hardware (ACPI 6.5, 4.8): PM1 event and control registers with the power button,
/// the PM timer of 32 bits, and the reset register at 0xcf9 that PCs have.
class Power final : public Device, private PortHandler {
public:
    explicit Power(PowerRequests requests);

    [[nodiscard]] std::string_view name() const override { return "power0"; }
    void configure(Platform& platform) override;
    void start() override;
    void stop() override;
    [[nodiscard]] Record save() const override;
    void restore(const Record& record) override;
    void reset() override;
    void remove() override;

    /// Presses the power button: a guest that listens begins to shut down. Any thread.
    void press_button();

private:
    std::uint32_t port_read(std::uint16_t port, unsigned size) override;
    void port_write(std::uint16_t port, unsigned size, std::uint32_t value) override;

    [[nodiscard]] std::uint64_t ticks() const;
    [[nodiscard]] std::uint16_t read_word(std::uint16_t port);
    void write_control(std::uint16_t value, std::unique_lock<std::mutex>& lock);
    void write_reset(std::uint8_t value, std::unique_lock<std::mutex>& lock);
    void update_timer_status();
    void arm_timer();
    void update_line();
    void on_timer();

    PowerRequests requests_;
    mutable std::mutex mutex_;
    PowerState state_;
    bool running_ = false;
    Clock* clock_ = nullptr;
    std::unique_ptr<Timer> timer_;
    Claim block_;
    Claim reset_register_;
    InterruptLine line_;
};

} // namespace croft::vdev
