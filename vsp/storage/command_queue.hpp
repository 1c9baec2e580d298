// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/ring.hpp"
#include "vsp/storage/drive.hpp"
#include "vsp/storage/reply.hpp"
#include "vsp/storage/request.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace croft::vsp::storage {

/// Has a channel's commands done by the drives, any number at a time and in no order. One thread,
/// that of the ring. Payload moves between guest memory and the disk, with no copy in between.
///
/// Commands whose work isn't bounded by data of the guest's (VERIFY, WRITE SAME, UNMAP) are called
/// long. A drive does a few of them at a time, and ends them early when it is to be at rest.
class CommandQueue {
public:
    using Refused = std::function<void(std::string_view reason)>;

    /// `completed` is told of each command that `execute` hasn't answered at once, `refused` of
    /// what is wrong with one that contradicts the request it is in.
    CommandQueue(disk::Ring& ring, std::function<void(const Reply&)> completed, Refused refused);
    /// Nothing is in flight.
    ~CommandQueue();
    CommandQueue(const CommandQueue&) = delete;
    CommandQueue& operator=(const CommandQueue&) = delete;

    /// Has a command done: answers it, or takes its segments and completes it later.
    [[nodiscard]] std::optional<protocol::Packet> execute(
        const Request& request, ScsiCommand& command);

    [[nodiscard]] unsigned in_flight() const { return in_flight_; }

    /// Ends soon what is under way: what has not been begun, and what has more steps, is aborted.
    /// The guest sends it again. Counts for what is executed before the next `start`.
    void hasten();
    /// Long commands may take their time again.
    void start() { hastened_ = false; }

    /// What is at a LUN from now on. There is no disk of before, or it was released.
    void set_drive(std::uint8_t lun, const Drive& drive);
    /// There is only `unit` at a LUN from now on, which may be null. `done` is called when the disk
    /// isn't used any more.
    void release_disk(std::uint8_t lun, const std::shared_ptr<scsi::LogicalUnit>& unit,
        std::function<void()> done);
    /// All disks. Only with nothing in flight.
    void release_disks();

private:
    struct Access;
    /// A drive as this queue uses it.
    struct Slot {
        Drive drive;
        std::unique_ptr<disk::Queue> queue;
        unsigned in_flight = 0;
        /// Long commands that are being done, and those that wait for one of them to end.
        unsigned long_ones = 0;
        std::deque<Access*> waiting;
        /// Who waits until nothing is in flight.
        std::function<void()> released;
    };

    [[nodiscard]] Slot* slot_of(const protocol::ScsiRequest& request);
    [[nodiscard]] scsi::Answer report_luns(const ScsiCommand& command) const;
    [[nodiscard]] scsi::Answer refuse(std::string_view reason) const;
    [[nodiscard]] scsi::Outcome ask_unit(scsi::LogicalUnit& unit, const ScsiCommand& command);
    [[nodiscard]] std::optional<protocol::Packet> start(
        Slot& slot, scsi::MediumAccess&& medium, const Request& request, ScsiCommand& command);
    static void submit(Access& access);
    static void begin(Access& access);
    void accessed(Access& access) noexcept;
    void end(Access& access, const scsi::Sense& sense) noexcept;
    void abort_waiting(Slot& slot) noexcept;
    [[nodiscard]] bool is_hastened(const Slot& slot) const;
    static void release_if_unused(Slot& slot);
    [[nodiscard]] Access& take_access();

    disk::Ring& ring_;
    std::function<void(const Reply&)> completed_;
    Refused refused_;
    std::array<Slot, lun_count> slots_;
    /// Of all there ever were, and those not in use.
    std::vector<std::unique_ptr<Access>> accesses_;
    std::vector<Access*> free_;
    std::vector<std::uint8_t> parameters_;
    unsigned in_flight_ = 0;
    bool hastened_ = false;
};

} // namespace croft::vsp::storage
