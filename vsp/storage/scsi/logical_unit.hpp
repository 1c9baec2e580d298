// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/disk.hpp"
#include "vsp/storage/scsi/inquiry.hpp"
#include "vsp/storage/scsi/outcome.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace croft::vsp::storage::scsi {

/// Something that happened to a unit and that the guest hears of with its next command.
enum class Attention : std::uint8_t {
    new_medium = 0x01,
    new_capacity = 0x02,
};

constexpr std::uint8_t all_attentions = 0x03;

/// What of a unit outlives the process that serves it.
struct UnitState {
    /// Attention, as a set.
    std::uint8_t attentions = 0;
    /// Of a drive with a tray.
    bool is_locked = false;
    bool is_open = false;

    friend bool operator==(const UnitState&, const UnitState&) = default;
};

/// A logical unit as its commands see it. It touches no medium: it answers what can be answered,
/// and says what is to be done to the medium for the rest. All calls may come from any thread.
class LogicalUnit {
public:
    LogicalUnit() = default;
    LogicalUnit(const LogicalUnit&) = delete;
    LogicalUnit& operator=(const LogicalUnit&) = delete;
    virtual ~LogicalUnit() = default;

    /// Bytes of data of the guest that `execute` wants; no more than `largest_parameters`.
    [[nodiscard]] virtual std::size_t parameter_length(const Cdb& cdb) const = 0;
    /// REPORT LUNS isn't one unit's and doesn't come here.
    [[nodiscard]] Outcome execute(const Cdb& cdb, std::span<const std::uint8_t> parameters);

    /// Bytes in a block of the medium.
    [[nodiscard]] virtual std::uint32_t block_size() const = 0;
    /// Whether there is a medium that the host's changes may be made to.
    [[nodiscard]] virtual bool has_medium() const = 0;
    /// The medium is another one, has another size, or is there no more.
    virtual void medium_changed(const std::optional<disk::Geometry>& geometry) = 0;

    [[nodiscard]] virtual UnitState save() const;
    virtual void restore(const UnitState& state);

protected:
    void attend(Attention attention) {
        attentions_.fetch_or(static_cast<std::uint8_t>(attention), std::memory_order_relaxed);
    }

private:
    [[nodiscard]] virtual Answer inquire(const Cdb& cdb) const = 0;
    /// READ or WRITE of blocks.
    [[nodiscard]] virtual Outcome transfer(const Transfer& transfer) = 0;
    /// All others.
    [[nodiscard]] virtual Outcome command(
        const Cdb& cdb, std::span<const std::uint8_t> parameters) = 0;

    [[nodiscard]] std::optional<Sense> take_attention();
    [[nodiscard]] Answer request_sense(const Cdb& cdb);

    std::atomic<std::uint8_t> attentions_ = 0;
};

/// Which way the data of a command goes that we know.
[[nodiscard]] Direction direction_of(const Cdb& cdb);

/// What INQUIRY says where there is no unit.
[[nodiscard]] Answer inquire_no_unit(const Cdb& cdb);

/// What REPORT LUNS says of a target with these units.
[[nodiscard]] Answer report_luns(const Cdb& cdb, std::span<const std::uint8_t> luns);

} // namespace croft::vsp::storage::scsi
