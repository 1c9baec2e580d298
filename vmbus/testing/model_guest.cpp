// SPDX-License-Identifier: Apache-2.0
#include "vmbus/testing/model_guest.hpp"

#include <algorithm>
#include <utility>

namespace croft::vmbus::testing {

using protocol::MessageHeader;
using protocol::MessageType;

namespace {

constexpr MessageHeader header_of(MessageType type) {
    return {static_cast<std::uint32_t>(type), 0};
}

std::uint32_t type_of(const std::vector<std::uint8_t>& bytes) {
    std::uint32_t type = 0;
    if (bytes.size() >= sizeof(type)) {
        std::memcpy(&type, bytes.data(), sizeof(type));
    }
    return type;
}

void append(std::vector<std::uint8_t>& bytes, const void* data, std::size_t size) {
    const auto* first = static_cast<const std::uint8_t*>(data);
    bytes.insert(bytes.end(), first, first + size);
}

} // namespace

void ModelGuest::take_messages() {
    while (auto message = vm_.take_message(vp_)) {
        messages_.push_back(std::move(*message));
    }
}

void ModelGuest::drop_messages() {
    take_messages();
    messages_.clear();
}

std::optional<std::vector<std::uint8_t>> ModelGuest::wait_bytes(MessageType type) {
    for (;;) {
        take_messages();
        const auto found = std::ranges::find(messages_, static_cast<std::uint32_t>(type), type_of);
        if (found != messages_.end()) {
            std::vector<std::uint8_t> message = std::move(*found);
            messages_.erase(found);
            return message;
        }
        if (!work_()) {
            return std::nullopt;
        }
    }
}

bool ModelGuest::post_bytes(std::span<const std::uint8_t> bytes) {
    while (vm_.server().receive(bytes) == Server::Receipt::later) {
        if (!work_()) {
            return false;
        }
    }
    return true;
}

bool ModelGuest::contact(protocol::Version version, std::uint32_t vp) {
    vp_ = vp;
    protocol::InitiateContact message{};
    message.header = header_of(MessageType::initiate_contact);
    message.version = version;
    message.target_vp = vp;
    message.sint = version >= protocol::version_5_0 ? 2 : 0;
    message.monitor_pages = {0x1000, 0x2000};
    post(message);
    const auto response = wait<protocol::VersionResponse>(MessageType::version_response);
    return response && response->supported == 1 && response->connection_state == 0 &&
        (version < protocol::version_5_0 || response->connection_id == 4);
}

bool ModelGuest::connect(std::uint32_t vp) {
    return contact(protocol::version_6_0, vp);
}

std::vector<protocol::OfferChannel> ModelGuest::request_offers() {
    post(header_of(MessageType::request_offers));
    std::vector<protocol::OfferChannel> offers;
    if (wait<MessageHeader>(MessageType::all_offers_delivered)) {
        while (std::ranges::find(messages_, static_cast<std::uint32_t>(MessageType::offer_channel),
                   type_of) != messages_.end()) {
            offers.push_back(*wait_for_offer());
        }
    }
    return offers;
}

bool ModelGuest::unload() {
    post(header_of(MessageType::unload));
    return wait<MessageHeader>(MessageType::unload_response).has_value();
}

std::optional<std::uint32_t> ModelGuest::create_gpadl(
    std::uint32_t relid, std::uint32_t id, std::span<const std::uint64_t> pages) {
    protocol::GpadlHeader header{};
    header.header = header_of(MessageType::gpadl_header);
    header.relid = relid;
    header.gpadl = id;
    header.range_count = 1;
    header.range_size = static_cast<std::uint16_t>(8 + 8 * pages.size());
    std::vector<std::uint8_t> bytes;
    append(bytes, &header, sizeof(header));
    const std::uint32_t range[2] = {static_cast<std::uint32_t>(pages.size() * 4096), 0};
    append(bytes, range, sizeof(range));
    std::size_t count = std::min<std::size_t>(pages.size(), (240 - 28) / 8);
    append(bytes, pages.data(), count * 8);
    post_bytes(bytes);
    for (pages = pages.subspan(count); !pages.empty(); pages = pages.subspan(count)) {
        const protocol::GpadlBody body{header_of(MessageType::gpadl_body), 0, id};
        bytes.clear();
        append(bytes, &body, sizeof(body));
        count = std::min<std::size_t>(pages.size(), (240 - 16) / 8);
        append(bytes, pages.data(), count * 8);
        post_bytes(bytes);
    }
    const auto created = wait<protocol::GpadlCreated>(MessageType::gpadl_created);
    return created && created->relid == relid && created->gpadl == id
        ? std::optional(created->status)
        : std::nullopt;
}

bool ModelGuest::teardown_gpadl(std::uint32_t relid, std::uint32_t id) {
    post(protocol::GpadlTeardown{header_of(MessageType::gpadl_teardown), relid, id});
    const auto torndown = wait<protocol::GpadlTorndown>(MessageType::gpadl_torndown);
    return torndown && torndown->gpadl == id;
}

std::optional<std::uint32_t> ModelGuest::open_with(
    std::uint32_t relid, std::uint32_t gpadl, std::uint32_t downstream_offset, std::uint32_t vp) {
    protocol::OpenChannel message{};
    message.header = header_of(MessageType::open_channel);
    message.relid = relid;
    message.open_id = relid;
    message.ring_gpadl = gpadl;
    message.target_vp = vp;
    message.downstream_offset = downstream_offset;
    post(message);
    const auto result = wait<protocol::OpenChannelResult>(MessageType::open_channel_result);
    return result && result->relid == relid && result->open_id == relid
        ? std::optional(result->status)
        : std::nullopt;
}

ModelGuest::Channel ModelGuest::make_channel(
    const protocol::OfferChannel& offer, std::uint64_t pages, std::uint32_t vp) {
    const std::vector<std::uint64_t> all = vm_.test_memory().allocate(2 * pages);
    const std::span<const std::uint64_t> rings(all);
    Channel channel{offer.relid, offer.connection_id, vp, next_gpadl(), all,
        GuestSender(GuestRing(rings.first(pages), vm_.memory())),
        GuestReceiver(GuestRing(rings.subspan(pages), vm_.memory()))};
    channel.sender.ring().initialize();
    channel.receiver.ring().initialize();
    return channel;
}

std::optional<std::uint32_t> ModelGuest::open_spoilt(
    const protocol::OfferChannel& offer, const std::function<void(Channel&)>& spoil) {
    constexpr std::uint32_t pages = 4;
    Channel channel = make_channel(offer, pages, 0);
    spoil(channel);
    if (create_gpadl(offer.relid, channel.gpadl, channel.pages) != 0U) {
        return std::nullopt;
    }
    const std::optional<std::uint32_t> status = open_with(offer.relid, channel.gpadl, pages);
    if (status == protocol::status_unsuccessful && !teardown_gpadl(offer.relid, channel.gpadl)) {
        return std::nullopt;
    }
    return status;
}

std::optional<ModelGuest::Channel> ModelGuest::open(
    const protocol::OfferChannel& offer, std::uint64_t pages, std::uint32_t vp) {
    Channel channel = make_channel(offer, pages, vp);
    if (create_gpadl(offer.relid, channel.gpadl, channel.pages) != 0U ||
        open_with(offer.relid, channel.gpadl, static_cast<std::uint32_t>(pages), vp) != 0U) {
        return std::nullopt;
    }
    return channel;
}

bool ModelGuest::close(const Channel& channel) {
    post(protocol::ChannelMessage{header_of(MessageType::close_channel), channel.relid});
    return teardown_gpadl(channel.relid, channel.gpadl);
}

void ModelGuest::release(std::uint32_t relid) {
    post(protocol::ChannelMessage{header_of(MessageType::relid_released), relid});
}

bool ModelGuest::send(Channel& channel, const GuestPacket& packet) {
    const GuestSender::Sent sent = channel.sender.send(packet);
    if (sent == GuestSender::Sent::signal) {
        vm_.signal(channel.connection);
    }
    return sent != GuestSender::Sent::full;
}

std::optional<GuestPacket> ModelGuest::receive(Channel& channel) {
    for (;;) {
        if (std::optional<GuestPacket> packet = channel.receiver.receive()) {
            if (channel.receiver.commit()) {
                vm_.signal(channel.connection);
            }
            return packet;
        }
        // Nothing is looked for without an interrupt.
        while (!vm_.take_flag(channel.vp, static_cast<std::uint16_t>(channel.relid))) {
            if (!work_()) {
                return std::nullopt;
            }
        }
    }
}

} // namespace croft::vmbus::testing
