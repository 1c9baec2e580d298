// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/steering/program.hpp"

#include "vsp/network/frame.hpp"
#include "vsp/network/protocol/ndis.hpp"

#include <arpa/inet.h>
#include <utility>

namespace croft::vsp::network::steering {

namespace {

// Registers by their use. What a call leaves alone is 6 and on.
constexpr std::uint8_t result = BPF_REG_0;
constexpr std::uint8_t scratch = BPF_REG_1;
constexpr std::uint8_t address = BPF_REG_2;
constexpr std::uint8_t frame = BPF_REG_6;
constexpr std::uint8_t network_header = BPF_REG_7;
constexpr std::uint8_t ether_type = BPF_REG_8;
constexpr std::uint8_t rules = BPF_REG_9;
constexpr std::uint8_t stack = BPF_REG_10;

// On the stack: the start of the network header, with the ports at once behind the addresses.
constexpr std::int16_t header = -64;
constexpr std::int16_t type_word = -72;

constexpr std::int32_t ether_type_offset = ethernet_addresses_size;

/// Where things are in a header of IPv4 or IPv6.
struct Version {
    /// Its header has a length of its own, and may be that of a fragment.
    bool is_4;
    std::int32_t size;
    std::int16_t protocol;
    std::int16_t addresses;
    std::int32_t addresses_size;
    std::uint32_t hash_addresses;
    std::uint32_t hash_tcp;
};
constexpr Version ipv4{
    true, ipv4_header_size, 9, 12, 8, protocol::hash_ipv4, protocol::hash_tcp_ipv4};
constexpr Version ipv6{
    false, ipv6_header_size, 6, 8, 32, protocol::hash_ipv6, protocol::hash_tcp_ipv6};
constexpr std::int16_t ipv4_fragment = 6;
constexpr std::uint16_t ipv4_is_fragment = 0x3fff; // more of them, or an offset
constexpr std::int32_t ports_size = 4;

class Assembler {
public:
    /// A place that is jumped to, forwards.
    struct Label {
        std::vector<std::size_t> jumps;
    };

    void set(std::uint8_t to, std::int32_t value) {
        add(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value);
    }
    void copy(std::uint8_t to, std::uint8_t from) { add(BPF_ALU64 | BPF_MOV | BPF_X, to, from); }
    /// operation: BPF_ADD …
    void compute(std::uint8_t operation, std::uint8_t to, std::int32_t value) {
        add(static_cast<std::uint8_t>(BPF_ALU64 | BPF_K | operation), to, 0, 0, value);
    }
    void compute_with(std::uint8_t operation, std::uint8_t to, std::uint8_t from) {
        add(static_cast<std::uint8_t>(BPF_ALU64 | BPF_X | operation), to, from);
    }
    /// size: BPF_B, BPF_H or BPF_W
    void load(std::uint8_t size, std::uint8_t to, std::uint8_t base, std::int16_t offset) {
        add(static_cast<std::uint8_t>(BPF_LDX | BPF_MEM | size), to, base, offset);
    }
    void load_value_address(std::uint8_t to, int map) {
        // BPF_LD and BPF_IMM, which are 0
        add(BPF_DW, to, BPF_PSEUDO_MAP_VALUE, 0, map);
        add(0, 0, 0);
    }
    /// If `condition` (BPF_JEQ …) holds of a register and a value.
    void jump_if(std::uint8_t condition, std::uint8_t of, std::int32_t value, Label& label) {
        label.jumps.push_back(code_.size());
        add(static_cast<std::uint8_t>(BPF_JMP | BPF_K | condition), of, 0, 0, value);
    }
    void jump(Label& label) {
        label.jumps.push_back(code_.size());
        add(BPF_JMP | BPF_JA, 0, 0);
    }
    void place(const Label& label) {
        for (const std::size_t jump : label.jumps) {
            code_[jump].off = static_cast<std::int16_t>(code_.size() - jump - 1);
        }
    }
    /// Copies from the frame at scratch's offset to the stack; jumps if it isn't that long.
    void load_bytes(std::int16_t to, std::int32_t size, Label& too_short) {
        copy(BPF_REG_2, scratch);
        copy(BPF_REG_1, frame);
        copy(BPF_REG_3, stack);
        compute(BPF_ADD, BPF_REG_3, to);
        set(BPF_REG_4, size);
        add(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_load_bytes);
        jump_if(BPF_JNE, result, 0, too_short);
    }
    void exit() { add(BPF_JMP | BPF_EXIT, 0, 0); }

    [[nodiscard]] std::vector<bpf_insn> take() { return std::move(code_); }

private:
    void add(std::uint8_t code, std::uint8_t to, std::uint8_t from, std::int16_t offset = 0,
        std::int32_t value = 0) {
        bpf_insn instruction{};
        instruction.code = code;
        instruction.dst_reg = to & 0xfU;
        instruction.src_reg = from & 0xfU;
        instruction.off = offset;
        instruction.imm = value;
        code_.push_back(instruction);
    }

