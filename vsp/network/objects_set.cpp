// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/objects.hpp"

#include "vsp/network/protocol/rndis.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

namespace croft::vsp::network {

using protocol::Oid;

namespace {

using Value = std::span<const std::uint8_t>;

/// The start of a value; none if that is shorter.
template <typename T>
std::optional<T> read(Value value, std::size_t least = sizeof(T)) {
    T found{};
    if (value.size() < least) {
        return std::nullopt;
    }
    std::memcpy(&found, value.data(), std::min(sizeof(found), value.size()));
    return found;
}

/// A part of a value; none if it isn't inside.
std::optional<Value> part(Value value, std::uint32_t offset, std::uint32_t length) {
    if (offset > value.size() || length > value.size() - offset) {
        return std::nullopt;
    }
    return value.subspan(offset, length);
}

std::uint32_t set_filter(Value value, RndisState& state) {
    const auto filter = read<std::uint32_t>(value);
    if (!filter) {
        return protocol::rndis_invalid_length;
    }
    state.filter = *filter;
    return protocol::rndis_success;
}

std::uint32_t set_multicast(Value value, RndisState& state) {
    constexpr std::size_t size = sizeof(MacAddress::bytes);
    if (value.size() % size != 0) {
        return protocol::rndis_invalid_length;
    }
    if (value.size() / size > most_multicast) {
        return protocol::rndis_multicast_full;
    }
    state.multicast.clear();
    for (; !value.empty(); value = value.subspan(size)) {
        MacAddress address;
        std::copy_n(value.begin(), size, address.bytes.begin());
        state.multicast.push_back(address);
    }
    return protocol::rndis_success;
}

void change(bool& setting, std::uint8_t wish, bool can) {
    if (wish == protocol::offload_enabled) {
        setting = can;
    } else if (wish == protocol::offload_disabled) {
        setting = false;
    }
}

/// Checksums and large sends are taken whether they are on or off; whether large frames come is the
/// guest's choice.
std::uint32_t set_offloads(Value value, const AdapterFacts& facts, RndisState& state) {
    const auto wanted =
        read<protocol::OffloadParameters>(value, protocol::offload_parameters_smallest);
    if (!wanted) {
        return protocol::rndis_invalid_length;
    }
    if (wanted->header.type != protocol::object_default) {
        return protocol::rndis_invalid_data;
    }
    change(state.coalescing.ipv4, wanted->rsc_ipv4, facts.coalesces);
    change(state.coalescing.ipv6, wanted->rsc_ipv6, facts.coalesces);
    return protocol::rndis_success;
}

std::uint32_t set_encapsulation(Value value) {
    constexpr std::uint32_t on = 1;
    const auto wanted = read<protocol::OffloadEncapsulation>(value);
    if (!wanted) {
        return protocol::rndis_invalid_length;
    }
    const auto is_bad = [](std::uint32_t enabled, std::uint32_t type, std::uint32_t size) {
        return enabled == on &&
            (type != protocol::encapsulation_802_3 || size != ethernet_header_size);
    };
    return is_bad(wanted->ipv4_enabled, wanted->ipv4_type, wanted->ipv4_header_size) ||
            is_bad(wanted->ipv6_enabled, wanted->ipv6_type, wanted->ipv6_header_size)
        ? protocol::rndis_not_supported
        : protocol::rndis_success;
}

std::uint32_t set_scaling(Value value, const AdapterFacts& facts, RndisState& state) {
    const auto wanted = read<protocol::ReceiveScaleParameters>(value);
    if (!wanted) {
        return protocol::rndis_invalid_length;
    }
    if ((wanted->flags & protocol::receive_scale_disabled) != 0 || wanted->hash == 0) {
        state.scaling = {};
        return protocol::rndis_success;
    }
    if ((wanted->hash & protocol::hash_function_mask) != protocol::hash_toeplitz) {
        return protocol::rndis_invalid_data;
    }
    ReceiveScaling scaling = state.scaling;
    scaling.enabled = true;
    scaling.hashed = wanted->hash & ~protocol::hash_function_mask;
    if ((wanted->flags & protocol::receive_scale_table_unchanged) == 0) {
        const auto table = part(value, wanted->table_offset, wanted->table_size);
        const std::size_t entries = wanted->table_size / sizeof(std::uint32_t);
        if (!table || entries == 0 || entries > protocol::receive_scale_table_entries) {
            return protocol::rndis_invalid_data;
        }
        scaling.table.resize(entries);
        std::memcpy(scaling.table.data(), table->data(), entries * sizeof(std::uint32_t));
    }
    if ((wanted->flags & protocol::receive_scale_key_unchanged) == 0) {
        const auto key = part(value, wanted->key_offset, wanted->key_size);
        if (!key || wanted->key_size > protocol::receive_scale_key_size) {
            return protocol::rndis_invalid_data;
        }
        scaling.key.assign(key->begin(), key->end());
    }
    if (std::ranges::any_of(
            scaling.table, [&](std::uint32_t channel) { return channel >= facts.channels; })) {
        return protocol::rndis_invalid_data;
    }
    state.scaling = std::move(scaling);
    return protocol::rndis_success;
}

/// Text of drivers' parameters has letters and digits only; others become question marks.
std::optional<std::string> read_text(Value value, std::uint32_t offset, std::uint32_t length) {
    constexpr std::uint32_t longest = 512;
    const auto bytes = part(value, offset, length);
    if (!bytes || length > longest || length % sizeof(char16_t) != 0) {
        return std::nullopt;
    }
    std::string text;
    for (std::size_t i = 0; i < bytes->size(); i += sizeof(char16_t)) {
        const bool is_ascii = (*bytes)[i + 1] == 0 && (*bytes)[i] < 0x80;
        text += is_ascii ? static_cast<char>((*bytes)[i]) : '?';
    }
    return text;
}

std::optional<MacAddress> parse_address(std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    MacAddress address;
    if (text.size() != 2 * address.bytes.size()) {
        return std::nullopt;
    }
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char lower =
            text[i] >= 'A' && text[i] <= 'F' ? static_cast<char>(text[i] - 'A' + 'a') : text[i];
        const std::size_t digit = digits.find(lower);
        if (digit == std::string_view::npos) {
            return std::nullopt;
        }
        address.bytes.at(i / 2) = static_cast<std::uint8_t>(address.bytes.at(i / 2) * 16U + digit);
    }
    return address.is_group() || address == MacAddress() ? std::nullopt : std::optional(address);
}

std::uint32_t set_parameter(Value value, MacAddress& address) {
    const auto parameter = read<protocol::ConfigParameter>(value);
    if (!parameter) {
        return protocol::rndis_invalid_length;
    }
    const auto name = read_text(value, parameter->name_offset, parameter->name_length);
    const auto text = read_text(value, parameter->value_offset, parameter->value_length);
    if (!name || !text) {
        return protocol::rndis_invalid_data;
    }
    if (name->substr(0, name->find('\0')) != "NetworkAddress") {
        return protocol::rndis_success; // of a driver whose parameters mean nothing here
    }
    const auto wanted = parse_address(*text);
    if (!wanted || parameter->type != protocol::config_parameter_string) {
        return protocol::rndis_invalid_data;
    }
    address = *wanted;
    return protocol::rndis_success;
}

} // namespace

std::uint32_t set_object(
    Oid oid, Value value, const AdapterFacts& facts, RndisState& state, MacAddress& address) {
    switch (oid) {
    case Oid::current_packet_filter:
        return set_filter(value, state);
    case Oid::multicast_list:
        return set_multicast(value, state);
    case Oid::offload_parameters:
        return set_offloads(value, facts, state);
    case Oid::offload_encapsulation:
        return set_encapsulation(value);
    case Oid::receive_scale_parameters:
        return set_scaling(value, facts, state);
    case Oid::config_parameter:
        return set_parameter(value, address);
    case Oid::network_layer_addresses:
    case Oid::current_lookahead:
    case Oid::protocol_options:
        return protocol::rndis_success; // what they are makes no difference
    default:
        return protocol::rndis_not_supported;
    }
}

} // namespace croft::vsp::network
