// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/descriptor.hpp"
#include "vsp/network/back_end.hpp"
#include "vsp/network/file_queue.hpp"
#include "vsp/network/frame.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace croft::vsp::network::testing {

/// A frame as it is in the network.
struct Frame {
    FrameHeader header;
    std::vector<std::uint8_t> bytes;
};

/// A network at whose other end is the test.
class SocketBackEnd final : public BackEnd {
public:
    explicit SocketBackEnd(std::uint16_t queues);

    /// A frame for the guest; false if the network is full.
    bool offer(const Frame& frame, std::uint16_t queue = 0);
    /// The same, where there must be room.
    void send(const Frame& frame, std::uint16_t queue = 0);
    /// The next one from it.
    [[nodiscard]] std::optional<Frame> receive(std::uint16_t queue = 0);
    /// Takes no more frames, and gives none: as a device that is gone.
    void break_down(std::uint16_t queue = 0);

    [[nodiscard]] Coalescing coalescing() const { return coalescing_; }
    [[nodiscard]] const ReceiveScaling& scaling() const { return scaling_; }
    [[nodiscard]] bool is_plugged() const { return plugged_; }

    // BackEnd
    [[nodiscard]] std::uint16_t queue_count() const override {
        return static_cast<std::uint16_t>(queues_.size());
    }
    [[nodiscard]] Queue& queue(std::uint16_t index) override { return *queues_.at(index); }
    void set_coalescing(Coalescing coalescing) override { coalescing_ = coalescing; }
    void set_scaling(const ReceiveScaling& scaling) override { scaling_ = scaling; }
    void set_plugged(bool plugged) override { plugged_ = plugged; }

private:
    std::vector<std::unique_ptr<FileQueue>> queues_;
    std::vector<vmbus::Descriptor> ends_;
    Coalescing coalescing_;
    ReceiveScaling scaling_;
    bool plugged_ = true;
};

} // namespace croft::vsp::network::testing
