// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/testing/network_guest.hpp"

#include <algorithm>
#include <utility>

namespace croft::vsp::network::testing {

using protocol::MessageType;
using protocol::RndisType;

namespace {

constexpr std::uint16_t type_in_band = 6;
constexpr std::uint16_t type_transfer_pages = 7;
constexpr std::uint16_t type_gpa_direct = 9;
constexpr std::uint16_t type_completion = 11;
constexpr std::size_t page_size = 4096;
constexpr std::size_t message_page_count = 24;

std::vector<std::uint64_t> words_of(const Bytes& bytes) {
    std::vector<std::uint64_t> words((bytes.size() + 7) / 8);
    std::memcpy(words.data(), bytes.data(), bytes.size());
    return words;
}

Bytes bytes_of(const std::vector<std::uint64_t>& words) {
    Bytes bytes(words.size() * 8);
    std::memcpy(bytes.data(), words.data(), bytes.size());
    return bytes;
}

Bytes join(Bytes first, const Bytes& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

} // namespace

Bytes rndis_message(RndisType type, const Bytes& body) {
    const protocol::RndisHeader header{
        static_cast<std::uint32_t>(type), static_cast<std::uint32_t>(8 + body.size())};
    return join(concatenate(header), body);
}

Bytes rndis_packet(const Bytes& frame, const std::map<std::uint32_t, std::uint32_t>& info) {
    Bytes pieces;
    for (const auto& [type, value] : info) {
        pieces = join(std::move(pieces), concatenate(protocol::PacketInfo{16, type, 12}, value));
    }
    protocol::RndisPacket packet{};
    packet.data_offset = static_cast<std::uint32_t>(sizeof(packet) + pieces.size());
    packet.data_length = static_cast<std::uint32_t>(frame.size());
    packet.info_offset = info.empty() ? 0 : std::uint32_t{sizeof(packet)};
    packet.info_length = static_cast<std::uint32_t>(pieces.size());
    return rndis_message(RndisType::packet, join(join(concatenate(packet), pieces), frame));
}

Bytes nvsp_message(MessageType type, const Bytes& body) {
    Bytes message = join(concatenate(static_cast<std::uint32_t>(type)), body);
    message.resize(sizeof(protocol::Message));
    return message;
}

// NVSP

std::optional<Bytes> NetworkGuest::ask(Channel& channel, const Bytes& message) {
    GuestPacket packet;
    packet.type = type_in_band;
    packet.flags = 1;
    packet.transaction_id = next_transaction_++;
    packet.payload = words_of(message);
    guest_.send(channel, packet);
    return completion(channel, packet.transaction_id);
}

void NetworkGuest::tell(Channel& channel, const Bytes& message) {
    GuestPacket packet;
    packet.type = type_in_band;
    packet.payload = words_of(message);
    guest_.send(channel, packet);
}

std::uint32_t NetworkGuest::negotiate(Channel& channel, std::uint32_t version) {
    const auto answer = ask(
        channel, nvsp_message(MessageType::init, concatenate(protocol::Init{version, version})));
    return answer ? take_from<protocol::InitComplete>(*answer, 4).status : 0;
}

void NetworkGuest::configure(Channel& channel, std::uint32_t mtu, std::uint64_t capabilities) {
    tell(channel,
        nvsp_message(MessageType::send_ndis_config,
            concatenate(protocol::SendNdisConfig{mtu + 14, 0, capabilities})));
}

std::uint32_t NetworkGuest::make_gpadl(
    const Channel& channel, const std::vector<std::uint64_t>& pages) {
    const std::uint32_t id = guest_.next_gpadl();
    return guest_.create_gpadl(channel.relid, id, pages) == 0U ? id : 0;
}

protocol::ReceiveBufferComplete NetworkGuest::give_receive_buffer(
    Channel& channel, std::size_t pages) {
    if (receive_pages_.empty()) {
        receive_pages_ = vm_.test_memory().allocate(receive_pages);
    }
    receive_gpadl_ = make_gpadl(channel,
        {receive_pages_.begin(), receive_pages_.begin() + static_cast<std::ptrdiff_t>(pages)});
    const auto answer = ask(channel,
        nvsp_message(MessageType::send_receive_buffer,
            concatenate(protocol::SendBuffer{receive_gpadl_, protocol::receive_buffer_id, 0})));
    return answer ? take_from<protocol::ReceiveBufferComplete>(*answer, 4)
                  : protocol::ReceiveBufferComplete{};
}

protocol::SendBufferComplete NetworkGuest::give_send_buffer(Channel& channel) {
    if (send_pages_.empty()) {
        send_pages_ = vm_.test_memory().allocate(send_pages);
        message_pages_ = vm_.test_memory().allocate(message_page_count);
    }
    send_gpadl_ = make_gpadl(channel, send_pages_);
    const auto answer = ask(channel,
        nvsp_message(
            MessageType::send_send_buffer, concatenate(protocol::SendBuffer{send_gpadl_, 0, 0})));
    return answer ? take_from<protocol::SendBufferComplete>(*answer, 4)
                  : protocol::SendBufferComplete{};
}

bool NetworkGuest::take_back_receive_buffer(const Channel& channel) {
    const std::uint32_t id = std::exchange(receive_gpadl_, 0);
    return id == 0 || guest_.teardown_gpadl(channel.relid, id);
}

bool NetworkGuest::take_back_send_buffer(const Channel& channel) {
    const std::uint32_t id = std::exchange(send_gpadl_, 0);
    return id == 0 || guest_.teardown_gpadl(channel.relid, id);
}

bool NetworkGuest::initialize(
    Channel& channel, std::uint32_t version, std::uint32_t mtu, std::uint32_t filter) {
    constexpr std::uint32_t success = 1;
    if (negotiate(channel, version) != success) {
        return false;
    }
    if (version >= protocol::version_2) {
        configure(channel, mtu,
            protocol::capability_802_1q |
                (version >= protocol::version_6_1 ? protocol::capability_rsc : 0));
    }
    tell(channel,
        nvsp_message(
            MessageType::send_ndis_version, concatenate(protocol::SendNdisVersion{6, 30})));
    if (give_receive_buffer(channel).status != success ||
        give_send_buffer(channel).status != success) {
        return false;
    }
    const auto answer = request(channel,
        rndis_message(
            RndisType::initialize, concatenate(protocol::InitializeRequest{0, 1, 0, 0x4000})));
    return answer && take_from<protocol::InitializeComplete>(*answer, 8).status == 0 &&
        set(channel, protocol::Oid::current_packet_filter, concatenate(filter)) == 0;
}

// What comes

bool NetworkGuest::pump(Channel& channel) {
    const std::optional<GuestPacket> packet = guest_.receive(channel);
    if (!packet) {
        return false;
    }
    switch (packet->type) {
    case type_completion:
        completions_[packet->transaction_id] = bytes_of(packet->payload);
        break;
    case type_in_band:
        notices_.push_back(bytes_of(packet->payload));
        break;
    case type_transfer_pages:
        take_pages(channel, *packet);
        break;
    default:
        return false;
    }
    return true;
}

Bytes NetworkGuest::receive_buffer(std::size_t offset, std::size_t size) const {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        const std::size_t at = offset + i;
        bytes[i] = vm_.memory().page(receive_pages_.at(at / page_size))[at % page_size];
    }
    return bytes;
}

void NetworkGuest::take_pages(Channel& channel, const GuestPacket& packet) {
    const auto count = static_cast<std::uint32_t>(packet.header.at(0) >> 32);
    const Bytes payload = bytes_of(packet.payload);
    const auto message = take_from<protocol::RndisPacketMessage>(payload);
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint64_t range = packet.header.at(1 + i);
        const Bytes bytes = receive_buffer(range >> 32, range & 0xffffffff);
        if (message.packet.channel == protocol::rndis_channel_control) {
            controls_.push_back(bytes);
        } else {
            take_frame(bytes);
        }
    }
    if (completes_) {
        complete(channel, packet.transaction_id);
    } else {
        held_.push_back(packet.transaction_id);
    }
}

