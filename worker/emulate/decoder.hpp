// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/emulate/cpu_state.hpp"

#include <Zydis/Zydis.h>
#include <array>
#include <cstdint>
#include <memory>
#include <span>

namespace croft::worker {

struct DecodedInstruction {
    ZydisDecodedInstruction instruction{};
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands{};
};

/// Decodes instructions by Zydis, and keeps the last ones: a guest reaches its devices from few
/// places, and decoding takes longer than all else that an emulation does. For one thread.
class InstructionDecoder {
public:
    InstructionDecoder();

    enum class Failure {
        none,
        incomplete, ///< `code` ends within the instruction.
        invalid,
    };
    /// `instruction` is there unless it failed, until the next call.
    struct Result {
        Failure failure = Failure::none;
        const DecodedInstruction* instruction = nullptr;
    };

    /// Decodes the first instruction of `code`, which a processor in `mode` has at `rip`.
    [[nodiscard]] Result decode(
        CpuMode mode, std::uint64_t rip, std::span<const std::uint8_t> code);

private:
    /// An instruction is its bytes and the mode; where it is only says which entry may have it.
    struct Entry {
        std::array<std::uint8_t, ZYDIS_MAX_INSTRUCTION_LENGTH> code{};
        std::uint8_t length = 0; ///< 0: there is none.
        CpuMode mode = CpuMode::real;
        DecodedInstruction decoded;

        [[nodiscard]] bool begins(std::span<const std::uint8_t> text, CpuMode of) const;
    };

    static constexpr std::size_t entry_count = 8;
    std::unique_ptr<std::array<Entry, entry_count>> entries_;
};

} // namespace croft::worker
