// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/storage/protocol.hpp"
#include "vsp/storage/scsi/sense.hpp"

#include <cstddef>
#include <cstdint>

namespace croft::vsp::storage {

/// A completion on its way to the guest.
struct Reply {
    std::uint64_t transaction_id = 0;
    /// As large as the request was.
    std::size_t size = sizeof(protocol::Packet);
    protocol::Packet packet{};
};

// What the body of a command's completion is.

/// The command succeeded and moved so many bytes.
[[nodiscard]] protocol::Packet good_reply(std::uint32_t transferred);
/// It failed; the guest has room for so much of the sense data.
[[nodiscard]] protocol::Packet sense_reply(const scsi::Sense& sense, std::uint8_t room);
/// There is no unit at its LUN.
[[nodiscard]] protocol::Packet no_unit_reply();

/// The completion of any other operation.
[[nodiscard]] protocol::Packet status_reply(
    std::uint32_t status, const protocol::Packet& packet = {});

} // namespace croft::vsp::storage
