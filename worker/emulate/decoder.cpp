// SPDX-License-Identifier: Apache-2.0
#include "worker/emulate/decoder.hpp"

#include <algorithm>

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

/// Instructions near one another are of different entries.
std::size_t entry_of(std::uint64_t rip, std::size_t count) {
    return (rip ^ rip >> 3) % count;
}

} // namespace

InstructionDecoder::InstructionDecoder()
    : entries_(std::make_unique<std::array<Entry, entry_count>>()) {}

bool InstructionDecoder::Entry::begins(std::span<const std::uint8_t> text, CpuMode of) const {
    return length != 0 && mode == of && text.size() >= length &&
        std::equal(code.begin(), code.begin() + length, text.begin());
}

InstructionDecoder::Result InstructionDecoder::decode(
    CpuMode mode, std::uint64_t rip, std::span<const std::uint8_t> code) {
    Entry& entry = (*entries_)[entry_of(rip, entry_count)];
    if (entry.begins(code, mode)) {
        return {Failure::none, &entry.decoded};
    }
    entry.length = 0;
    const ZydisDecoder decoder = decoder_for(mode);
    const ZyanStatus status = ZydisDecoderDecodeFull(&decoder, code.data(), code.size(),
        &entry.decoded.instruction, entry.decoded.operands.data());
    if (status == ZYDIS_STATUS_NO_MORE_DATA) {
        return {Failure::incomplete, nullptr};
    }
    if (ZYAN_FAILED(status)) {
        return {Failure::invalid, nullptr};
    }
    entry.mode = mode;
    entry.length = entry.decoded.instruction.length;
    std::copy_n(code.begin(), entry.length, entry.code.begin());
    return {Failure::none, &entry.decoded};
}

} // namespace croft::worker
