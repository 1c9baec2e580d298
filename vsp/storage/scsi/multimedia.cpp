// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/scsi/multimedia.hpp"

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace croft::vsp::storage::scsi {

namespace {

constexpr std::uint8_t only_track = 1;
constexpr std::uint8_t lead_out = 0xaa;
/// In front of address 0, in blocks: 2 seconds of 75.
constexpr std::uint32_t lead_in_blocks = 150;

constexpr std::uint16_t profile_dvd_rom = 0x0010;
constexpr std::uint16_t profile_cd_rom = 0x0008;

/// An address as minutes, seconds and frames, or as a number of blocks.
std::uint32_t toc_address(std::uint64_t block, bool as_time) {
    const auto address =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(block, 0xffffffff - lead_in_blocks));
    if (!as_time) {
        return address;
    }
    const std::uint32_t frames = address + lead_in_blocks;
    const std::uint32_t minutes = std::min(frames / (75 * 60), 255U);
    return minutes << 16 | frames / 75 % 60 << 8 | frames % 75;
}

void append_track(std::vector<std::uint8_t>& toc, std::uint8_t number, std::uint32_t address) {
    const std::size_t at = toc.size();
    toc.resize(at + 8);
    toc[at + 1] = 0x14; // a data track
    toc[at + 2] = number;
    put_be(toc, at + 4, 4, address);
}

/// Feature descriptors (MMC-6 5.3), put together in ascending order.
class Features {
public:
    Features(std::uint16_t first, unsigned which) : first_(first), which_(which) {}

    void add(std::uint16_t code, std::uint8_t version, bool persistent, bool current,
        std::span<const std::uint8_t> data) {
        constexpr unsigned only_current = 1;
        constexpr unsigned only_first = 2;
        const bool wanted = which_ == only_first
            ? code == first_
            : code >= first_ && (which_ != only_current || current);
        if (!wanted) {
            return;
        }
        const std::size_t at = bytes_.size();
        bytes_.resize(at + 4);
        put_be(bytes_, at, 2, code);
        bytes_[at + 2] = static_cast<std::uint8_t>(
            version << 2 | (persistent ? 0x02 : 0x00) | (current ? 0x01 : 0x00));
        bytes_[at + 3] = static_cast<std::uint8_t>(data.size());
        bytes_.insert(bytes_.end(), data.begin(), data.end());
    }
    [[nodiscard]] const std::vector<std::uint8_t>& bytes() const { return bytes_; }

private:
    std::uint16_t first_;
    unsigned which_;
    std::vector<std::uint8_t> bytes_;
};

} // namespace

Answer read_toc(const Cdb& cdb, std::uint64_t block_count) {
    constexpr std::uint8_t format_toc = 0;
    constexpr std::uint8_t format_sessions = 1;
    const std::uint8_t format = cdb[2] & 0x0f;
    const bool as_time = (cdb[1] & 0x02) != 0;
    const std::uint8_t start = cdb[6];
    if (format > format_sessions ||
        (format == format_toc && start > only_track && start != lead_out)) {
        return Answer(invalid_field_in_cdb);
    }
    std::vector<std::uint8_t> toc(4);
    toc[2] = toc[3] = only_track; // first and last, of tracks or sessions
    if (format == format_sessions || start <= only_track) {
        append_track(toc, only_track, toc_address(0, as_time));
    }
    if (format == format_toc) {
        append_track(toc, lead_out, toc_address(block_count, as_time));
    }
    put_be(toc, 0, 2, toc.size() - 2);
    return {std::move(toc), cdb.number(7, 2)};
}

Answer get_configuration(const Cdb& cdb, bool has_disc) {
    const unsigned which = cdb[1] & 0x03;
    if (which > 2) {
        return Answer(invalid_field_in_cdb);
    }
    const std::uint8_t current = has_disc ? 0x01 : 0x00;
    Features features(static_cast<std::uint16_t>(cdb.number(2, 2)), which);
    const std::uint8_t profiles[] = {0, profile_dvd_rom, current, 0, 0, profile_cd_rom, 0, 0};
    features.add(0x0000, 0, true, true, profiles);
    const std::uint8_t core[] = {0, 0, 0, 1, 0x01, 0, 0, 0}; // by SCSI; DBE
    features.add(0x0001, 2, true, true, core);
    const std::uint8_t morphing[] = {0x02, 0, 0, 0}; // OCEvent, told when asked
    features.add(0x0002, 1, true, true, morphing);
    const std::uint8_t removable[] = {0x29, 0, 0, 0}; // a tray that ejects and locks
    features.add(0x0003, 0, true, true, removable);
    const std::uint8_t readable[] = {0, 0, 0x08, 0x00, 0, 0x10, 0x01, 0}; // 16 blocks of 2048
    features.add(0x0010, 0, false, has_disc, readable);
    const std::uint8_t none[] = {0, 0, 0, 0};
    features.add(0x001e, 2, false, false, none);                        // CD Read
    features.add(0x001f, 1, false, has_disc, std::span(none).first(4)); // DVD Read
    std::vector<std::uint8_t> bytes(8);
    put_be(bytes, 6, 2, has_disc ? profile_dvd_rom : 0);
    bytes.insert(bytes.end(), features.bytes().begin(), features.bytes().end());
    put_be(bytes, 0, 4, bytes.size() - 4);
    return {std::move(bytes), cdb.number(7, 2)};
}

namespace {
constexpr std::uint8_t media_class = 4;
} // namespace

bool asks_for_media_events(const Cdb& cdb) {
    return (cdb[4] & 1U << media_class) != 0;
}

Answer get_event_status_notification(
    const Cdb& cdb, MediaEvent event, bool has_disc, bool is_open) {
    if ((cdb[1] & 0x01) == 0) {
        return Answer(invalid_field_in_cdb);
    }
    constexpr std::uint8_t no_event_available = 0x80;
    const bool wanted = asks_for_media_events(cdb);
    std::vector<std::uint8_t> bytes(wanted ? 8 : 4);
    put_be(bytes, 0, 2, bytes.size() - 2);
    bytes[2] = wanted ? media_class : no_event_available;
    bytes[3] = 1U << media_class;
    if (wanted) {
        bytes[4] = static_cast<std::uint8_t>(event);
        bytes[5] = static_cast<std::uint8_t>((has_disc ? 0x02 : 0x00) | (is_open ? 0x01 : 0x00));
    }
    return {std::move(bytes), cdb.number(7, 2)};
}

Answer read_disc_information(const Cdb& cdb) {
    if ((cdb[1] & 0x07) != 0) {
        return Answer(invalid_field_in_cdb);
    }
    std::vector<std::uint8_t> bytes(34);
    put_be(bytes, 0, 2, bytes.size() - 2);
    bytes[2] = 0x0e;                               // the disc and its last session are complete
    bytes[3] = bytes[4] = bytes[5] = bytes[6] = 1; // first track; sessions; tracks of the last one
    bytes[7] = 0x20;                               // of unrestricted use
    return {std::move(bytes), cdb.number(7, 2)};
}

} // namespace croft::vsp::storage::scsi
