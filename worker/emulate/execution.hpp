// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/emulate/decoder.hpp"
#include "worker/emulate/emulator.hpp"

#include <cstdint>

namespace croft::worker {

/// One decoded instruction while it is carried out. Thrown out of it: `GuestException` for one that
/// the guest gets, `Unsupported` for a form that isn't emulated.
class Execution {
public:
    struct Unsupported {};

    Execution(EmulatorEnvironment& environment, CpuState& state, const DecodedInstruction& decoded);

    /// Carries it out and moves RIP on.
    void run();

private:
    using Operand = ZydisDecodedOperand;

    [[nodiscard]] const Operand& operand(unsigned index) const { return decoded_.operands[index]; }
    [[nodiscard]] unsigned operand_size(const Operand& of) const;
    [[nodiscard]] unsigned address_size() const;
    [[nodiscard]] std::uint64_t linear(SegmentRegister segment, std::uint64_t offset) const;
    [[nodiscard]] std::uint64_t linear_of(const Operand& of) const;
    [[nodiscard]] std::uint64_t read_register(ZydisRegister name) const;
    void write_register(ZydisRegister name, std::uint64_t value);
    void write_general(unsigned number, unsigned size, std::uint64_t value);
    [[nodiscard]] std::uint64_t read_linear(std::uint64_t address, unsigned size, bool for_write);
    void write_linear(std::uint64_t address, unsigned size, std::uint64_t value);
    [[nodiscard]] std::uint64_t read(const Operand& of, bool for_write = false);
    void write(const Operand& to, std::uint64_t value);
    void set_flags(std::uint64_t changed, std::uint64_t value);

    [[nodiscard]] bool run_move();
    [[nodiscard]] bool run_arithmetic();
    [[nodiscard]] bool run_exchange();
    [[nodiscard]] bool run_bit_test();
    [[nodiscard]] bool run_conditional();
    [[nodiscard]] bool run_stack();
    [[nodiscard]] bool run_port();
    [[nodiscard]] bool run_vector_move();
    [[nodiscard]] bool run_string();

    void binary(std::uint64_t left, std::uint64_t right, unsigned size);
    void vector_move(unsigned size, bool clears_rest);
    void string_step(unsigned size);
    void advance_index(GeneralRegister index, unsigned size);
    [[nodiscard]] std::uint64_t index_offset(GeneralRegister index) const;
    [[nodiscard]] SegmentRegister source_segment() const;

    EmulatorEnvironment& environment_;
    CpuState& state_;
    const DecodedInstruction& decoded_;
};

} // namespace croft::worker
