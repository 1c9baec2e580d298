// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/storage/scsi/outcome.hpp"

#include <cstdint>

// What a drive answers about a disc with one session of one data track, or about none (MMC-6).
namespace croft::vsp::storage::scsi {

/// READ TOC/PMA/ATIP of a disc with so many blocks: the track, or the session. Errors: another
/// format, or a track that isn't there.
[[nodiscard]] Answer read_toc(const Cdb& cdb, std::uint64_t block_count);

/// GET CONFIGURATION (MMC-6 6.6): which features there are, and which of them are of use with the
/// disc that is in.
[[nodiscard]] Answer get_configuration(const Cdb& cdb, bool has_disc);

/// What the drive has to tell about its disc (MMC-6 6.7.2.4, media event codes).
enum class MediaEvent : std::uint8_t {
    no_change = 0,
    new_media = 2,
    media_removal = 3,
};

/// Whether GET EVENT STATUS NOTIFICATION asks for events of that class.
[[nodiscard]] bool asks_for_media_events(const Cdb& cdb);
/// GET EVENT STATUS NOTIFICATION. Errors: a request to be told later.
[[nodiscard]] Answer get_event_status_notification(
    const Cdb& cdb, MediaEvent event, bool has_disc, bool is_open);

/// READ DISC INFORMATION: a complete disc of one session.
[[nodiscard]] Answer read_disc_information(const Cdb& cdb);

} // namespace croft::vsp::storage::scsi
