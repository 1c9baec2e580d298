// SPDX-License-Identifier: Apache-2.0
//
// What the guest asks. A message is a private copy; each is as long as it must be before anything
// in it is looked at.
#include "vmbus/protocol/version.hpp"
#include "vmbus/server/entry.hpp"
#include "vmbus/server/offered_device.hpp"
#include "vmbus/server/server.hpp"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <optional>

namespace croft::vmbus {

using protocol::MessageHeader;
using protocol::MessageType;

namespace {

template <typename Message>
std::optional<Message> parse(std::span<const std::uint8_t> payload) {
    if (payload.size() < sizeof(Message)) {
        return std::nullopt;
    }
    Message message;
    std::memcpy(&message, payload.data(), sizeof(message));
    return message;
}

constexpr MessageHeader header_of(MessageType type) {
    return {static_cast<std::uint32_t>(type), 0};
}

/// How long a message of a type is at least; 0 for one that no guest sends.
std::size_t size_of(MessageType type) {
    switch (type) {
    case MessageType::initiate_contact:
        return sizeof(protocol::InitiateContact);
    case MessageType::unload:
    case MessageType::request_offers:
        return sizeof(MessageHeader);
    case MessageType::gpadl_header:
        return sizeof(protocol::GpadlHeader);
    case MessageType::gpadl_body:
        return sizeof(protocol::GpadlBody);
    case MessageType::gpadl_teardown:
        return sizeof(protocol::GpadlTeardown);
    case MessageType::open_channel:
        return sizeof(protocol::OpenChannel);
    case MessageType::close_channel:
    case MessageType::relid_released:
        return sizeof(protocol::ChannelMessage);
    case MessageType::modify_channel:
        return sizeof(protocol::ModifyChannel);
    case MessageType::tl_connect_request:
        return sizeof(protocol::TlConnectRequest);
    default:
        return 0;
    }
}

/// Messages that have no answer, or that make all the others moot.
bool needs_no_space(MessageType type) {
    return type == MessageType::initiate_contact || type == MessageType::unload ||
        type == MessageType::close_channel || type == MessageType::relid_released;
}

} // namespace

bool Server::must_wait(MessageType type) const {
    return stopped_ || stop_wanted_ ||
        (!needs_no_space(type) && outbox_.answers() + owed_ >= limits_.answers);
}

Server::Receipt Server::receive(std::span<const std::uint8_t> payload) {
    const Entry entry(*this);
    const std::optional<MessageHeader> header = parse<MessageHeader>(payload);
    if (!header) {
        report(fmt::format("found a message of {} bytes, expected at least 8", payload.size()));
        return Receipt::done;
    }
    const auto type = static_cast<MessageType>(header->type);
    if (must_wait(type)) {
        return Receipt::later;
    }
    const std::size_t size = size_of(type);
    if (size == 0) {
        report(fmt::format("found a message of type {}, which guests don't send", header->type));
    } else if (payload.size() < size) {
        report(fmt::format("found a message of type {} with {} bytes, expected at least {}",
            header->type, payload.size(), size));
    } else if (connection_ != Connection::connected && type != MessageType::initiate_contact &&
        type != MessageType::unload) {
        report(fmt::format("found a message of type {} without a connection", header->type));
    } else {
        dispatch(type, payload.first(std::min(payload.size(), protocol::largest_message)));
    }
    return Receipt::done;
}

void Server::dispatch(MessageType type, std::span<const std::uint8_t> payload) {
    switch (type) {
    case MessageType::initiate_contact:
        return initiate_contact(payload);
    case MessageType::unload:
        return disconnect(Next::answer_unload);
    case MessageType::request_offers:
        return request_offers();
    case MessageType::gpadl_header:
        return gpadl_header(payload);
    case MessageType::gpadl_body:
        return gpadl_body(payload);
    case MessageType::gpadl_teardown:
        return gpadl_teardown(payload);
    case MessageType::open_channel:
        return open_channel(payload);
    case MessageType::close_channel:
        return close_channel(payload);
    case MessageType::relid_released:
        return relid_released(payload);
    case MessageType::modify_channel:
        return modify_channel(payload);
    case MessageType::tl_connect_request:
        return tl_connect_request(payload);
    default:
        return;
    }
}

Channel* Server::channel(std::uint32_t relid, std::string_view what) {
    Channel* const found = relid < protocol::relid_count ? by_relid_[relid] : nullptr;
    if (found == nullptr || found->released) {
        report(fmt::format("found {} for channel {}, which isn't offered", what, relid));
        return nullptr;
    }
    return found;
}

void Server::initiate_contact(std::span<const std::uint8_t> payload) {
    const protocol::InitiateContact contact = *parse<protocol::InitiateContact>(payload);
    if (!host_.has_processor(contact.target_vp)) {
        report(
            fmt::format("found a contact for processor {}, which isn't there", contact.target_vp));
        return;
    }
    // Whoever asks is the guest now: a kernel that has taken over from another one knows nothing of
    // what that had.
    contact_ = contact;
    disconnect(Next::make_contact);
}

void Server::complete_contact() {
    message_vp_ = contact_.target_vp;
    const bool other_target = contact_.version >= protocol::version_5_0 &&
        (contact_.sint != protocol::synic_interrupt_source || contact_.vtl != 0);
    if (other_target ||
        std::ranges::find(protocol::supported_versions, contact_.version) ==
            protocol::supported_versions.end()) {
        // The guest tries an older one then.
        outbox_.put(
            protocol::VersionResponse{header_of(MessageType::version_response), 0, 0, 0, 0}, true);
        return;
    }
    connection_ = Connection::connected;
    version_ = contact_.version;
    // None of version 6.0's features is needed by a guest that has none in common with us.
    feature_flags_ = 0;
    const bool names_connection = version_ >= protocol::version_5_0;
    const protocol::VersionResponse response{header_of(MessageType::version_response), 1, 0, 0,
        names_connection ? protocol::message_connection_5_0 : version_};
    if (version_ >= protocol::version_6_0) {
        outbox_.put(protocol::VersionResponse6{response, feature_flags_}, true);
    } else {
        outbox_.put(response, true);
    }
}

void Server::request_offers() {
    if (offers_requested_) {
        report("found a second request for offers");
        return;
    }
    offers_requested_ = true;
    make_offers();
    outbox_.put(header_of(MessageType::all_offers_delivered), true);
}

void Server::close_channel(std::span<const std::uint8_t> payload) {
    const auto message = *parse<protocol::ChannelMessage>(payload);
    if (Channel* const found = channel(message.relid, "a close")) {
        request_close(*found);
    }
}

void Server::relid_released(std::span<const std::uint8_t> payload) {
    const auto message = *parse<protocol::ChannelMessage>(payload);
    Channel* const found = channel(message.relid, "a release");
    if (found == nullptr) {
        return;
    }
    if (!found->rescinded &&
        (found->state == Channel::State::opening || found->state == Channel::State::open)) {
        report(fmt::format("found a release of channel {}, which is open", message.relid));
    }
    found->released = true;
    request_close(*found);
    for (const GpadlTable::Key& key : gpadls_.of_channel(message.relid)) {
        want_end(key, false);
    }
}

void Server::modify_channel(std::span<const std::uint8_t> payload) {
    if (version_ < protocol::version_4_1) {
        report("found a change of a channel, which this version doesn't have");
        return;
    }
    const auto message = *parse<protocol::ModifyChannel>(payload);
    const bool done = retarget(message.relid, message.target_vp);
    if (version_ >= protocol::version_5_3) {
        outbox_.put(
            protocol::ModifyChannelResponse{header_of(MessageType::modify_channel_response),
                message.relid, done ? protocol::status_success : protocol::status_unsuccessful},
            true);
    }
}

std::string_view Server::why_not_retarget(const Channel& channel, std::uint32_t vp) {
    if (channel.state != Channel::State::open || !channel.interrupt) {
        return "it isn't open";
    }
    if (channel.parameters.target_vp == protocol::no_target_vp) {
        return "it was opened without interrupts";
    }
    return host_.has_processor(vp) ? "" : "there is no such processor";
}

bool Server::retarget(std::uint32_t relid, std::uint32_t vp) {
    Channel* const found = channel(relid, "a change of the processor");
    if (found == nullptr) {
        return false;
    }
    if (const std::string_view reason = why_not_retarget(*found, vp); !reason.empty()) {
        report(
            fmt::format("refused to interrupt processor {} for channel {}: {}", vp, relid, reason));
        return false;
    }
    found->parameters.target_vp = vp;
    found->interrupt->retarget(vp);
    return true;
}

void Server::tl_connect_request(std::span<const std::uint8_t> payload) {
    if (version_ < protocol::version_4_1) {
        return; // there is no answer, and the guest doesn't wait for one
    }
    const auto message = *parse<protocol::TlConnectRequest>(payload);
    outbox_.put(protocol::TlConnectResult{header_of(MessageType::tl_connect_result),
                    message.endpoint, message.service, protocol::status_connection_refused},
        true);
}

void Server::gpadl_header(std::span<const std::uint8_t> payload) {
    const auto header = *parse<protocol::GpadlHeader>(payload);
    const Channel* const owner = channel(header.relid, "a GPADL");
    if (owner == nullptr || owner->rescinded) {
        return; // the guest learns of it by the rescind
    }
    if (const auto begun = gpadls_.begin(header, payload.subspan(sizeof(header))); !begun) {
        report(fmt::format("refused GPADL {:#x} of channel {}: {}", header.gpadl, header.relid,
            name_of(begun.error())));
        refused_gpadl_ = header.gpadl;
        answer_gpadl({header.relid, header.gpadl}, protocol::status_unsuccessful);
        return;
    }
    if (refused_gpadl_ == header.gpadl) {
        refused_gpadl_.reset();
    }
    create_if_complete({header.relid, header.gpadl});
}

void Server::gpadl_body(std::span<const std::uint8_t> payload) {
    const auto body = *parse<protocol::GpadlBody>(payload);
    const auto key = gpadls_.append(body.gpadl, payload.subspan(sizeof(body)));
    if (!key && refused_gpadl_ == body.gpadl) {
        return;
    }
    if (!key) {
        report(fmt::format("found more of GPADL {:#x}: {}", body.gpadl, name_of(key.error())));
        return;
    }
    create_if_complete(*key);
}

void Server::gpadl_teardown(std::span<const std::uint8_t> payload) {
    const auto message = *parse<protocol::GpadlTeardown>(payload);
    const GpadlTable::Key key{message.relid, message.gpadl};
    const GpadlEntry* const entry = gpadls_.find(key);
    if (entry == nullptr || entry->answer_teardown) {
        report(fmt::format("found a teardown of GPADL {:#x} of channel {}, which isn't there",
            message.gpadl, message.relid));
        return;
    }
    want_end(key, true);
}

} // namespace croft::vmbus