    std::vector<bpf_insn> code_;
};

constexpr std::int16_t rule(std::size_t offset) {
    return static_cast<std::int16_t>(offset);
}

/// Leaves the hash of what is on the stack in `result`.
void hash_bytes(Assembler& code, std::int16_t first, std::int32_t count) {
    code.set(result, 0);
    for (std::int32_t i = 0; i < count; ++i) {
        code.load(BPF_B, scratch, stack, static_cast<std::int16_t>(first + i));
        code.compute(BPF_LSH, scratch, 2);
        code.copy(address, rules);
        code.compute_with(BPF_ADD, address, scratch);
        code.compute(BPF_ADD, address,
            static_cast<std::int32_t>(offsetof(Rules, toeplitz) +
                static_cast<std::size_t>(i) * sizeof(ToeplitzTable::value_type)));
        code.load(BPF_W, address, address, 0);
        code.compute_with(BPF_XOR, result, address);
    }
}

void unless_hashed(Assembler& code, std::uint32_t hash, Assembler::Label& label) {
    code.load(BPF_W, scratch, rules, rule(offsetof(Rules, hashed)));
    code.compute(BPF_AND, scratch, static_cast<std::int32_t>(hash));
    code.jump_if(BPF_JEQ, scratch, 0, label);
}

/// From a frame of that version on to its hash.
void hash_packet(
    Assembler& code, const Version& version, Assembler::Label& hashed, Assembler::Label& other) {
    Assembler::Label no_ports;
    code.copy(scratch, network_header);
    code.load_bytes(header, version.size, other);
    code.load(BPF_B, scratch, stack, static_cast<std::int16_t>(header + version.protocol));
    code.jump_if(BPF_JNE, scratch, protocol_tcp, no_ports);
    unless_hashed(code, version.hash_tcp, no_ports);
    if (version.is_4) {
        code.load(BPF_H, scratch, stack, header + ipv4_fragment);
        code.compute(BPF_AND, scratch, htons(ipv4_is_fragment));
        code.jump_if(BPF_JNE, scratch, 0, no_ports);
        code.load(BPF_B, scratch, stack, header); // the header's length in words, its options too
        code.compute(BPF_AND, scratch, 0x0f);
        code.compute(BPF_LSH, scratch, 2);
    } else {
        code.set(scratch, version.size);
    }
    code.compute_with(BPF_ADD, scratch, network_header);
    const auto addresses = static_cast<std::int16_t>(header + version.addresses);
    code.load_bytes(
        static_cast<std::int16_t>(addresses + version.addresses_size), ports_size, no_ports);
    hash_bytes(code, addresses, version.addresses_size + ports_size);
    code.jump(hashed);
    code.place(no_ports);
    unless_hashed(code, version.hash_addresses, other);
    hash_bytes(code, addresses, version.addresses_size);
    code.jump(hashed);
}

void load_ether_type(Assembler& code, std::int32_t offset, Assembler::Label& too_short) {
    code.set(scratch, offset);
    code.load_bytes(type_word, sizeof(std::uint16_t), too_short);
    code.load(BPF_H, ether_type, stack, type_word);
}

} // namespace

std::vector<bpf_insn> make_program(int map) {
    Assembler code;
    Assembler::Label network;
    Assembler::Label is_ipv4;
    Assembler::Label is_ipv6;
    Assembler::Label hashed;
    Assembler::Label other;
    code.copy(frame, BPF_REG_1);
    code.load_value_address(rules, map);
    code.set(network_header, ethernet_header_size);
    load_ether_type(code, ether_type_offset, other);
    code.jump_if(BPF_JNE, ether_type, htons(ethertype_vlan), network);
    load_ether_type(code, ether_type_offset + std::int32_t{vlan_tag_size}, other);
    code.compute(BPF_ADD, network_header, vlan_tag_size);
    code.place(network);
    code.jump_if(BPF_JEQ, ether_type, htons(ethertype_ipv4), is_ipv4);
    code.jump_if(BPF_JEQ, ether_type, htons(ethertype_ipv6), is_ipv6);
    code.jump(other);
    code.place(is_ipv4);
    hash_packet(code, ipv4, hashed, other);
    code.place(is_ipv6);
    hash_packet(code, ipv6, hashed, other);
    code.place(hashed);
    code.compute(BPF_AND, result, Rules::entries - 1);
    code.copy(address, rules);
    code.compute_with(BPF_ADD, address, result);
    code.load(BPF_B, result, address, rule(offsetof(Rules, queues)));
    code.exit();
    code.place(other);
    code.load(BPF_B, result, rules, rule(offsetof(Rules, other_queue)));
    code.exit();
    return code.take();
}

} // namespace croft::vsp::network::steering
