// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/scsi/disk_unit.hpp"

#include "vsp/storage/scsi/capacity.hpp"
#include "vsp/storage/scsi/limits.hpp"
#include "vsp/storage/scsi/mode_pages.hpp"
#include "vsp/storage/scsi/unmap.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace croft::vsp::storage::scsi {

namespace {

constexpr std::array pages = {VpdPage::supported_pages, VpdPage::unit_serial_number,
    VpdPage::device_identification, VpdPage::block_limits, VpdPage::block_device_characteristics,
    VpdPage::logical_block_provisioning};

// Bits of WRITE SAME's second byte; the last is of (16) only.
constexpr std::uint8_t write_same_protection = 0xe0;
constexpr std::uint8_t write_same_anchor = 0x10;
constexpr std::uint8_t write_same_unmap = 0x08;
constexpr std::uint8_t write_same_address_data = 0x06;
constexpr std::uint8_t write_same_no_data = 0x01;

// Of VERIFY's.
constexpr std::uint8_t verify_protection = 0xe0;
constexpr std::uint8_t compare_all = 0x02;
constexpr std::uint8_t compare_one_block = 0x06;

bool has_no_data(const Cdb& cdb) {
    return cdb.operation() == OperationCode::write_same_16 && (cdb[1] & write_same_no_data) != 0;
}

} // namespace

DiskUnit::DiskUnit(const Identity& identity, const disk::Geometry& geometry)
    : identity_(identity),
      geometry_(geometry),
      size_(geometry.size) {}

disk::Geometry DiskUnit::geometry() const {
    disk::Geometry now = geometry_;
    now.size = size_.load(std::memory_order_relaxed);
    return now;
}

std::uint64_t DiskUnit::block_count() const {
    return size_.load(std::memory_order_relaxed) / geometry_.logical_sector_size;
}

bool DiskUnit::contains(const Blocks& blocks) const {
    const std::uint64_t count = block_count();
    return blocks.first <= count && blocks.count <= count - blocks.first;
}

void DiskUnit::medium_changed(const std::optional<disk::Geometry>& geometry) {
    if (geometry && size_.exchange(geometry->size, std::memory_order_relaxed) != geometry->size) {
        attend(Attention::new_capacity);
    }
}

std::size_t DiskUnit::parameter_length(const Cdb& cdb) const {
    switch (cdb.operation()) {
    case OperationCode::unmap:
        return std::min<std::size_t>(cdb.number(7, 2), largest_parameters);
    case OperationCode::write_same_10:
    case OperationCode::write_same_16:
        return has_no_data(cdb) ? 0 : block_size();
    case OperationCode::verify_10:
    case OperationCode::verify_12:
    case OperationCode::verify_16:
        return (cdb[1] & verify_byte_check) == compare_one_block ? block_size() : 0;
    default:
        return 0;
    }
}

Answer DiskUnit::inquire(const Cdb& cdb) const {
    const std::uint64_t allocation_length = cdb.number(3, 2);
    if ((cdb[1] & 0x01) != 0) {
        return vital_product_data(static_cast<VpdPage>(cdb[2]), allocation_length);
    }
    if (cdb[2] != 0) {
        return Answer(invalid_field_in_cdb);
    }
    return {standard_inquiry(type_block, false, "Virtual Disk"), allocation_length};
}

Answer DiskUnit::vital_product_data(VpdPage page, std::uint64_t allocation_length) const {
    switch (page) {
    case VpdPage::supported_pages:
        return {supported_pages(type_block, pages), allocation_length};
    case VpdPage::unit_serial_number:
        return {unit_serial_number(type_block, identity_), allocation_length};
    case VpdPage::device_identification:
        return {device_identification(type_block, identity_), allocation_length};
    case VpdPage::block_limits:
        return {block_limits(geometry_), allocation_length};
    case VpdPage::block_device_characteristics:
        return {block_device_characteristics(), allocation_length};
    case VpdPage::logical_block_provisioning:
        return {logical_block_provisioning(geometry_), allocation_length};
    }
    return Answer(invalid_field_in_cdb);
}

Outcome DiskUnit::transfer(const Transfer& transfer) {
    if (transfer.wants_protection) {
        return Answer(invalid_field_in_cdb);
    }
    if (!contains(transfer.blocks)) {
        return Answer(lba_out_of_range);
    }
    if (transfer.is_write && geometry_.read_only) {
        return Answer(write_protected);
    }
    if (transfer.blocks.count == 0) {
        return Answer();
    }
    return MediumAccess{transfer.is_write ? disk::Operation::write : disk::Operation::read,
        transfer.is_write && transfer.force_unit_access, transfer.blocks};
}

