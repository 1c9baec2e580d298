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

} // namespace

EmulationResult Emulator::emulate(CpuState& state, std::span<const std::uint8_t> bytes) {
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
    if (decoded.failure != InstructionDecoder::Failure::none) {
        return {
            EmulationResult::Kind::unsupported, {}, describe(state, std::span(code).first(length))};
    }
    const ZydisDecodedInstruction& instruction = decoded.instruction->instruction;
    try {
        Execution(environment_, state, *decoded.instruction).run();
    } catch (const GuestException& exception) {
        return {EmulationResult::Kind::exception, exception, {}};
    } catch (const Execution::Unsupported&) {
        const auto text = std::span(code).first(instruction.length);
        return {EmulationResult::Kind::unsupported, {},
            fmt::format(
                "{} ({})", ZydisMnemonicGetString(instruction.mnemonic), describe(state, text))};
    }
    return {};
}

} // namespace croft::worker
