// SPDX-License-Identifier: Apache-2.0
#include "vsp/integration/integration_service.hpp"

#include "vmbus/protocol/packet.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <poll.h>
#include <utility>

namespace croft::vsp::integration {

namespace protocol = vmbus::protocol;

namespace {

constexpr std::array framework_versions = {message::Version{3, 0}, message::Version{1, 0}};
constexpr std::uint32_t largest_packet = sizeof(protocol::PipeHeader) + protocol::pipe_largest_data;

/// Takes a structure from the front of `bytes`; answers false if they are too few.
template <typename Value>
bool take(std::span<const std::uint8_t>& bytes, Value& value) {
    if (bytes.size() < sizeof(value)) {
        return false;
    }
    std::memcpy(&value, bytes.data(), sizeof(value));
    bytes = bytes.subspan(sizeof(value));
    return true;
}

template <typename Value>
void append(std::vector<std::uint8_t>& bytes, const Value& value) {
    const std::size_t place = bytes.size();
    bytes.resize(place + sizeof(value));
    std::memcpy(bytes.data() + place, &value, sizeof(value));
}

} // namespace

IntegrationService::~IntegrationService() {
    if (channel_ && running_) {
        reactor_.unwatch(channel_->event());
    }
}

void IntegrationService::open(std::uint16_t sub_channel, vmbus::OpenChannel channel) {
    if (sub_channel != 0) {
        control_->open_refused(sub_channel, "it has no sub-channels");
        return;
    }
    auto opened = vmbus::RingChannel::open(channel, control_->memory(), largest_packet);
    if (!opened) {
        control_->open_refused(sub_channel, name_of(opened.error()));
        return;
    }
    channel_.emplace(*std::move(opened));
    failed_ = false;
    negotiation_due_ = true;
    control_->opened(sub_channel);
    if (running_) {
        reactor_.watch(channel_->event(), POLLIN, [this] { serve(); });
        serve();
    }
}

void IntegrationService::close(std::uint16_t sub_channel) {
    if (channel_ && sub_channel == 0) {
        lose_version();
        if (running_) {
            reactor_.unwatch(channel_->event());
        }
        channel_.reset();
    }
    control_->closed(sub_channel);
}

/// The only one that drivers make is the rings', which VMBus resolves itself.
void IntegrationService::create_gpadl(std::uint16_t sub_channel, vmbus::Gpadl gpadl) {
    control_->gpadl_created(sub_channel, gpadl.id, true);
}

void IntegrationService::teardown_gpadl(std::uint16_t sub_channel, std::uint32_t id) {
    control_->gpadl_torn_down(sub_channel, id);
}

void IntegrationService::stop() {
    if (is_ready()) {
        end();
    }
    running_ = false;
    if (channel_) {
        reactor_.unwatch(channel_->event());
    }
    control_->stopped();
}

void IntegrationService::start() {
    running_ = true;
    if (channel_) {
        reactor_.watch(channel_->event(), POLLIN, [this] { serve(); });
        if (is_ready()) {
            begin();
        }
        serve();
    }
}

void IntegrationService::lose_version() {
    if (is_ready()) {
        end();
    }
    version_.reset();
}

void IntegrationService::fail(std::string_view reason) {
    failed_ = true;
    lose_version();
    control_->fail(0, reason);
}

void IntegrationService::negotiate() {
    lose_version();
    message::Negotiate offered{};
    offered.framework_count = framework_versions.size();
    offered.message_count = static_cast<std::uint16_t>(kind_.versions.size());
    std::vector<std::uint8_t> data;
    append(data, offered);
    for (const message::Version version : framework_versions) {
        append(data, version);
    }
    for (const message::Version version : kind_.versions) {
        append(data, version);
    }
    negotiation_due_ = !send_bytes(message::Type::negotiate, data);
}

void IntegrationService::serve() {
    channel_->clear_event();
    if (failed_) {
        return;
    }
    const auto served = channel_->receive([this](const vmbus::Packet& packet) {
        if (packet.type == protocol::PacketType::in_band) {
            handle(packet.payload);
        } else {
            fail(fmt::format("found a packet of type {}, expected a message",
                static_cast<std::uint16_t>(packet.type)));
        }
        return !failed_;
    });
    if (!served && !failed_) {
        fail(name_of(served.error()));
    }
    if (negotiation_due_ && !failed_) {
        negotiate();
    }
}

/// A driver sends back the host's message with its answer in it, and the flag of a response.
void IntegrationService::handle(std::span<const std::uint8_t> packet) {
    const std::size_t size = packet.size();
    protocol::PipeHeader pipe{};
    message::Header header{};
    // The header is packed: what is shown of it is copied.
    const auto shown = [](std::uint32_t value) {
        return value;
    };
    if (!take(packet, pipe) || !take(packet, header)) {
        fail(fmt::format("found a message of {} bytes, expected {} at least", size,
            sizeof(pipe) + sizeof(header)));
    } else if (pipe.type != static_cast<std::uint32_t>(protocol::PipePacketType::data)) {
        fail(fmt::format("found the pipe's packet type {}, expected {} (data)", pipe.type,
            static_cast<std::uint32_t>(protocol::PipePacketType::data)));
    } else if (pipe.size > size - sizeof(pipe) || header.size > packet.size()) {
        fail(
            fmt::format("found a message of {} bytes that claims {} behind its first header and {} "
                        "behind both, expected no more than it has",
                size, pipe.size, shown(header.size)));
    } else if ((header.flags & message::flag_response) == 0) {
        fail(
            fmt::format("found a message with the flags {:#x}, expected a response", header.flags));
    } else if (header.type == static_cast<std::uint16_t>(message::Type::negotiate)) {
        handle_negotiation(header.transaction, packet);
    } else if (header.type != static_cast<std::uint16_t>(kind_.type)) {
        fail(fmt::format("found a message of type {}, expected {}", shown(header.type),
            static_cast<std::uint16_t>(kind_.type)));
    } else if (version_) {
        answered({header.transaction, header.status, packet});
    }
}

/// A driver to which no version appeals says so by counts of 0. It isn't asked again, and the
/// component isn't ready; that is no error.
void IntegrationService::handle_negotiation(
    std::uint8_t transaction, std::span<const std::uint8_t> data) {
    const std::size_t size = data.size();
    message::Negotiate counts{};
    Agreed chosen{};
    if (!take(data, counts) || !take(data, chosen.framework) || !take(data, chosen.message)) {
        fail(fmt::format("found an answer of {} bytes to the versions, expected {} at least", size,
            sizeof(counts) + sizeof(chosen)));
    } else if (counts.framework_count > 1 || counts.message_count > 1) {
        fail(fmt::format("found {} and {} versions in an answer, expected one of each or none",
            counts.framework_count, counts.message_count));
    } else if (counts.framework_count == 1 && counts.message_count == 1 && !version_ &&
        transaction == transaction_) {
        agree(chosen);
    }
}

void IntegrationService::agree(const Agreed& chosen) {
    if (std::ranges::count(framework_versions, chosen.framework) == 0 ||
        std::ranges::count(kind_.versions, chosen.message) == 0) {
        fail(fmt::format(
            "found the versions {}.{} and {}.{} chosen, expected some that were offered",
            chosen.framework.major, chosen.framework.minor, chosen.message.major,
            chosen.message.minor));
        return;
    }
    version_ = chosen;
    begin();
}

std::optional<std::uint8_t> IntegrationService::send_bytes(
    message::Type type, std::span<const std::uint8_t> data) {
    if (!channel_ || failed_) {
        return std::nullopt;
    }
    const auto transaction = static_cast<std::uint8_t>(transaction_ + 1);
    message::Header header{};
    header.framework = version_ ? version_->framework : framework_versions.front();
    header.type = static_cast<std::uint16_t>(type);
    header.message = version_ ? version_->message : kind_.versions.front();
    header.size = static_cast<std::uint16_t>(data.size());
    header.transaction = transaction;
    header.flags = message::flag_transaction | message::flag_request;
    std::vector<std::uint8_t> bytes;
    append(bytes,
        protocol::PipeHeader{static_cast<std::uint32_t>(protocol::PipePacketType::data),
            static_cast<std::uint32_t>(sizeof(header) + data.size())});
    append(bytes, header);
    bytes.insert(bytes.end(), data.begin(), data.end());
    vmbus::OutgoingPacket packet;
    packet.transaction_id = transaction;
    packet.payload[0] = bytes;
    const auto sent = channel_->send(packet);
    if (!sent) {
        fail(name_of(sent.error()));
    }
    if (!sent || !*sent) {
        return std::nullopt;
    }
    transaction_ = transaction;
    return transaction;
}

} // namespace croft::vsp::integration
