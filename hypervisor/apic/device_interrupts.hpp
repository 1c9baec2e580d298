// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/physical_apic.hpp"
#include "hypervisor/cpu/spin_lock.hpp"

#include <array>
#include <cstdint>
#include <optional>

namespace hypervisor {

class VirtualProcessor;

/// The device interrupts of one logical processor: which physical vector stands for which vector of
/// which virtual processor. Level-triggered ones stay in service in the physical APIC until the
/// guest has ended its own, so that the line does not fire again meanwhile.
class DeviceInterrupts final {
public:
    struct Target {
        VirtualProcessor* vp = nullptr;
        std::uint8_t vector = 0;
        bool level = false;
    };

    constexpr DeviceInterrupts() = default;

    /// Reserves a physical vector for the target, the same number if that is free. From any LP.
    std::optional<std::uint8_t> map(const Target& target);
    /// \return false if the vector is not mapped. From any LP.
    bool unmap(std::uint8_t physical);

    /// What a physical vector that has come in stands for. On the LP itself, as the next two.
    std::optional<Target> find(std::uint8_t physical);
    /// The physical interrupt is in service until the guest ends its vector.
    void begin_level(std::uint8_t physical);
    /// The guest has ended `vector`. \return how many physical interrupts are to be ended: a
    /// physical APIC ends the highest in service, so a lower one waits for those above it.
    unsigned end_level(std::uint8_t vector);

private:
    static constexpr unsigned vectors = 256;
    struct Entry {
        Target target{};
        bool mapped = false;
        bool in_service = false;
        bool ended = false;
    };

    SpinLock lock_{};
    std::array<Entry, vectors> entries_{};
};

} // namespace hypervisor
