// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/scsi/cdb.hpp"

namespace croft::vsp::storage::scsi {

std::size_t Cdb::length() const {
    switch (bytes_[0] >> 5) {
    case 0:
        return 6;
    case 1:
    case 2:
        return 10;
    case 4:
        return 16;
    case 5:
        return 12;
    default:
        return 0;
    }
}

Blocks parse_blocks(const Cdb& cdb) {
    switch (cdb.length()) {
    case 10:
        return {cdb.number(2, 4), cdb.number(7, 2)};
    case 12:
        return {cdb.number(2, 4), cdb.number(6, 4)};
    case 16:
        return {cdb.number(2, 8), cdb.number(10, 4)};
    default:
        return {};
    }
}

std::optional<Transfer> parse_transfer(const Cdb& cdb) {
    Transfer transfer;
    switch (cdb.operation()) {
    case OperationCode::write_6:
        transfer.is_write = true;
        [[fallthrough]];
    case OperationCode::read_6:
        // 21 bits of address, and a length of 0 means 256.
        transfer.blocks = {cdb.number(1, 3) & 0x1fffff, cdb[4] == 0 ? 256U : cdb[4]};
        return transfer;
    case OperationCode::write_10:
    case OperationCode::write_12:
    case OperationCode::write_16:
        transfer.is_write = true;
        [[fallthrough]];
    case OperationCode::read_10:
    case OperationCode::read_12:
    case OperationCode::read_16:
        transfer.blocks = parse_blocks(cdb);
        transfer.force_unit_access = (cdb[1] & 0x08) != 0;
        transfer.wants_protection = (cdb[1] & 0xe0) != 0;
        return transfer;
    default:
        return std::nullopt;
    }
}

} // namespace croft::vsp::storage::scsi
