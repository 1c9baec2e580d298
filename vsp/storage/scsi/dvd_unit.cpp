// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/scsi/dvd_unit.hpp"

#include "vsp/storage/scsi/capacity.hpp"
#include "vsp/storage/scsi/mode_pages.hpp"

#include <array>

namespace croft::vsp::storage::scsi {

std::uint64_t DvdUnit::disc_blocks() const {
    return is_open_.load(std::memory_order_relaxed) ? 0 : blocks_.load(std::memory_order_relaxed);
}

Sense DvdUnit::no_disc() const {
    return is_open_.load(std::memory_order_relaxed) ? medium_not_present_tray_open
                                                    : medium_not_present;
}

void DvdUnit::medium_changed(const std::optional<disk::Geometry>& geometry) {
    const std::uint64_t blocks = geometry ? geometry->size / block_bytes : 0;
    blocks_.store(blocks, std::memory_order_relaxed);
    is_open_.store(false, std::memory_order_relaxed);
    event_.store(
        blocks != 0 ? MediaEvent::new_media : MediaEvent::media_removal, std::memory_order_relaxed);
    if (blocks != 0) {
        attend(Attention::new_medium);
    }
}

bool DvdUnit::take_ejected() {
    return is_open_.load(std::memory_order_relaxed) &&
        blocks_.exchange(0, std::memory_order_relaxed) != 0;
}

UnitState DvdUnit::save() const {
    UnitState state = LogicalUnit::save();
    state.is_locked = is_locked();
    state.is_open = is_open_.load(std::memory_order_relaxed);
    return state;
}

void DvdUnit::restore(const UnitState& state) {
    LogicalUnit::restore(state);
    is_locked_.store(state.is_locked, std::memory_order_relaxed);
    is_open_.store(state.is_open, std::memory_order_relaxed);
    event_.store(MediaEvent::no_change, std::memory_order_relaxed);
}

Answer DvdUnit::inquire(const Cdb& cdb) const {
    constexpr std::array pages = {
        VpdPage::supported_pages, VpdPage::unit_serial_number, VpdPage::device_identification};
    const std::uint64_t allocation_length = cdb.number(3, 2);
    if ((cdb[1] & 0x01) == 0) {
        return cdb[2] != 0
            ? Answer(invalid_field_in_cdb)
            : Answer(standard_inquiry(type_multimedia, true, "Virtual DVD-ROM"), allocation_length);
    }
    switch (static_cast<VpdPage>(cdb[2])) {
    case VpdPage::supported_pages:
        return {supported_pages(type_multimedia, pages), allocation_length};
    case VpdPage::unit_serial_number:
        return {unit_serial_number(type_multimedia, identity_), allocation_length};
    case VpdPage::device_identification:
        return {device_identification(type_multimedia, identity_), allocation_length};
    default:
        return Answer(invalid_field_in_cdb);
    }
}

Outcome DvdUnit::transfer(const Transfer& transfer) {
    if (transfer.is_write) {
        return Answer(invalid_command_operation_code);
    }
    const std::uint64_t count = disc_blocks();
    if (count == 0) {
        return Answer(no_disc());
    }
    if (transfer.wants_protection) {
        return Answer(invalid_field_in_cdb);
    }
    const Blocks& blocks = transfer.blocks;
    if (blocks.first > count || blocks.count > count - blocks.first) {
        return Answer(lba_out_of_range);
    }
    if (blocks.count == 0) {
        return Answer();
    }
    return MediumAccess{disk::Operation::read, false, blocks, {}};
}

Outcome DvdUnit::command(const Cdb& cdb, std::span<const std::uint8_t>) {
    switch (cdb.operation()) {
    case OperationCode::mode_sense_6:
    case OperationCode::mode_sense_10:
        return mode_sense(cdb);
    case OperationCode::get_configuration:
        return get_configuration(cdb, disc_blocks() != 0);
    case OperationCode::get_event_status_notification:
        return event_status(cdb);
    case OperationCode::start_stop_unit:
        return start_stop(cdb);
    case OperationCode::prevent_allow_medium_removal:
        return prevent_allow(cdb);
    case OperationCode::test_unit_ready:
    case OperationCode::read_capacity_10:
    case OperationCode::read_toc:
    case OperationCode::read_disc_information:
    case OperationCode::synchronize_cache_10: {
        const std::uint64_t blocks = disc_blocks();
        return blocks != 0 ? about_disc(cdb, blocks) : Answer(no_disc());
    }
    default:
        return Answer(invalid_command_operation_code);
    }
}

Answer DvdUnit::about_disc(const Cdb& cdb, std::uint64_t blocks) {
    switch (cdb.operation()) {
    case OperationCode::read_capacity_10:
        return {capacity_10({.size = blocks * block_bytes, .logical_sector_size = block_bytes}), 8};
    case OperationCode::read_toc:
        return scsi::read_toc(cdb, blocks);
    case OperationCode::read_disc_information:
        return scsi::read_disc_information(cdb);
    default:
        return Answer();
    }
}

Answer DvdUnit::mode_sense(const Cdb& cdb) const {
    const std::array pages = {error_recovery_page(), capabilities_page(is_locked())};
    return scsi::mode_sense(cdb, 0, pages);
}

Answer DvdUnit::event_status(const Cdb& cdb) {
    // An event is told once.
    const bool polled = (cdb[1] & 0x01) != 0;
    const MediaEvent event = polled && asks_for_media_events(cdb)
        ? event_.exchange(MediaEvent::no_change, std::memory_order_relaxed)
        : MediaEvent::no_change;
    return get_event_status_notification(
        cdb, event, disc_blocks() != 0, is_open_.load(std::memory_order_relaxed));
}

Answer DvdUnit::start_stop(const Cdb& cdb) {
    const bool start = (cdb[4] & 0x01) != 0;
    const bool load_or_eject = (cdb[4] & 0x02) != 0;
    if ((cdb[4] & 0xf0) != 0 || !load_or_eject) {
        return Answer(); // power conditions, and spinning, mean nothing here
    }
    if (!start && is_locked()) {
        return Answer(medium_removal_prevented);
    }
    if (is_open_.exchange(!start, std::memory_order_relaxed) == !start) {
        return Answer();
    }
    const bool has_disc = blocks_.load(std::memory_order_relaxed) != 0;
    if (has_disc) {
        event_.store(
            start ? MediaEvent::new_media : MediaEvent::media_removal, std::memory_order_relaxed);
    }
    if (has_disc && start) {
        attend(Attention::new_medium);
    }
    if (has_disc && !start) {
        ejected_();
    }
    return Answer();
}

Answer DvdUnit::prevent_allow(const Cdb& cdb) {
    is_locked_.store((cdb[4] & 0x01) != 0, std::memory_order_relaxed);
    return Answer();
}

} // namespace croft::vsp::storage::scsi