/// rndis_filter_receive_data
void NetworkGuest::take_frame(const Bytes& message) {
    const auto packet = take_from<protocol::RndisPacket>(message, 8);
    ReceivedFrame frame;
    for (std::size_t at = 8 + packet.info_offset; at < 8U + packet.info_offset + packet.info_length;
         at += 16) {
        const auto piece = take_from<protocol::PacketInfo>(message, at);
        frame.info[piece.type] = take_from<std::uint32_t>(message, at + piece.offset);
    }
    const auto data = message.begin() + 8 + packet.data_offset;
    frame.bytes.assign(data, data + packet.data_length);
    frame.parts = 1;
    const auto part = frame.info.find(protocol::info_part);
    if (part == frame.info.end()) {
        frames_.push_back(std::move(frame));
        return;
    }
    const std::uint32_t flags = part->second >> 8U & 0xff;
    if ((flags & protocol::part_is_first) != 0) {
        partial_ = std::move(frame);
    } else if (partial_) {
        partial_->bytes = join(std::move(partial_->bytes), frame.bytes);
        ++partial_->parts;
    }
    if ((flags & protocol::part_is_last) != 0 && partial_) {
        frames_.push_back(*std::exchange(partial_, std::nullopt));
    }
}

void NetworkGuest::complete(Channel& channel, std::uint64_t transaction) {
    GuestPacket packet;
    packet.type = type_completion;
    packet.transaction_id = transaction;
    packet.payload = words_of(concatenate(protocol::RndisPacketComplete{
        static_cast<std::uint32_t>(MessageType::send_rndis_packet_complete), 1}));
    guest_.send(channel, packet);
}

