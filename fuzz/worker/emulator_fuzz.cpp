// SPDX-License-Identifier: Apache-2.0
//
// The instruction emulator against code that a guest may choose: it may do anything to the guest,
// but neither crash nor take long. Input: one byte for the mode and what has trapped, sixteen
// general registers of which each is a byte that picks a value, then the code.
#include "worker/emulate/emulator.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>

namespace {

using croft::worker::CpuMode;
using croft::worker::CpuState;
using croft::worker::EmulationResult;
using croft::worker::Emulator;
using croft::worker::EmulatorEnvironment;
using croft::worker::GuestException;
using croft::worker::InstructionDecoder;
using croft::worker::LinearAccess;
using croft::worker::Trap;

/// Everything can be read; what lies in the upper half of the address space can't be written.
class Environment final : public EmulatorEnvironment {
public:
    Fault read_memory(const LinearAccess& access, std::span<std::uint8_t> bytes) override {
        std::fill(bytes.begin(), bytes.end(), static_cast<std::uint8_t>(access.address));
        return std::nullopt;
    }
    Fault write_memory(const LinearAccess& access, std::span<const std::uint8_t>) override {
        if ((access.address >> 63) != 0) {
            return GuestException{14, 2, access.address};
        }
        return std::nullopt;
    }
    std::size_t fetch(std::uint64_t, std::span<std::uint8_t>) override { return 0; }
    std::uint32_t read_port(std::uint16_t port, unsigned) override { return port; }
    void write_port(std::uint16_t, unsigned, std::uint32_t) override {}
    std::array<std::uint8_t, 16> read_xmm(unsigned) override { return {}; }
    void write_xmm(unsigned, const std::array<std::uint8_t, 16>&) override {}
};

std::uint64_t value_of(std::uint8_t choice) {
    constexpr std::array<std::uint64_t, 8> values = {0, 1, 0xfec0'0000, 0xffff'ffff, 0x7fff'ffff,
        0x8000'0000'0000'0000, 0xffff'ffff'ffff'ffff, 0x1000};
    return values[choice % values.size()] + (choice >> 3);
}

/// An access to memory, or to a port of 1, 2 or 4 bytes.
Trap trap_of(std::uint8_t choice) {
    return (choice & 3U) == 0 ? Trap{} : Trap{1U << ((choice & 3U) - 1)};
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    CpuState state;
    constexpr std::size_t header = 17;
    if (size <= header) {
        return 0;
    }
    state.mode = static_cast<CpuMode>(data[0] & 3U);
    state.flags |= (data[0] & 4U) != 0 ? croft::worker::flag_direction : 0;
    for (std::size_t index = 0; index < state.general.size(); ++index) {
        state.general[index] = value_of(data[1 + index]);
    }
    Environment environment;
    InstructionDecoder decoder;
    Emulator emulator(environment, decoder);
    CpuState again = state;
    const Trap trap = trap_of(data[0] >> 3);
    const EmulationResult first = emulator.emulate(state, {data + header, size - header}, trap);
    // What has been decoded before does the same.
    const EmulationResult second = emulator.emulate(again, {data + header, size - header}, trap);
    if (first.kind != second.kind || first.text != second.text || state.rip != again.rip ||
        state.flags != again.flags || state.general != again.general) {
        std::abort();
    }
    return 0;
}
