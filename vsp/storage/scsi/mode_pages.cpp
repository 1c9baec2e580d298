// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/scsi/mode_pages.hpp"

#include <algorithm>
#include <cstddef>

namespace croft::vsp::storage::scsi {

namespace {

constexpr std::uint8_t all_pages = 0x3f;
constexpr std::uint8_t all_subpages = 0xff;

// What is asked of the pages (SPC-4 6.11.1, page control).
constexpr unsigned changeable_values = 1;
constexpr unsigned saved_values = 3;

ModePage page_of(std::uint8_t code, std::uint8_t size) {
    ModePage page(2U + size);
    page[0] = code;
    page[1] = size;
    return page;
}

/// The header of (6) has 4 bytes, that of (10) has 8. There are no block descriptors.
void fill_header(std::span<std::uint8_t> bytes, bool is_short, std::uint8_t device_specific) {
    if (is_short) {
        bytes[0] = static_cast<std::uint8_t>(std::min<std::size_t>(bytes.size() - 1, 0xff));
        bytes[2] = device_specific;
    } else {
        put_be(bytes, 0, 2, bytes.size() - 2);
        bytes[3] = device_specific;
    }
}

} // namespace

Answer mode_sense(const Cdb& cdb, std::uint8_t device_specific, std::span<const ModePage> pages) {
    const bool is_short = cdb.operation() == OperationCode::mode_sense_6;
    const unsigned control = cdb[2] >> 6;
    const std::uint8_t code = cdb[2] & 0x3f;
    if (control == saved_values) {
        return Answer(saving_parameters_not_supported);
    }
    if (cdb[3] != 0 && cdb[3] != all_subpages) {
        return Answer(invalid_field_in_cdb);
    }
    std::vector<std::uint8_t> bytes(is_short ? 4 : 8);
    const std::size_t header_size = bytes.size();
    for (const ModePage& page : pages) {
        if (code == all_pages || code == page.front()) {
            const std::size_t at = bytes.size();
            bytes.insert(bytes.end(), page.begin(), page.end());
            if (control == changeable_values) {
                std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(at) + 2, bytes.end(), 0);
            }
        }
    }
    if (code != all_pages && bytes.size() == header_size) {
        return Answer(invalid_field_in_cdb);
    }
    fill_header(bytes, is_short, device_specific);
    return {std::move(bytes), is_short ? cdb[4] : cdb.number(7, 2)};
}

ModePage caching_page() {
    ModePage page = page_of(0x08, 0x12);
    page[2] = 0x04; // WCE
    return page;
}

ModePage control_page() {
    ModePage page = page_of(0x0a, 0x0a);
    page[3] = 0x10; // commands may be reordered without restriction
    return page;
}

ModePage informational_exceptions_page() {
    return page_of(0x1c, 0x0a);
}

ModePage error_recovery_page() {
    return page_of(0x01, 0x0a);
}

ModePage capabilities_page(bool locked) {
    constexpr std::uint16_t speed = 16 * 1385; // of a DVD, in kB/s
    ModePage page = page_of(0x2a, 0x14);
    page[2] = 0x08 | 0x03;        // reads DVD-ROM, CD-R and CD-RW
    page[4] = 0x40 | 0x20 | 0x10; // several sessions, both forms of mode 2
    // A tray that ejects and locks.
    page[6] = static_cast<std::uint8_t>(0x20 | 0x08 | 0x01 | (locked ? 0x02 : 0x00));
    put_be(page, 8, 2, speed);
    put_be(page, 14, 2, speed);
    return page;
}

} // namespace croft::vsp::storage::scsi