void NetworkGuest::complete_all(Channel& channel) {
    for (; !held_.empty(); held_.pop_front()) {
        complete(channel, held_.front());
    }
}

std::optional<Bytes> NetworkGuest::completion(Channel& channel, std::uint64_t transaction) {
    while (!completions_.contains(transaction)) {
        if (!pump(channel)) {
            return std::nullopt;
        }
    }
    return completions_.extract(transaction).mapped();
}

std::optional<Bytes> NetworkGuest::control(Channel& channel) {
    while (controls_.empty()) {
        if (!pump(channel)) {
            return std::nullopt;
        }
    }
    Bytes message = std::move(controls_.front());
    controls_.pop_front();
    return message;
}

std::optional<ReceivedFrame> NetworkGuest::receive(Channel& channel) {
    while (frames_.empty()) {
        if (!pump(channel)) {
            return std::nullopt;
        }
    }
    ReceivedFrame frame = std::move(frames_.front());
    frames_.pop_front();
    return frame;
}

// RNDIS

std::optional<Bytes> NetworkGuest::request(Channel& channel, const Bytes& message) {
    Bytes numbered = message;
    const std::uint32_t id = next_request_++;
    std::memcpy(numbered.data() + 8, &id, sizeof(id));
    if (!send(channel, packet_by_pages(numbered, protocol::rndis_channel_control))) {
        return std::nullopt;
    }
    return control(channel);
}

std::optional<Bytes> NetworkGuest::query(Channel& channel, protocol::Oid oid, std::uint32_t room) {
    const auto answer = request(channel,
        rndis_message(RndisType::query,
            join(concatenate(protocol::OidRequest{0, static_cast<std::uint32_t>(oid), room, 20, 0}),
                Bytes(room))));
    if (!answer) {
        return std::nullopt;
    }
    const auto complete = take_from<protocol::QueryComplete>(*answer, 8);
    if (complete.status != 0) {
        return std::nullopt;
    }
    const auto start = answer->begin() + 8 + complete.info_offset;
    return Bytes(start, start + complete.info_length);
}

