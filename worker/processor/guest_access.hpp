// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/virtual_processor.hpp"
#include "vdev/bus.hpp"
#include "worker/emulate/emulator.hpp"
#include "worker/memory/guest_memory.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace croft::worker {

/// What the hypervisor knows about the address that trapped.
struct TrappedAddress {
    std::uint64_t gpa = 0;
    /// The linear address that leads there by an operand of the instruction, if it is known.
    std::optional<std::uint64_t> gva;
    /// The guest may write there.
    bool writable = false;
};

/// Lets an emulated instruction reach memory and devices as its processor would: translated by the
/// processor's page tables with its privilege, page by page. The first access to a device has to be
/// the one that trapped.
class GuestAccess final : public EmulatorEnvironment {
public:
    GuestAccess(hv::VirtualProcessor& processor, GuestMemory& memory, vdev::Bus& bus,
        bool is_user_mode, std::optional<TrappedAddress> trapped);

    [[nodiscard]] Fault read_memory(
        const LinearAccess& access, std::span<std::uint8_t> bytes) override;
    [[nodiscard]] Fault write_memory(
        const LinearAccess& access, std::span<const std::uint8_t> bytes) override;
    [[nodiscard]] std::size_t fetch(std::uint64_t address, std::span<std::uint8_t> bytes) override;
    [[nodiscard]] std::uint32_t read_port(std::uint16_t port, unsigned size) override;
    void write_port(std::uint16_t port, unsigned size, std::uint32_t value) override;
    [[nodiscard]] std::array<std::uint8_t, 16> read_xmm(unsigned index) override;
    void write_xmm(unsigned index, const std::array<std::uint8_t, 16>& value) override;

private:
    /// A part of an access that lies in one page.
    struct Piece {
        std::uint64_t gpa = 0;
        std::size_t offset = 0;
        std::size_t size = 0;
    };
    /// An access is shorter than a page, so it touches two at most.
    class Pieces {
    public:
        void push_back(const Piece& piece) { pieces_.at(count_++) = piece; }
        [[nodiscard]] const Piece* begin() const { return pieces_.data(); }
        [[nodiscard]] const Piece* end() const { return pieces_.data() + count_; }

    private:
        std::array<Piece, 2> pieces_{};
        std::size_t count_ = 0;
    };

    [[nodiscard]] Fault translate(const LinearAccess& access, std::size_t size, Pieces& pieces);
    [[nodiscard]] std::optional<std::uint64_t> known_gpa(
        const LinearAccess& access, std::uint64_t address) const;
    void expect_trap(const Pieces& pieces);
    void read_physical(std::uint64_t gpa, std::span<std::uint8_t> bytes);
    void write_physical(std::uint64_t gpa, std::span<const std::uint8_t> bytes);

    hv::VirtualProcessor& processor_;
    GuestMemory& memory_;
    vdev::Bus& bus_;
    const bool is_user_mode_;
    const std::optional<TrappedAddress> trapped_;
    bool has_met_trap_ = false;
};

} // namespace croft::worker