Outcome DiskUnit::command(const Cdb& cdb, std::span<const std::uint8_t> parameters) {
    switch (cdb.operation()) {
    case OperationCode::test_unit_ready:
    case OperationCode::start_stop_unit: // there is nothing that could spin
    case OperationCode::prevent_allow_medium_removal:
        return Answer();
    case OperationCode::read_capacity_10:
        return Answer(capacity_10(geometry()), 8);
    case OperationCode::service_action_in_16:
        return (cdb[1] & 0x1f) == read_capacity_16
            ? Answer(capacity_16(geometry()), cdb.number(10, 4))
            : Answer(invalid_field_in_cdb);
    case OperationCode::mode_sense_6:
    case OperationCode::mode_sense_10:
        return mode_sense(cdb);
    case OperationCode::synchronize_cache_10:
    case OperationCode::synchronize_cache_16:
        return synchronize_cache(cdb);
    case OperationCode::verify_10:
    case OperationCode::verify_12:
    case OperationCode::verify_16:
        return verify(cdb, parameters);
    case OperationCode::unmap:
        return unmap(cdb, parameters);
    case OperationCode::write_same_10:
    case OperationCode::write_same_16:
        return write_same(cdb, parameters);
    default:
        return Answer(invalid_command_operation_code);
    }
}

Answer DiskUnit::mode_sense(const Cdb& cdb) const {
    const std::array all = {caching_page(), control_page(), informational_exceptions_page()};
    const std::uint8_t device_specific = geometry_.read_only ? device_write_protected : 0;
    return scsi::mode_sense(cdb, device_specific | device_dpofua, all);
}

Outcome DiskUnit::synchronize_cache(const Cdb& cdb) const {
    if (!contains(parse_blocks(cdb))) {
        return Answer(lba_out_of_range);
    }
    if (geometry_.read_only) {
        return Answer();
    }
    // All of it: a part would cost as much.
    return MediumAccess{disk::Operation::flush, false, {}};
}

Outcome DiskUnit::verify(const Cdb& cdb, std::span<const std::uint8_t> parameters) const {
    using Data = MediumAccess::Data;
    const Blocks blocks = parse_blocks(cdb);
    const unsigned check = cdb[1] & verify_byte_check;
    if ((cdb[1] & verify_protection) != 0 ||
        (check != 0 && check != compare_all && check != compare_one_block) ||
        blocks.count > largest_transfer / block_size()) { // SBC-4 5.40, VERIFICATION LENGTH
        return Answer(invalid_field_in_cdb);
    }
    if (!contains(blocks)) {
        return Answer(lba_out_of_range);
    }
    if (blocks.count == 0) {
        return Answer();
    }
    MediumAccess access{disk::Operation::read, false, blocks};
    switch (check) {
    case compare_all:
        access.data = Data::is_compared;
        break;
    case compare_one_block:
        if (parameters.size() < block_size()) {
            return Answer(invalid_field_in_parameter_list);
        }
        access.data = Data::is_one_block;
        access.block.assign(parameters.begin(), parameters.end());
        break;
    default:
        access.data = Data::is_unused;
        break;
    }
    return access;
}

Outcome DiskUnit::unmap(const Cdb& cdb, std::span<const std::uint8_t> parameters) const {
    if (!is_thin(geometry_)) {
        return Answer(geometry_.read_only ? write_protected : invalid_command_operation_code);
    }
    if ((cdb[1] & 0x01) != 0) {
        return Answer(invalid_field_in_cdb); // ANCHOR
    }
    if (cdb.number(7, 2) == 0) {
        return Answer();
    }
    std::expected<std::vector<Blocks>, Sense> ranges = parse_unmap(parameters, block_count());
    if (!ranges) {
        return Answer(ranges.error());
    }
    if (ranges->empty()) {
        return Answer();
    }
    MediumAccess access{disk::Operation::discard, false, ranges->front()};
    ranges->erase(ranges->begin());
    access.more = std::move(*ranges);
    return access;
}

Outcome DiskUnit::write_same(const Cdb& cdb, std::span<const std::uint8_t> parameters) const {
    if (geometry_.read_only) {
        return Answer(write_protected);
    }
    const Blocks blocks = parse_blocks(cdb);
    const std::uint8_t refused =
        write_same_protection | write_same_anchor | write_same_address_data;
    const bool unmaps = (cdb[1] & write_same_unmap) != 0;
    if ((cdb[1] & refused) != 0 || (unmaps && !is_thin(geometry_)) || blocks.count == 0 ||
        blocks.count > largest_write_same) {
        return Answer(invalid_field_in_cdb);
    }
    if (!contains(blocks)) {
        return Answer(lba_out_of_range);
    }
    if (!has_no_data(cdb) && parameters.size() < block_size()) {
        return Answer(invalid_field_in_parameter_list);
    }
    // Zeros are what it is used for, and what a disk can do without having them written.
    if (std::ranges::all_of(parameters, [](std::uint8_t byte) { return byte == 0; })) {
        return MediumAccess{disk::Operation::write_zeroes, false, blocks};
    }
    MediumAccess access{disk::Operation::write, false, blocks};
    access.data = MediumAccess::Data::is_one_block;
    access.block.assign(parameters.begin(), parameters.end());
    return access;
}

} // namespace croft::vsp::storage::scsi
