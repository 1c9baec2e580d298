// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/command_queue.hpp"

#include "vsp/storage/guest_buffer.hpp"

#include <algorithm>
#include <utility>

namespace croft::vsp::storage {

namespace {

/// What is accessed at a time by commands whose data isn't where the guest has it. Little, as each
/// that is under way takes so much of the host's memory.
constexpr std::uint64_t step_bytes = 64 * 1024;

/// Long commands that a drive does at a time: enough to keep it busy, and what bounds the memory
/// that they take and the time until the last of them is over.
constexpr unsigned most_long_ones = 4;

/// Whether it may be much more work than the guest's data tells.
bool is_long(const scsi::MediumAccess& medium) {
    return medium.data != scsi::MediumAccess::Data::moves ||
        medium.operation == disk::Operation::discard ||
        medium.operation == disk::Operation::write_zeroes;
}

} // namespace

/// A command that the medium is accessed for.
struct CommandQueue::Access {
    using Data = scsi::MediumAccess::Data;

    disk::Request request;
    CommandQueue* queue = nullptr;
    Slot* slot = nullptr;
    std::uint64_t transaction_id = 0;
    std::size_t packet_size = 0;
    std::uint8_t sense_room = 0;
    std::uint32_t block_size = 0;
    bool is_long = false;
    Data data = Data::moves;
    /// Bytes of the guest's data that the command takes or gives.
    std::uint32_t moved = 0;
    /// The guest's data.
    std::vector<iovec> segments;
    /// Data that is only ours, and where the next of it belongs in the guest's.
    std::vector<std::uint8_t> buffer;
    iovec buffer_segment{};
    std::size_t buffer_offset = 0;
    /// What each block is to be.
    std::vector<std::uint8_t> block;
    /// Ranges that are still to be accessed, the next one last.
    std::vector<scsi::Blocks> left;

