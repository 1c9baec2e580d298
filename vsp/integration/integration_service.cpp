// SPDX-License-Identifier: Apache-2.0
#include "vsp/integration/integration_service.hpp"

#include "vmbus/protocol/packet.hpp"

#include <algorithm>
#include <array>
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
    auto opened = vmbus::RingChannel::open(channel, control_->memory(), largest_packet);
    if (sub_channel != 0 || !opened) {
        control_->opened(sub_channel, false);
        return;
    }
    channel_.emplace(*std::move(opened));
    failed_ = false;
    negotiation_due_ = true;
    control_->opened(sub_channel, true);
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

void IntegrationService::fail(vmbus::RingError error) {
    failed_ = true;
    lose_version();
    control_->fail(0, name_of(error));
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
        }
        return !failed_;
    });
    if (!served && !failed_) {
        fail(served.error());
    }
    if (negotiation_due_ && !failed_) {
        negotiate();
    }
}

/// An answer that makes no sense is none: the guest's affair, and nothing waits for it.
void IntegrationService::handle(std::span<const std::uint8_t> packet) {
    protocol::PipeHeader pipe{};
    message::Header header{};
    if (!take(packet, pipe) || !take(packet, header) ||
        (header.flags & message::flag_response) == 0) {
        return;
    }
    if (header.type == static_cast<std::uint16_t>(message::Type::negotiate)) {
        if (!version_ && header.transaction == transaction_) {
            agree(packet);
        }
    } else if (header.type == static_cast<std::uint16_t>(kind_.type) && version_) {
        answered({header.transaction, header.status, packet});
    }
}

void IntegrationService::agree(std::span<const std::uint8_t> data) {
    message::Negotiate counts{};
    Agreed chosen{};
    if (!take(data, counts) || counts.framework_count != 1 || counts.message_count != 1 ||
        !take(data, chosen.framework) || !take(data, chosen.message) ||
        std::ranges::count(framework_versions, chosen.framework) == 0 ||
        std::ranges::count(kind_.versions, chosen.message) == 0) {
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
        fail(sent.error());
    }
    if (!sent || !*sent) {
        return std::nullopt;
    }
    transaction_ = transaction;
    return transaction;
}

} // namespace croft::vsp::integration
