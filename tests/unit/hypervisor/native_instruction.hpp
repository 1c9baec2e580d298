// SPDX-License-Identifier: Apache-2.0
// The processor itself as the judge of what an instruction does.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <sys/mman.h>

namespace hypervisor::test {

struct NativeState {
    std::array<std::uint64_t, 16> registers{};
    std::uint64_t rflags = 0x202;
    std::uint64_t memory = 0; ///< the eight bytes at operand_address()
};

/// Runs single 64-bit instructions with all sixteen registers loaded. Their memory operand has to
/// be named by its 32-bit address, for no register is left to point to anything.
class NativeInstruction final {
public:
    NativeInstruction() {
        void* const place = mmap(nullptr, area_size, PROT_READ | PROT_WRITE | PROT_EXEC,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
        if (place != MAP_FAILED) {
            area_ = static_cast<std::uint8_t*>(place);
        }
    }
    ~NativeInstruction() {
        if (area_ != nullptr) {
            munmap(area_, area_size);
        }
    }
    NativeInstruction(const NativeInstruction&) = delete;
    NativeInstruction& operator=(const NativeInstruction&) = delete;

    [[nodiscard]] bool available() const { return area_ != nullptr; }
    [[nodiscard]] std::uint32_t operand_address() const { return address(operand); }

    void run(std::span<const std::uint8_t> instruction, NativeState& state) {
        build(instruction);
        for (unsigned index = 0; index < 16; ++index) {
            at(guest + 8 * index) = state.registers[index];
        }
        at(guest_flags) = state.rflags;
        at(operand) = state.memory;
        reinterpret_cast<void (*)()>(area_)();
        for (unsigned index = 0; index < 16; ++index) {
            state.registers[index] = at(guest + 8 * index);
        }
        state.rflags = at(guest_flags);
        state.memory = at(operand);
    }

private:
    static constexpr std::size_t area_size = 0x2000;
    // Offsets in the area; the code is at its start.
    static constexpr std::uint32_t guest = 0x1000;
    static constexpr std::uint32_t guest_flags = 0x1080;
    static constexpr std::uint32_t host = 0x1100;
    static constexpr std::uint32_t operand = 0x1200;
    static constexpr std::uint32_t stack_top = 0x1E00;

    [[nodiscard]] std::uint32_t address(std::uint32_t offset) const {
        return std::uint32_t(reinterpret_cast<std::uintptr_t>(area_) + offset);
    }
    std::uint64_t& at(std::uint32_t offset) {
        return *reinterpret_cast<std::uint64_t*>(area_ + offset);
    }

    void emit(std::initializer_list<std::uint8_t> bytes) {
        length_ = std::size_t(std::copy(bytes.begin(), bytes.end(), area_ + length_) - area_);
    }
    void emit_absolute(std::uint32_t offset) {
        const std::uint32_t place = address(offset);
        emit({0x25, std::uint8_t(place), std::uint8_t(place >> 8), std::uint8_t(place >> 16),
            std::uint8_t(place >> 24)});
    }
    /// MOV between a register and a cell of the area; 89 stores, 8B loads.
    void emit_move(std::uint8_t opcode, unsigned index, std::uint32_t offset) {
        emit({std::uint8_t(index >= 8 ? 0x4C : 0x48), opcode,
            std::uint8_t(0x04 | (index % 8) << 3)});
        emit_absolute(offset);
    }
    void emit_move_all(std::uint8_t opcode, std::uint32_t from) {
        for (unsigned index = 0; index < 16; ++index) {
            emit_move(opcode, index, from + 8 * index);
        }
    }
    void emit_scratch_stack() {
        const std::uint32_t place = address(stack_top);
        emit({0xBC, std::uint8_t(place), std::uint8_t(place >> 8), std::uint8_t(place >> 16),
            std::uint8_t(place >> 24)});
    }

    void build(std::span<const std::uint8_t> instruction) {
        length_ = 0;
        emit_move_all(0x89, host);
        emit_scratch_stack();
        emit({0xFF, 0x34}); // push [guest_flags]
        emit_absolute(guest_flags);
        emit({0x9D}); // popf
        emit_move_all(0x8B, guest);
        length_ =
            std::size_t(std::copy(instruction.begin(), instruction.end(), area_ + length_) - area_);
        emit_move_all(0x89, guest);
        emit_scratch_stack();
        emit({0x9C, 0x8F, 0x04}); // pushf, pop [guest_flags]
        emit_absolute(guest_flags);
        emit({0xFC}); // cld
        emit_move_all(0x8B, host);
        emit({0xC3}); // ret
    }

    std::uint8_t* area_ = nullptr;
    std::size_t length_ = 0;
};

} // namespace hypervisor::test
