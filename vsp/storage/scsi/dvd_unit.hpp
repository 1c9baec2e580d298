// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/storage/scsi/logical_unit.hpp"
#include "vsp/storage/scsi/multimedia.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

namespace croft::vsp::storage::scsi {

/// A DVD drive (MMC-6): its disc comes from the host, and the guest may put it out. What it put out
/// is in the drive again when it loads it, unless the host has taken it away.
class DvdUnit final : public LogicalUnit {
public:
    static constexpr std::uint32_t block_bytes = 2048;

    /// `ejected` is called when the guest has put a disc out, on the thread of its command.
    explicit DvdUnit(
        const Identity& identity, std::function<void()> ejected = [] {})
        : identity_(identity),
          ejected_(std::move(ejected)) {}

    [[nodiscard]] std::size_t parameter_length(const Cdb&) const override { return 0; }
    [[nodiscard]] std::uint32_t block_size() const override { return block_bytes; }
    [[nodiscard]] bool has_medium() const override { return disc_blocks() != 0; }
    /// The host closes the tray with another disc in it, or with none.
    void medium_changed(const std::optional<disk::Geometry>& geometry) override;

    /// The host takes the disc that the guest has put out, and leaves the tray open. False if there
    /// is none in it.
    bool take_ejected();

    /// The guest wants the disc to stay.
    [[nodiscard]] bool is_locked() const { return is_locked_.load(std::memory_order_relaxed); }

    [[nodiscard]] UnitState save() const override;
    void restore(const UnitState& state) override;

private:
    [[nodiscard]] Answer inquire(const Cdb& cdb) const override;
    [[nodiscard]] Outcome transfer(const Transfer& transfer) override;
    [[nodiscard]] Outcome command(
        const Cdb& cdb, std::span<const std::uint8_t> parameters) override;

    /// 0 if none can be read.
    [[nodiscard]] std::uint64_t disc_blocks() const;
    [[nodiscard]] Sense no_disc() const;
    [[nodiscard]] Answer about_disc(const Cdb& cdb, std::uint64_t blocks);
    [[nodiscard]] Answer mode_sense(const Cdb& cdb) const;
    [[nodiscard]] Answer event_status(const Cdb& cdb);
    [[nodiscard]] Answer start_stop(const Cdb& cdb);
    [[nodiscard]] Answer prevent_allow(const Cdb& cdb);

    const Identity identity_;
    const std::function<void()> ejected_;
    /// Blocks of the disc that the host has put in; 0 without one.
    std::atomic<std::uint64_t> blocks_ = 0;
    std::atomic<bool> is_locked_ = false;
    std::atomic<bool> is_open_ = false;
    std::atomic<MediaEvent> event_ = MediaEvent::no_change;
};

} // namespace croft::vsp::storage::scsi
