// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/guest_pages.hpp"
#include "vmbus/ring/packet.hpp"
#include "vsp/storage/protocol.hpp"
#include "vsp/storage/scsi/cdb.hpp"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>
#include <sys/uio.h>
#include <vector>

// What a guest's packet must be like. What is wrong here is no matter of one command: the guest
// doesn't speak the protocol, and its channel is ended with the reason that these answer.
namespace croft::vsp::storage {

/// A packet that was copied.
struct Request {
    std::uint64_t transaction_id = 0;
    /// What it had; less than all of it from guests that haven't negotiated.
    std::size_t size = 0;
    protocol::Packet packet{};
};
[[nodiscard]] std::expected<Request, std::string_view> take_request(const vmbus::Packet& packet);

/// A command and where its data is.
struct ScsiCommand {
    protocol::ScsiRequest request{};
    scsi::Cdb cdb;
    /// Its data goes the other way than such a command's does. In Linux any user who may open a
    /// device can say so (SG_IO), so that is the command's matter, not the channel's.
    bool goes_wrong_way = false;
    /// `request.data_length` bytes.
    std::vector<iovec> segments;
};
/// `ranges` is room to work in; `command` is reused to save allocations.
[[nodiscard]] std::expected<void, std::string_view> take_command(const vmbus::Packet& packet,
    const Request& request, const vmbus::GuestPages& memory, std::vector<vmbus::PageRange>& ranges,
    ScsiCommand& command);

} // namespace croft::vsp::storage
