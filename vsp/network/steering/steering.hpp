// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/descriptor.hpp"
#include "vsp/network/back_end.hpp"
#include "vsp/network/steering/program.hpp"

#include <cstdint>
#include <memory>
#include <span>

namespace croft::vsp::network::steering {

/// A program in the kernel that chooses the queue by which a frame comes, and what it goes by.
class Steering {
public:
    /// Null if this process may not have programs there (CAP_BPF), or the kernel has no such.
    [[nodiscard]] static std::unique_ptr<Steering> make();

    Steering(const Steering&) = delete;
    Steering& operator=(const Steering&) = delete;
    ~Steering();

    /// To be given to a TAP device (TUNSETSTEERINGEBPF).
    [[nodiscard]] int program() const { return program_.get(); }

    /// Frames are spread by it from now on. `queues`: the device's number of the queue that each
    /// channel has. Needs no rights.
    void set(const ReceiveScaling& scaling, std::span<const std::uint8_t> queues);

private:
    Steering(vmbus::Descriptor map, vmbus::Descriptor program, Rules& rules);

    vmbus::Descriptor map_;
    vmbus::Descriptor program_;
    /// In memory that the program reads.
    Rules& rules_;
};

} // namespace croft::vsp::network::steering