    void prepare(scsi::MediumAccess&& medium);
    void take_buffer();
    void step();
    [[nodiscard]] bool is_right() const;
    [[nodiscard]] std::optional<std::uint64_t> failed_block() const;
};

void CommandQueue::Access::prepare(scsi::MediumAccess&& medium) {
    data = medium.data;
    block = std::move(medium.block);
    left = std::move(medium.more);
    left.push_back(medium.blocks);
    request.operation = medium.operation;
    request.durable = medium.durable;
    request.segments = {};
    buffer_offset = 0;
    if (data == Data::moves) {
        if (request.operation == disk::Operation::read ||
            request.operation == disk::Operation::write) {
            request.segments = segments;
        }
    }
}

/// When its turn has come, as those that wait are many.
void CommandQueue::Access::take_buffer() {
    if (data == Data::moves) {
        return;
    }
    buffer.resize(std::min(left.back().count, step_bytes / block_size) * block_size);
    if (request.operation == disk::Operation::write) {
        for (auto to = buffer.begin(); to != buffer.end();) {
            to = std::ranges::copy(block, to).out;
        }
    }
}

/// The request becomes the next one.
void CommandQueue::Access::step() {
    scsi::Blocks& next = left.back();
    const std::uint64_t count =
        data == Data::moves ? next.count : std::min(next.count, step_bytes / block_size);
    request.offset = next.first * block_size;
    request.length = count * block_size;
    if (data != Data::moves) {
        buffer_segment = {buffer.data(), request.length};
        request.segments = {&buffer_segment, 1};
    }
    next.first += count;
    next.count -= count;
    if (next.count == 0) {
        left.pop_back();
    }
}

/// Whether what was read is what it has to be.
bool CommandQueue::Access::is_right() const {
    if (request.operation != disk::Operation::read) {
        return true;
    }
    const std::span<const std::uint8_t> found(buffer.data(), request.length);
    switch (data) {
    case Data::is_compared:
        return is_equal(segments, buffer_offset, found);
    case Data::is_one_block:
        for (std::size_t at = 0; at < found.size(); at += block.size()) {
            if (!std::ranges::equal(found.subspan(at, block.size()), block)) {
                return false;
            }
        }
        return true;
    case Data::moves:
    case Data::is_unused:
        break;
    }
    return true;
}

std::optional<std::uint64_t> CommandQueue::Access::failed_block() const {
    return request.failed_at ? std::optional(*request.failed_at / block_size) : std::nullopt;
}

CommandQueue::CommandQueue(
    disk::Ring& ring, std::function<void(const Reply&)> completed, Refused refused)
    : ring_(ring),
      completed_(std::move(completed)),
      refused_(std::move(refused)) {}

CommandQueue::~CommandQueue() = default;

void CommandQueue::set_drive(std::uint8_t lun, const Drive& drive) {
    Slot& slot = slots_[lun];
    slot.drive = drive;
    slot.queue = drive.disk != nullptr ? drive.disk->open_queue(ring_) : nullptr;
}

void CommandQueue::release_disk(
    std::uint8_t lun, const std::shared_ptr<scsi::LogicalUnit>& unit, std::function<void()> done) {
    Slot& slot = slots_[lun];
    slot.drive = {unit, nullptr};
    slot.released = std::move(done);
    abort_waiting(slot);
    release_if_unused(slot);
}

void CommandQueue::hasten() {
    hastened_ = true;
    for (Slot& slot : slots_) {
        abort_waiting(slot);
    }
}

bool CommandQueue::is_hastened(const Slot& slot) const {
    return hastened_ || slot.released;
}

void CommandQueue::abort_waiting(Slot& slot) noexcept {
    for (Access* const access : std::exchange(slot.waiting, {})) {
        end(*access, scsi::command_aborted);
    }
}

void CommandQueue::release_disks() {
    for (Slot& slot : slots_) {
        slot.drive.disk = nullptr;
        slot.queue.reset();
    }
}

void CommandQueue::release_if_unused(Slot& slot) {
    if (slot.in_flight == 0 && slot.released) {
        slot.queue.reset();
        std::exchange(slot.released, nullptr)();
    }
}

CommandQueue::Slot* CommandQueue::slot_of(const protocol::ScsiRequest& request) {
    const bool is_ours = request.path == 0 && request.target == 0 && request.lun < lun_count;
    return is_ours && slots_[request.lun].drive.unit != nullptr ? &slots_[request.lun] : nullptr;
}

scsi::Answer CommandQueue::report_luns(const ScsiCommand& command) const {
    std::vector<std::uint8_t> luns;
    for (std::uint8_t lun = 0; lun < lun_count; ++lun) {
        if (command.request.path == 0 && command.request.target == 0 &&
            slots_[lun].drive.unit != nullptr) {
            luns.push_back(lun);
        }
    }
    return scsi::report_luns(command.cdb, luns);
}

scsi::Answer CommandQueue::refuse(std::string_view reason) const {
    refused_(reason);
    return scsi::Answer(scsi::invalid_field_in_cdb);
}

scsi::Outcome CommandQueue::ask_unit(scsi::LogicalUnit& unit, const ScsiCommand& command) {
    parameters_.resize(
        std::min<std::size_t>(unit.parameter_length(command.cdb), command.request.data_length));
    copy_from_guest(command.segments, parameters_);
    return unit.execute(command.cdb, parameters_);
}

std::optional<protocol::Packet> CommandQueue::execute(
    const Request& request, ScsiCommand& command) {
    const scsi::OperationCode operation = command.cdb.operation();
    Slot* const slot = slot_of(command.request);
    scsi::Outcome outcome;
    if (command.request.cdb_length < command.cdb.length()) {
        outcome = refuse("a command is shorter than its operation says");
    } else if (command.goes_wrong_way) {
        outcome = refuse("a command's data goes the wrong way");
    } else if (operation == scsi::OperationCode::report_luns) {
        outcome = report_luns(command);
    } else if (slot != nullptr) {
        outcome = ask_unit(*slot->drive.unit, command);
    } else if (operation == scsi::OperationCode::inquiry) {
        outcome = scsi::inquire_no_unit(command.cdb);
    } else {
        return no_unit_reply();
    }
    if (auto* const medium = std::get_if<scsi::MediumAccess>(&outcome)) {
        return start(*slot, std::move(*medium), request, command);
    }
    const auto& answer = std::get<scsi::Answer>(outcome);
    if (answer.sense != scsi::no_sense) {
        return sense_reply(answer.sense, command.request.sense_length);
    }
    copy_to_guest(command.segments, answer.data);
    return good_reply(static_cast<std::uint32_t>(
        std::min<std::size_t>(answer.data.size(), command.request.data_length)));
}

std::optional<protocol::Packet> CommandQueue::start(
    Slot& slot, scsi::MediumAccess&& medium, const Request& request, ScsiCommand& command) {
    if (slot.drive.disk == nullptr) {
        return sense_reply(scsi::medium_not_present, command.request.sense_length);
    }
    const bool has_data =
        medium.operation == disk::Operation::read || medium.operation == disk::Operation::write;
    const bool has_guests_data = has_data &&
        (medium.data == Access::Data::moves || medium.data == Access::Data::is_compared);
    const std::uint32_t block_size = slot.drive.unit->block_size();
    std::uint64_t bytes = medium.block.size();
    if (has_guests_data) {
        bytes = medium.blocks.count * block_size;
        if (bytes > command.request.data_length) {
            return sense_reply(
                refuse("a command has less data than blocks").sense, command.request.sense_length);
        }
        shorten(command.segments, bytes);
    }
    Access& access = take_access();
    access.slot = &slot;
    access.transaction_id = request.transaction_id;
    access.packet_size = request.size;
    access.sense_room = command.request.sense_length;
    access.block_size = block_size;
    access.is_long = is_long(medium);
    access.moved = static_cast<std::uint32_t>(bytes);
    access.segments.swap(command.segments);
    access.prepare(std::move(medium));
    ++in_flight_;
    ++slot.in_flight;
    if (access.is_long && slot.long_ones == most_long_ones) {
        slot.waiting.push_back(&access);
    } else {
        begin(access);
    }
    return std::nullopt;
}

CommandQueue::Access& CommandQueue::take_access() {
    if (free_.empty()) {
        accesses_.push_back(std::make_unique<Access>());
        Access& made = *accesses_.back();
        made.queue = this;
        made.request.context = &made;
        made.request.done = [](disk::Request& request) noexcept {
            auto& access = *static_cast<Access*>(request.context);
            access.queue->accessed(access);
        };
        return made;
    }
    Access& access = *free_.back();
    free_.pop_back();
    return access;
}

void CommandQueue::begin(Access& access) {
    access.slot->long_ones += access.is_long ? 1 : 0;
    access.take_buffer();
    submit(access);
}

void CommandQueue::submit(Access& access) {
    access.step();
    access.slot->queue->submit(access.request);
}

void CommandQueue::accessed(Access& access) noexcept {
    const disk::Request& request = access.request;
    Slot& slot = *access.slot;
    scsi::Sense sense = scsi::sense_of(request.status, request.operation, access.failed_block());
    if (request.status.ok()) {
        if (!access.is_right()) {
            sense = scsi::miscompare_during_verify;
        } else if (!access.left.empty() && is_hastened(slot)) {
            sense = scsi::command_aborted;
        } else if (!access.left.empty()) {
            access.buffer_offset += request.length;
            submit(access);
            return;
        }
    }
    if (access.is_long) {
        --slot.long_ones;
        if (!slot.waiting.empty()) {
            Access& next = *slot.waiting.front();
            slot.waiting.pop_front();
            begin(next);
        }
    }
    end(access, sense);
}

void CommandQueue::end(Access& access, const scsi::Sense& sense) noexcept {
    const Reply reply{access.transaction_id, access.packet_size,
        sense == scsi::no_sense ? good_reply(access.moved) : sense_reply(sense, access.sense_room)};
    Slot& slot = *access.slot;
    access.buffer = {};
    free_.push_back(&access);
    --in_flight_;
    --slot.in_flight;
    release_if_unused(slot);
    completed_(reply);
}

} // namespace croft::vsp::storage
