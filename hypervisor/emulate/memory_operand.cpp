// SPDX-License-Identifier: Apache-2.0
// AMD64 APM vol. 3: 1.4 (ModRM and SIB), 1.2.4 (segment overrides), tables.
#include "hypervisor/emulate/memory_operand.hpp"

#include "hypervisor/emulate/instruction_reader.hpp"
#include "hypervisor/emulate/memory_move.hpp"

namespace hypervisor {

namespace {

enum Segment : std::uint8_t { es, cs, ss, ds, fs, gs };
enum Register : std::uint8_t { rbx = 3, rsp = 4, rbp = 5, rsi = 6, rdi = 7 };

constexpr std::uint64_t size_mask(unsigned size) {
    return size >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * size)) - 1;
}

constexpr std::uint64_t sign_extended(std::uint64_t value, unsigned size) {
    const std::uint64_t sign = std::uint64_t{1} << (8 * size - 1);
    return ((value & size_mask(size)) ^ sign) - sign;
}

/// The segment that the last override before the opcode names. In 64-bit mode the first four are
/// none.
std::optional<Segment> override_in(std::span<const std::uint8_t> prefixes, InstructionMode mode) {
    constexpr std::uint8_t bytes[] = {
        0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65}; // in the order of Segment
    std::optional<Segment> found;
    for (const std::uint8_t byte : prefixes) {
        for (unsigned i = mode == InstructionMode::bits64 ? fs : es; i <= gs; ++i) {
            found = bytes[i] == byte ? static_cast<Segment>(i) : found;
        }
    }
    return found;
}

bool has_mod_rm(std::uint8_t opcode) {
    if (opcode < 0x40) {
        return (opcode & 4) == 0;
    }
    return opcode == 0x63 || opcode == 0x69 || opcode == 0x6b ||
        (opcode >= 0x80 && opcode <= 0x8f) || opcode == 0xc0 || opcode == 0xc1 || opcode == 0xc6 ||
        opcode == 0xc7 || (opcode >= 0xd0 && opcode <= 0xd3) ||
        (opcode >= 0xd8 && opcode <= 0xdf) || opcode == 0xf6 || opcode == 0xf7 || opcode >= 0xfe;
}

class Finder final {
public:
    Finder(std::span<const std::uint8_t> bytes, const OperandContext& context, bool is_write)
        : bytes_{bytes},
          context_{context},
          is_write_{is_write},
          reader_{bytes, context.mode} {}

    std::optional<std::uint64_t> find();

private:
    struct Offset {
        std::uint64_t value;
        Segment segment;
    };

    std::optional<Offset> string_operand(std::uint8_t opcode);
    std::optional<Offset> mod_rm_operand();
    Offset operand_16(std::uint8_t mod, std::uint8_t rm);
    std::optional<Offset> operand(std::uint8_t mod, std::uint8_t rm);
    [[nodiscard]] std::uint64_t value(unsigned number) const { return context_.registers[number]; }

    std::span<const std::uint8_t> bytes_;
    const OperandContext& context_;
    bool is_write_;
    InstructionReader reader_;
    InstructionPrefixes prefixes_{};
    std::optional<Segment> override_{};
    unsigned address_size_ = 8;
};

std::optional<std::uint64_t> Finder::find() {
    prefixes_ = reader_.prefixes();
    override_ = override_in(bytes_.first(reader_.length()), context_.mode);
    address_size_ = reader_.address_size(prefixes_);
    const std::uint8_t opcode = reader_.next();
    std::optional<Offset> offset = string_operand(opcode);
    if (!offset && opcode >= 0xa0 && opcode <= 0xa3) {
        offset = Offset{reader_.next_value(address_size_), override_.value_or(ds)};
    } else if (!offset && opcode == 0x0f) {
        if (const std::uint8_t second = reader_.next(); second == 0x38 || second == 0x3a) {
            reader_.next();
        }
        offset = mod_rm_operand();
    } else if (!offset && has_mod_rm(opcode)) {
        offset = mod_rm_operand();
    }
    if (!offset || reader_.error()) {
        return std::nullopt;
    }
    const bool is_long = context_.mode == InstructionMode::bits64;
    const Segment segment = offset->segment;
    const std::uint64_t base = is_long && segment < fs ? 0 : context_.segment_bases[segment];
    return (base + (offset->value & size_mask(address_size_))) & size_mask(is_long ? 8 : 4);
}

