// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/descriptor.hpp"
#include "vsp/network/back_end.hpp"
#include "vsp/network/file_queue.hpp"
#include "vsp/network/mac_address.hpp"
#include "vsp/network/steering/steering.hpp"

#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace croft::vsp::network {

/// Which TAP device, and how it is to be.
struct TapSettings {
    std::string name;
    /// As many as there may be channels.
    std::uint16_t queues = 1;
    /// A bridge that it becomes a port of; none if empty.
    std::string bridge;
    /// If it isn't to stay as it is.
    std::optional<std::uint32_t> mtu;
    /// The guest's: a device that is made here gets one of its own after it.
    MacAddress guest_address;
};

/// A TAP device of Linux, with checksums and segmentation left to it. Which queue a frame comes by
/// is chosen by a program in the kernel as the guest wants it; where this process may not have one,
/// by the kernel, which sends the answers of a flow by the queue that the flow came by.
class Tap final : public BackEnd {
public:
    /// Opens it, makes it if there is none, and brings it up. Errors: one line that says what was
    /// found, what was expected and what to do.
    [[nodiscard]] static std::expected<std::unique_ptr<Tap>, std::string> open(
        const TapSettings& settings);

    [[nodiscard]] std::uint32_t mtu() const { return mtu_; }
    /// Whether the device is up; false if it is gone.
    [[nodiscard]] bool is_up() const;

    [[nodiscard]] std::uint16_t queue_count() const override {
        return static_cast<std::uint16_t>(queues_.size());
    }
    [[nodiscard]] Queue& queue(std::uint16_t index) override { return *queues_.at(index); }
    void set_coalescing(Coalescing coalescing) override;
    void set_scaling(const ReceiveScaling& scaling) override;
    void set_plugged(bool plugged) override;

private:
    explicit Tap(std::string name) : name_(std::move(name)) {}

    [[nodiscard]] std::expected<void, std::string> attach(std::uint16_t queues);
    [[nodiscard]] bool attach_queue(std::uint16_t index, int file, bool attached);
    void count_queue(std::uint16_t index, bool attached);
    void steer();
    [[nodiscard]] std::expected<void, std::string> configure(
        const TapSettings& settings, bool is_new);

    /// As it was called when it was opened.
    std::string name_;
    unsigned index_ = 0;
    std::uint32_t mtu_ = 0;
    std::vector<std::unique_ptr<FileQueue>> queues_;

    // Queues are attached by their channels' threads.
    std::mutex mutex_;
    bool plugged_ = true;
    ReceiveScaling scaling_;
    /// Those that are attached, by the device's numbers.
    std::vector<std::uint16_t> attached_;
    std::unique_ptr<steering::Steering> steering_;
    /// The device goes by the program.
    bool steered_ = false;
};

} // namespace croft::vsp::network
