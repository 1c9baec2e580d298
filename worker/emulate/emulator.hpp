// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/emulate/cpu_state.hpp"
#include "worker/emulate/decoder.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace croft::worker {

/// An exception that the guest has to be given.
struct GuestException {
    std::uint8_t vector = 0;
    std::optional<std::uint32_t> error_code;
    /// The address of a page fault.
    std::optional<std::uint64_t> address;
};

/// One access to the guest's linear addresses.
struct LinearAccess {
    std::uint64_t address = 0;
    bool write = false;
};

/// What a processor has left its instruction at. Another processor may have rewritten that since.
struct Trap {
    /// The width of an access to a port, or nothing if it was one to memory.
    std::optional<unsigned> port_width;
};

/// What an instruction's emulation reaches beyond the general registers. An access answers the
/// exception that stopped it, and has changed nothing then.
class EmulatorEnvironment {
public:
    using Fault = std::optional<GuestException>;
    /// Thrown by an access: this instruction isn't the one that has trapped.
    struct OtherInstruction {};

    virtual ~EmulatorEnvironment() = default;
    [[nodiscard]] virtual Fault read_memory(
        const LinearAccess& access, std::span<std::uint8_t> bytes) = 0;
    [[nodiscard]] virtual Fault write_memory(
        const LinearAccess& access, std::span<const std::uint8_t> bytes) = 0;
    /// Reads code; answers how many bytes there are, fewer than asked where the rest can't be read.
    [[nodiscard]] virtual std::size_t fetch(
        std::uint64_t address, std::span<std::uint8_t> bytes) = 0;
    [[nodiscard]] virtual std::uint32_t read_port(std::uint16_t port, unsigned size) = 0;
    virtual void write_port(std::uint16_t port, unsigned size, std::uint32_t value) = 0;
    [[nodiscard]] virtual std::array<std::uint8_t, 16> read_xmm(unsigned index) = 0;
    virtual void write_xmm(unsigned index, const std::array<std::uint8_t, 16>& value) = 0;
};

/// How one instruction ended.
struct EmulationResult {
    enum class Kind {
        done, ///< `state` is that after it; a repeated one may be half through, at the same RIP.
        exception, ///< `exception` is to be injected; of `state`, a repeated one's counters count.
        changed, ///< What lies there now, if anything, does not do what trapped: nothing was done.
        unsupported, ///< `text` says what instruction this is.
    };

    Kind kind = Kind::done;
    GuestException exception;
    std::string text;
};

/// Does what one instruction of a guest would have done, for those that access memory where devices
/// are or that repeat port accesses: moves with all their widths and extensions, exchanges,
/// arithmetic and logic on memory, bit tests, conditional moves and sets, string instructions with
/// their prefixes, PUSH and POP, and plain moves of SSE registers.
class Emulator {
public:
    Emulator(EmulatorEnvironment& environment, InstructionDecoder& decoder)
        : environment_(environment),
          decoder_(decoder) {}

    /// Emulates the instruction at `state.rip`, of which `bytes` are the first; more are fetched if
    /// they don't suffice. A repeated instruction is done at most `most_repeats` times. Only one
    /// that can have made `trap` is carried out: for no other has the processor checked whether
    /// the guest may do it.
    [[nodiscard]] EmulationResult emulate(
        CpuState& state, std::span<const std::uint8_t> bytes, const Trap& trap);

    static constexpr std::uint64_t most_repeats = 4096;

private:
    EmulatorEnvironment& environment_;
    InstructionDecoder& decoder_;
};

} // namespace croft::worker
