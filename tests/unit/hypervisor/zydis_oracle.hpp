// SPDX-License-Identifier: Apache-2.0
// Zydis as the second opinion on what our bounded decoders accept.
#pragma once

#include "hypervisor/emulate/instruction_mode.hpp"

#include <Zydis/Zydis.h>
#include <array>
#include <cstdint>
#include <iomanip>
#include <optional>
#include <span>
#include <sstream>
#include <string>

namespace hypervisor::test {

struct ZydisInstruction {
    ZydisDecodedInstruction instruction{};
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands{};
};

inline std::optional<ZydisInstruction> zydis_decode(
    std::span<const std::uint8_t> bytes, InstructionMode mode) {
    ZydisDecoder decoder{};
    switch (mode) {
    case InstructionMode::bits16:
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
        break;
    case InstructionMode::bits32:
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
        break;
    case InstructionMode::bits64:
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        break;
    }
    ZydisInstruction result;
    const auto status = ZydisDecoderDecodeFull(
        &decoder, bytes.data(), bytes.size(), &result.instruction, result.operands.data());
    if (ZYAN_FAILED(status)) {
        return std::nullopt;
    }
    return result;
}

inline std::string hex(std::span<const std::uint8_t> bytes) {
    std::ostringstream text;
    for (const std::uint8_t byte : bytes) {
        text << std::hex << std::setw(2) << std::setfill('0') << unsigned{byte} << ' ';
    }
    return text.str();
}

} // namespace hypervisor::test
