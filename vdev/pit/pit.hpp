// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/device.hpp"
#include "vdev/pit/pit_state.hpp"

#include <memory>
#include <mutex>

namespace croft::vdev {

/// The PC's interval timer, an 8254 (Intel data sheet 231164) at ports 0x40 to 0x43, and port 0x61
/// with the gate and output of channel 2. Channel 0 interrupts at line 2, where PCs route it.
/// Counters are computed from the VM's clock when somebody looks; edges that came while nobody
/// could be told are told once. Counts in BCD, which no guest uses, are taken as binary.
class Pit final : public Device, private PortHandler {
public:
    static constexpr std::uint16_t port = 0x40;
    static constexpr std::uint16_t control_port = 0x61;
    static constexpr unsigned line = 2;

    [[nodiscard]] std::string_view name() const override { return "pit0"; }
    void configure(Platform& platform) override;
    void start() override;
    void stop() override;
    [[nodiscard]] Record save() const override;
    void restore(const Record& record) override;
    void reset() override;
    void remove() override;

private:
    using Channel = PitState::Channel;

    std::uint32_t port_read(std::uint16_t at, unsigned size) override;
    void port_write(std::uint16_t at, unsigned size, std::uint32_t value) override;

    [[nodiscard]] std::uint64_t ticks_since_start(const Channel& channel) const;
    [[nodiscard]] std::uint16_t count(const Channel& channel) const;
    [[nodiscard]] bool output(const Channel& channel) const;
    [[nodiscard]] std::uint64_t rising_edges(const Channel& channel) const;
    [[nodiscard]] std::uint8_t status(const Channel& channel) const;
    [[nodiscard]] std::uint8_t read_channel(Channel& channel);
    [[nodiscard]] std::uint8_t read_port_61() const;
    void write_command(std::uint8_t value);
    void read_back(std::uint8_t value);
    void latch_count(Channel& channel) const;
    void write_channel(unsigned index, std::uint8_t value);
    void load(unsigned index, std::uint32_t value);
    void set_gate(Channel& channel, bool gate) const;
    void arm_timer();
    void on_timer();

    mutable std::mutex mutex_;
    PitState state_;
    bool running_ = false;
    Clock* clock_ = nullptr;
    std::unique_ptr<Timer> timer_;
    Claim ports_;
    Claim control_;
    InterruptLine line_;
};

} // namespace croft::vdev