std::uint32_t NetworkGuest::query_status(Channel& channel, protocol::Oid oid) {
    const auto answer = request(channel,
        rndis_message(RndisType::query,
            concatenate(protocol::OidRequest{0, static_cast<std::uint32_t>(oid), 0, 20, 0})));
    return answer ? take_from<protocol::QueryComplete>(*answer, 8).status : ~0U;
}

std::uint32_t NetworkGuest::set(Channel& channel, protocol::Oid oid, const Bytes& value) {
    const auto answer = request(channel,
        rndis_message(RndisType::set,
            join(concatenate(protocol::OidRequest{0, static_cast<std::uint32_t>(oid),
                     static_cast<std::uint32_t>(value.size()), 20, 0}),
                value)));
    return answer ? take_from<protocol::StatusComplete>(*answer, 8).status : ~0U;
}

// Frames

void NetworkGuest::write_pages(
    const std::vector<std::uint64_t>& pages, std::size_t offset, const Bytes& bytes) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const std::size_t at = offset + i;
        vm_.memory().page(pages.at(at / page_size))[at % page_size] = bytes[i];
    }
}

NetworkGuest::GuestPacket NetworkGuest::packet_by_section(
    const Bytes& message, std::uint32_t section) {
    write_pages(send_pages_, std::size_t{section} * 6144, message);
    GuestPacket packet;
    packet.type = type_in_band;
    packet.flags = 1;
    packet.payload = words_of(nvsp_message(MessageType::send_rndis_packet,
        concatenate(
            protocol::SendRndisPacket{0, section, static_cast<std::uint32_t>(message.size())})));
    return packet;
}

NetworkGuest::GuestPacket NetworkGuest::packet_by_pages(
    const Bytes& message, std::uint32_t rndis_channel) {
    constexpr std::size_t offset = 200;
    write_pages(message_pages_, offset, message);
    GuestPacket packet;
    packet.type = type_gpa_direct;
    packet.flags = 1;
    packet.header = {std::uint64_t{1} << 32, message.size() | std::uint64_t{offset} << 32};
    const std::size_t count = (offset + message.size() + page_size - 1) / page_size;
    packet.header.insert(packet.header.end(), message_pages_.begin(),
        message_pages_.begin() + static_cast<std::ptrdiff_t>(count));
    packet.payload = words_of(nvsp_message(MessageType::send_rndis_packet,
        concatenate(protocol::SendRndisPacket{rndis_channel, protocol::no_section, 0})));
    return packet;
}

std::optional<std::uint32_t> NetworkGuest::send(Channel& channel, GuestPacket packet) {
    packet.transaction_id = next_transaction_++;
    if (!guest_.send(channel, packet)) {
        return std::nullopt;
    }
    const auto answer = completion(channel, packet.transaction_id);
    return answer ? std::optional(take_from<protocol::RndisPacketComplete>(*answer).status)
                  : std::nullopt;
}

std::optional<std::uint32_t> NetworkGuest::send_by_section(
    Channel& channel, const Bytes& message, std::uint32_t section) {
    return send(channel, packet_by_section(message, section));
}

std::optional<std::uint32_t> NetworkGuest::send_by_pages(Channel& channel, const Bytes& message) {
    return send(channel, packet_by_pages(message));
}

std::optional<std::uint32_t> NetworkGuest::send_by_both(
    Channel& channel, const Bytes& message, std::size_t in_section) {
    const auto middle = message.begin() + static_cast<std::ptrdiff_t>(in_section);
    GuestPacket packet = packet_by_pages(Bytes(middle, message.end()));
    packet.payload = packet_by_section(Bytes(message.begin(), middle), 0).payload;
    return send(channel, packet);
}

} // namespace croft::vsp::network::testing
