// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/guest_pages.hpp"
#include "worker/memory/guest_memory.hpp"

namespace croft::worker {

/// A VM's memory as service providers in this process share it with the guest.
class MemoryPages final : public vmbus::GuestPages {
public:
    /// `memory` outlives the object.
    explicit MemoryPages(const GuestMemory& memory) : memory_(memory) {}

    [[nodiscard]] std::uint8_t* page(std::uint64_t page) const override {
        return memory_.shared_page(page);
    }
    /// What providers in other processes get. The file stays the memory's.
    [[nodiscard]] vmbus::MemoryFile file() const { return memory_.file(); }

private:
    const GuestMemory& memory_;
};

} // namespace croft::worker
