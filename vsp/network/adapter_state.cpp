// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/adapter_state.hpp"

#include "vsp/network/channel.hpp"
#include "vsp/network/objects.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <string_view>
#include <utility>
#include <vector>

namespace croft::vsp::network {

using vdev::Record;
using vdev::RecordError;

namespace {

constexpr const char* record_type = "netvsp";
constexpr const char* channel_type = "netvsp-channel";
constexpr const char* reply_type = "netvsp-reply";
constexpr const char* transaction_type = "netvsp-transaction";
constexpr std::uint32_t record_version = 2;
constexpr std::uint32_t channel_version = 2;

constexpr std::size_t address_size = sizeof(MacAddress::bytes);
/// Of a GPADL as large as they can be, in the smallest sections.
constexpr std::size_t most_sections = 32768;

[[noreturn]] void refuse(std::string_view what) {
    throw RecordError(fmt::format(
        "saved state of '{}': {}; the file is damaged or was changed", record_type, what));
}

template <typename Number>
std::vector<std::uint8_t> bytes_of_all(const std::vector<Number>& numbers) {
    const auto* const first = reinterpret_cast<const std::uint8_t*>(numbers.data());
    return {first, first + numbers.size() * sizeof(Number)};
}

template <typename Number>
std::vector<Number> get_numbers(const Record& record, std::string_view field, std::size_t most) {
    const auto bytes = record.get_bytes(field, most * sizeof(Number));
    if (bytes.size() % sizeof(Number) != 0) {
        refuse("a list ends within a number");
    }
    std::vector<Number> numbers(bytes.size() / sizeof(Number));
    std::ranges::copy(bytes, reinterpret_cast<std::uint8_t*>(numbers.data()));
    return numbers;
}

MacAddress get_address(const Record& record, std::string_view field) {
    const auto bytes = record.get_bytes(field, address_size);
    if (bytes.size() != address_size) {
        refuse("an address is too short");
    }
    MacAddress address;
    std::ranges::copy(bytes, address.bytes.begin());
    return address;
}

Record save_reply(const Reply& reply) {
    Record record(reply_type, record_version);
    record.set("kind", static_cast<std::uint64_t>(reply.kind))
        .set("transaction", reply.transaction_id)
        .set_bytes("bytes", reply.bytes);
    return record;
}

Reply load_reply(const Record& record) {
    record.expect(reply_type, record_version);
    Reply reply;
    reply.kind =
        static_cast<Reply::Kind>(record.get("kind", static_cast<std::uint8_t>(Reply::Kind::rndis)));
    reply.transaction_id = record.get<std::uint64_t>("transaction");
    reply.bytes = record.get_bytes("bytes", Reply::longest);
    return reply;
}

Record save_transaction(const ReceiveSections::Transaction& transaction) {
    Record record(transaction_type, record_version);
    record.set("id", transaction.id).set_bytes("sections", bytes_of_all(transaction.sections));
    return record;
}

ReceiveSections::Transaction load_transaction(const Record& record) {
    record.expect(transaction_type, record_version);
    return {record.get<std::uint64_t>("id"),
        get_numbers<std::uint32_t>(record, "sections", Channel::largest_batch)};
}

Record save_channel(std::uint16_t index, const ChannelState& state) {
    Record record(channel_type, channel_version);
    std::vector<Record> replies;
    replies.reserve(state.replies.size());
    for (const Reply& reply : state.replies) {
        replies.push_back(save_reply(reply));
    }
    std::vector<Record> transactions;
    transactions.reserve(state.sections.transactions.size());
    for (const ReceiveSections::Transaction& transaction : state.sections.transactions) {
        transactions.push_back(save_transaction(transaction));
    }
    record.set("index", index)
        .set("generation", state.sections.generation)
        .set("orphans", state.sections.orphans)
        .set_records("transactions", transactions)
        .set_records("replies", replies)
        .set_flag("indicates", state.link.has_value())
        .set_flag("link", state.link.value_or(false));
    return record;
}

std::pair<std::uint16_t, ChannelState> load_channel(const Record& record) {
    record.expect(channel_type, channel_version);
    ChannelState state;
    state.sections.generation = record.get<std::uint32_t>("generation");
    state.sections.orphans = record.get<std::uint64_t>("orphans", most_sections);
    for (const Record& transaction : record.get_records("transactions")) {
        state.sections.transactions.push_back(load_transaction(transaction));
    }
    for (const Record& reply : record.get_records("replies")) {
        state.replies.push_back(load_reply(reply));
    }
    // Each request has two answers at most.
    if (state.sections.transactions.size() > most_sections ||
        state.replies.size() > 2 * Channel::most_requests) {
        refuse("a channel has more under way than there can be");
    }
    if (record.get_flag("indicates")) {
        state.link = record.get_flag("link");
    }
    return {record.get<std::uint16_t>("index"), std::move(state)};
}

void save_rndis(const RndisState& state, Record& record) {
    std::vector<std::uint8_t> multicast;
    for (const MacAddress& address : state.multicast) {
        multicast.insert(multicast.end(), address.bytes.begin(), address.bytes.end());
    }
    record.set_flag("initialized", state.initialized)
        .set("filter", state.filter)
        .set_bytes("multicast", multicast)
        .set_flag("coalesces_ipv4", state.coalescing.ipv4)
        .set_flag("coalesces_ipv6", state.coalescing.ipv6)
        .set_flag("scales", state.scaling.enabled)
        .set("scaling_hashed", state.scaling.hashed)
        .set_bytes("scaling_table", bytes_of_all(state.scaling.table))
        .set_bytes("scaling_key", state.scaling.key);
}

RndisState load_rndis(const Record& record) {
    RndisState state;
    state.initialized = record.get_flag("initialized");
    state.filter = record.get<std::uint32_t>("filter");
    const auto multicast = record.get_bytes("multicast", most_multicast * address_size);
    if (multicast.size() % address_size != 0) {
        refuse("a list ends within an address");
    }
    for (std::size_t at = 0; at < multicast.size(); at += address_size) {
        MacAddress address;
        std::copy_n(multicast.begin() + static_cast<std::ptrdiff_t>(at), address_size,
            address.bytes.begin());
        state.multicast.push_back(address);
    }
    state.coalescing = {record.get_flag("coalesces_ipv4"), record.get_flag("coalesces_ipv6")};
    state.scaling.enabled = record.get_flag("scales");
    state.scaling.hashed = record.get<std::uint32_t>("scaling_hashed");
    state.scaling.table =
        get_numbers<std::uint32_t>(record, "scaling_table", protocol::receive_scale_table_entries);
    state.scaling.key = record.get_bytes("scaling_key", protocol::receive_scale_key_size);
    return state;
}

NegotiationState load_negotiation(const Record& record) {
    NegotiationState state;
    state.version = record.get<std::uint32_t>("version");
    state.mtu = record.get<std::uint32_t>("mtu", 0xffff);
    state.coalesces = record.get_flag("coalesces");
    state.receive_gpadl = record.get<std::uint32_t>("receive_gpadl");
    state.send_gpadl = record.get<std::uint32_t>("send_gpadl");
    state.sub_channels = record.get<std::uint16_t>("sub_channels");
    const auto& known = protocol::supported_versions;
    if (state.mtu < smallest_mtu ||
        (state.version != 0 && std::ranges::find(known, state.version) == known.end())) {
        refuse("the MTU or the version can't be");
    }
    return state;
}

} // namespace

Record AdapterState::save() const {
    std::vector<Record> saved_channels;
    saved_channels.reserve(channels.size());
    for (const auto& [index, state] : channels) {
        saved_channels.push_back(save_channel(index, state));
    }
    Record record(record_type, record_version);
    record.set("version", negotiation.version)
        .set("mtu", negotiation.mtu)
        .set_flag("coalesces", negotiation.coalesces)
        .set("receive_gpadl", negotiation.receive_gpadl)
        .set("send_gpadl", negotiation.send_gpadl)
        .set("sub_channels", negotiation.sub_channels)
        .set_bytes("address", address.bytes)
        .set_records("channels", saved_channels);
    save_rndis(rndis, record);
    return record;
}

AdapterState AdapterState::load(const Record& record) {
    record.expect(record_type, record_version);
    AdapterState state;
    state.negotiation = load_negotiation(record);
    state.rndis = load_rndis(record);
    state.address = get_address(record, "address");
    for (const Record& channel : record.get_records("channels")) {
        if (!state.channels.insert(load_channel(channel)).second) {
            refuse("a channel is there twice");
        }
    }
    return state;
}

} // namespace croft::vsp::network