/// MOVS, CMPS, STOS, LODS and SCAS. What ES:RDI names can't be overridden.
std::optional<Finder::Offset> Finder::string_operand(std::uint8_t opcode) {
    const Offset source{value(rsi), override_.value_or(ds)};
    const Offset destination{value(rdi), es};
    switch (opcode & 0xfe) {
    case 0xa4:
        return is_write_ ? destination : source;
    case 0xac:
        return source;
    case 0xaa:
    case 0xae:
        return destination;
    default:
        return std::nullopt;
    }
}

std::optional<Finder::Offset> Finder::mod_rm_operand() {
    const std::uint8_t byte = reader_.next();
    const auto mod = static_cast<std::uint8_t>(byte >> 6);
    const auto rm = static_cast<std::uint8_t>(byte & 7);
    if (mod == 3) {
        return std::nullopt;
    }
    auto offset = address_size_ == 2 ? std::optional{operand_16(mod, rm)} : operand(mod, rm);
    if (offset && override_) {
        offset->segment = *override_;
    }
    return offset;
}

Finder::Offset Finder::operand_16(std::uint8_t mod, std::uint8_t rm) {
    constexpr std::uint8_t none = 0xff;
    constexpr std::uint8_t parts[8][2] = {{rbx, rsi}, {rbx, rdi}, {rbp, rsi}, {rbp, rdi},
        {rsi, none}, {rdi, none}, {rbp, none}, {rbx, none}};
    if (mod == 0 && rm == 6) {
        return {reader_.next_value(2), ds};
    }
    std::uint64_t sum = value(parts[rm][0]) + (parts[rm][1] != none ? value(parts[rm][1]) : 0);
    if (mod != 0) {
        sum += sign_extended(reader_.next_value(mod), mod);
    }
    return {sum, parts[rm][0] == rbp ? ss : ds};
}

std::optional<Finder::Offset> Finder::operand(std::uint8_t mod, std::uint8_t rm) {
    constexpr unsigned rex_x = 2;
    const unsigned high_base = prefixes_.rex_b() ? 8 : 0;
    std::uint64_t sum = 0;
    std::uint8_t base = rm;
    if (rm == rsp) {
        const std::uint8_t sib = reader_.next();
        base = sib & 7;
        const unsigned index = (sib >> 3 & 7) + ((prefixes_.rex & rex_x) != 0 ? 8 : 0);
        sum = index != rsp ? value(index) << (sib >> 6) : 0;
    }
    if (mod == 0 && base == rbp) {
        sum += sign_extended(reader_.next_value(4), 4);
        if (rm == rsp || context_.mode != InstructionMode::bits64) {
            return Offset{sum, ds};
        }
        // Relative to the next instruction: its place must be known.
        const auto move = decode_memory_move(bytes_, context_.mode);
        return move ? std::optional{Offset{sum + context_.rip + move->length, ds}} : std::nullopt;
    }
    sum += value(base + high_base);
    if (mod != 0) {
        const unsigned size = mod == 1 ? 1 : 4;
        sum += sign_extended(reader_.next_value(size), size);
    }
    const bool is_stack = high_base == 0 && (base == rsp || base == rbp);
    return Offset{sum, is_stack ? ss : ds};
}

} // namespace

std::optional<std::uint64_t> memory_operand_address(
    std::span<const std::uint8_t> bytes, const OperandContext& context, bool is_write) {
    return Finder{bytes, context, is_write}.find();
}

} // namespace hypervisor
