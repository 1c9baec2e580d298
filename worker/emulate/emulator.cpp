// SPDX-License-Identifier: Apache-2.0
#include "worker/emulate/emulator.hpp"

#include "worker/emulate/execution.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace croft::worker {

namespace {

ZydisDecoder decoder_for(CpuMode mode) {
    ZydisDecoder decoder;
    switch (mode) {
    case CpuMode::real:
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16);
        break;
    case CpuMode::protected_16:
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
        break;
    case CpuMode::protected_32:
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
        break;
    case CpuMode::long_64:
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        break;
    }
    return decoder;
}

using InstructionBytes = std::array<std::uint8_t, ZYDIS_MAX_INSTRUCTION_LENGTH>;

std::string describe(const CpuState& state, std::span<const std::uint8_t> bytes) {
    return fmt::format("{:02x} at {:#x}", fmt::join(bytes, " "), state.rip);
}

} // namespace

EmulationResult Emulator::emulate(CpuState& state, std::span<const std::uint8_t> bytes) {
    InstructionBytes code{};
    std::size_t length = std::min(bytes.size(), code.size());
    std::copy_n(bytes.begin(), length, code.begin());

    const ZydisDecoder decoder = decoder_for(state.mode);
    Execution::Decoded decoded;
    const auto decode = [&] {
        return ZydisDecoderDecodeFull(
            &decoder, code.data(), length, &decoded.instruction, decoded.operands.data());
    };
    ZyanStatus status = decode();
    if (status == ZYDIS_STATUS_NO_MORE_DATA && length < code.size()) {
        const std::uint64_t base = state.mode == CpuMode::long_64 ? 0 : state.segment_base[cs];
        length += environment_.fetch(base + state.rip + length, std::span(code).subspan(length));
        status = decode();
    }
    if (ZYAN_FAILED(status)) {
        return {
            EmulationResult::Kind::unsupported, {}, describe(state, std::span(code).first(length))};
    }
    try {
        Execution(environment_, state, decoded).run();
    } catch (const GuestException& exception) {
        return {EmulationResult::Kind::exception, exception, {}};
    } catch (const Execution::Unsupported&) {
        const auto text = std::span(code).first(decoded.instruction.length);
        return {EmulationResult::Kind::unsupported, {},
            fmt::format("{} ({})", ZydisMnemonicGetString(decoded.instruction.mnemonic),
                describe(state, text))};
    }
    return {};
}

} // namespace croft::worker
