// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/descriptor.hpp"
#include "vsp/network/back_end.hpp"

#include <functional>

namespace croft::vsp::network {

/// A queue whose frames come and go by a descriptor, one by each read or write: a TAP device's, or
/// a socket that keeps messages apart.
class FileQueue final : public Queue {
public:
    /// `descriptor` doesn't block. `attach` says whether frames are to come to this one; it may
    /// answer false if it can't say so.
    explicit FileQueue(
        vmbus::Descriptor descriptor, std::function<bool(bool attached)> attach = nullptr);

    [[nodiscard]] int descriptor() const override { return descriptor_.get(); }
    [[nodiscard]] int receive(std::span<const iovec> segments) override;
    [[nodiscard]] int send(std::span<const iovec> segments) override;
    void enable(bool enabled) override;

private:
    void drain();

    vmbus::Descriptor descriptor_;
    std::function<bool(bool)> attach_;
    bool enabled_ = false;
};

} // namespace croft::vsp::network
