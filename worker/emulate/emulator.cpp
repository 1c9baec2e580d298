// SPDX-License-Identifier: Apache-2.0
#include "worker/emulate/emulator.hpp"

#include "worker/emulate/execution.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace croft::worker {

namespace {

using InstructionBytes = std::array<std::uint8_t, ZYDIS_MAX_INSTRUCTION_LENGTH>;

std::string describe(const CpuState& state, std::span<const std::uint8_t> bytes) {
    return fmt::format("{:02x} at {:#x}", fmt::join(bytes, " "), state.rip);
}

/// The width of an instruction's access to a port, if it makes one.
std::optional<unsigned> port_width(const DecodedInstruction& decoded) {
    constexpr unsigned bits_per_byte = 8;
    switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_IN:
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD:
        return decoded.operands[0].size / bits_per_byte;
    case ZYDIS_MNEMONIC_OUT:
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD:
        return decoded.operands[1].size / bits_per_byte;
    default:
        return std::nullopt;
    }
}

bool accesses_memory(const DecodedInstruction& decoded) {
    const auto first = decoded.operands.begin();
    return std::any_of(
        first, first + decoded.instruction.operand_count, [](const ZydisDecodedOperand& operand) {
            return operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
                operand.mem.type == ZYDIS_MEMOP_TYPE_MEM;
        });
}

bool can_have_made(const Trap& trap, const DecodedInstruction& decoded) {
    return port_width(decoded) == trap.port_width && (trap.port_width || accesses_memory(decoded));
}

} // namespace

EmulationResult Emulator::emulate(
    CpuState& state, std::span<const std::uint8_t> bytes, const Trap& trap) {
    InstructionBytes code{};
    std::size_t length = std::min(bytes.size(), code.size());
    std::copy_n(bytes.begin(), length, code.begin());

    const auto decode = [&] {
        return decoder_.decode(state.mode, state.rip, std::span(code).first(length));
    };
    InstructionDecoder::Result decoded = decode();
    if (decoded.failure == InstructionDecoder::Failure::incomplete && length < code.size()) {
        const std::uint64_t base = state.mode == CpuMode::long_64 ? 0 : state.segment_base[cs];
        length += environment_.fetch(base + state.rip + length, std::span(code).subspan(length));
        decoded = decode();
    }
    if (decoded.failure == InstructionDecoder::Failure::incomplete) {
        return {EmulationResult::Kind::changed, {}, {}};
    }
    if (decoded.failure == InstructionDecoder::Failure::invalid) {
        return {
            EmulationResult::Kind::unsupported, {}, describe(state, std::span(code).first(length))};
    }
    if (!can_have_made(trap, *decoded.instruction)) {
        return {EmulationResult::Kind::changed, {}, {}};
    }
    const ZydisDecodedInstruction& instruction = decoded.instruction->instruction;
    try {
        Execution(environment_, state, *decoded.instruction).run();
    } catch (const GuestException& exception) {
        return {EmulationResult::Kind::exception, exception, {}};
    } catch (const EmulatorEnvironment::OtherInstruction&) {
        return {EmulationResult::Kind::changed, {}, {}};
    } catch (const Execution::Unsupported&) {
        const auto text = std::span(code).first(instruction.length);
        return {EmulationResult::Kind::unsupported, {},
            fmt::format(
                "{} ({})", ZydisMnemonicGetString(instruction.mnemonic), describe(state, text))};
    }
    return {};
}

} // namespace croft::worker
