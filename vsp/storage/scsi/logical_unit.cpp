// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/scsi/logical_unit.hpp"

#include "vsp/storage/scsi/big_endian.hpp"

#include <bit>

namespace croft::vsp::storage::scsi {

std::optional<Sense> LogicalUnit::take_attention() {
    std::uint8_t pending = attentions_.load(std::memory_order_relaxed);
    while (pending != 0) {
        const auto first = static_cast<std::uint8_t>(1U << std::countr_zero(pending));
        const auto rest = static_cast<std::uint8_t>(pending & ~first);
        if (attentions_.compare_exchange_weak(pending, rest, std::memory_order_relaxed)) {
            return first == static_cast<std::uint8_t>(Attention::new_medium)
                ? medium_may_have_changed
                : capacity_data_has_changed;
        }
    }
    return std::nullopt;
}

Answer LogicalUnit::request_sense(const Cdb& cdb) {
    if ((cdb[1] & 0x01) != 0) {
        return Answer(invalid_field_in_cdb); // the descriptor format
    }
    const auto bytes = fixed_format(take_attention().value_or(no_sense));
    return {{bytes.begin(), bytes.end()}, cdb[4]};
}

namespace {

/// Commands that are done in spite of what the guest hasn't heard yet (SPC-4 5.14, MMC-6 4.1.6.1).
bool ignores_attention(OperationCode operation) {
    return operation == OperationCode::inquiry || operation == OperationCode::request_sense ||
        operation == OperationCode::get_configuration ||
        operation == OperationCode::get_event_status_notification;
}

} // namespace

Outcome LogicalUnit::execute(const Cdb& cdb, std::span<const std::uint8_t> parameters) {
    if (!ignores_attention(cdb.operation())) {
        if (const std::optional<Sense> attention = take_attention()) {
            return Answer(*attention);
        }
    }
    if (cdb.operation() == OperationCode::inquiry) {
        return inquire(cdb);
    }
    if (cdb.operation() == OperationCode::request_sense) {
        return request_sense(cdb);
    }
    if (const std::optional<Transfer> wanted = parse_transfer(cdb)) {
        return transfer(*wanted);
    }
    return command(cdb, parameters);
}

UnitState LogicalUnit::save() const {
    return {.attentions = attentions_.load(std::memory_order_relaxed)};
}

void LogicalUnit::restore(const UnitState& state) {
    attentions_.store(state.attentions, std::memory_order_relaxed);
}

Direction direction_of(const Cdb& cdb) {
    if (const std::optional<Transfer> transfer = parse_transfer(cdb)) {
        return transfer->is_write ? Direction::from_guest : Direction::to_guest;
    }
    switch (cdb.operation()) {
    case OperationCode::unmap:
    case OperationCode::write_same_10:
    case OperationCode::write_same_16:
        return Direction::from_guest;
    case OperationCode::inquiry:
    case OperationCode::request_sense:
    case OperationCode::mode_sense_6:
    case OperationCode::mode_sense_10:
    case OperationCode::read_capacity_10:
    case OperationCode::service_action_in_16:
    case OperationCode::report_luns:
    case OperationCode::read_toc:
    case OperationCode::get_configuration:
    case OperationCode::get_event_status_notification:
    case OperationCode::read_disc_information:
        return Direction::to_guest;
    case OperationCode::verify_10:
    case OperationCode::verify_12:
    case OperationCode::verify_16:
        return (cdb[1] & verify_byte_check) != 0 ? Direction::from_guest : Direction::none;
    default:
        return Direction::none;
    }
}

Answer inquire_no_unit(const Cdb& cdb) {
    if ((cdb[1] & 0x01) != 0 || cdb[2] != 0) {
        return Answer(invalid_field_in_cdb);
    }
    return {standard_inquiry(type_no_unit, false, "Virtual Disk"), cdb.number(3, 2)};
}

Answer report_luns(const Cdb& cdb, std::span<const std::uint8_t> luns) {
    constexpr std::uint8_t well_known_units = 1; // of which there are none
    if (cdb[2] > 2) {
        return Answer(invalid_field_in_cdb);
    }
    if (cdb[2] == well_known_units) {
        luns = {};
    }
    std::vector<std::uint8_t> bytes(8 + 8 * luns.size());
    put_be(bytes, 0, 4, 8 * luns.size());
    for (std::size_t i = 0; i < luns.size(); ++i) {
        // Peripheral device addressing (SAM-5 4.7.7.2).
        bytes[8 + 8 * i + 1] = luns[i];
    }
    return {std::move(bytes), cdb.number(6, 4)};
}

} // namespace croft::vsp::storage::scsi
