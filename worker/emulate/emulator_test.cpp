// SPDX-License-Identifier: Apache-2.0
#include "worker/emulate/emulator.hpp"

#include "worker/emulate/arithmetic.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <vector>

namespace croft::worker {
namespace {

/// Memory of single bytes, of which an address may be made to fault; ports that count.
class FakeEnvironment final : public EmulatorEnvironment {
public:
    Fault read_memory(const LinearAccess& access, std::span<std::uint8_t> bytes) override {
        if (faults(access, bytes.size())) {
            return GuestException{14, access.write ? 2U : 0U, access.address};
        }
        for (std::size_t at = 0; at < bytes.size(); ++at) {
            bytes[at] = memory[access.address + at];
        }
        return std::nullopt;
    }
    Fault write_memory(const LinearAccess& access, std::span<const std::uint8_t> bytes) override {
        if (faults(access, bytes.size())) {
            return GuestException{14, 2, access.address};
        }
        for (std::size_t at = 0; at < bytes.size(); ++at) {
            memory[access.address + at] = bytes[at];
        }
        return std::nullopt;
    }
    std::size_t fetch(std::uint64_t address, std::span<std::uint8_t> bytes) override {
        if (!has_code) {
            return 0;
        }
        for (std::size_t at = 0; at < bytes.size(); ++at) {
            bytes[at] = memory[address + at];
        }
        return bytes.size();
    }
    std::uint32_t read_port(std::uint16_t port, unsigned size) override {
        return static_cast<std::uint32_t>(arithmetic::truncate(0x11223300U + port + reads++, size));
    }
    void write_port(std::uint16_t port, unsigned size, std::uint32_t value) override {
        port_writes.push_back({port, size, value});
    }
    std::array<std::uint8_t, 16> read_xmm(unsigned index) override { return xmm[index]; }
    void write_xmm(unsigned index, const std::array<std::uint8_t, 16>& value) override {
        xmm[index] = value;
    }

    std::uint64_t get(std::uint64_t address, unsigned size) {
        std::uint64_t value = 0;
        for (unsigned at = 0; at < size; ++at) {
            value |= std::uint64_t{memory[address + at]} << (at * 8);
        }
        return value;
    }
    void set(std::uint64_t address, unsigned size, std::uint64_t value) {
        for (unsigned at = 0; at < size; ++at) {
            memory[address + at] = static_cast<std::uint8_t>(value >> (at * 8));
        }
    }

    std::map<std::uint64_t, std::uint8_t> memory;
    std::array<std::array<std::uint8_t, 16>, 16> xmm{};
    std::vector<std::array<std::uint32_t, 3>> port_writes;
    std::uint64_t faulting = ~std::uint64_t{0};
    std::uint32_t reads = 0;
    bool has_code = true;

private:
    [[nodiscard]] bool faults(const LinearAccess& access, std::size_t size) const {
        return faulting >= access.address && faulting - access.address < size;
    }
};

constexpr std::uint64_t mmio = 0xfec0'0000;

class EmulatorTest : public testing::Test {
protected:
    EmulatorTest() {
        state.rip = 0x1000;
        state.general[rbx] = mmio;
        state.general[rax] = 0x8877'6655'4433'2211;
        environment.set(mmio, 8, 0xf0e0'd0c0'b0a0'9080);
    }

    EmulationResult run(std::vector<std::uint8_t> code, const Trap& trap = {}) {
        length = code.size();
        return Emulator(environment, decoder).emulate(state, code, trap);
    }
    void expect_done(std::vector<std::uint8_t> code, const Trap& trap = {}) {
        const EmulationResult result = run(std::move(code), trap);
        ASSERT_EQ(result.kind, EmulationResult::Kind::done) << result.text;
        EXPECT_EQ(state.rip, 0x1000 + length);
    }
    std::uint64_t device() { return environment.get(mmio, 8); }

    FakeEnvironment environment;
    InstructionDecoder decoder;
    CpuState state;
    std::size_t length = 0;
};

TEST_F(EmulatorTest, StoresOfEachWidth) {
    expect_done({0x88, 0x03}); // mov [rbx], al
    EXPECT_EQ(device(), 0xf0e0'd0c0'b0a0'9011);
    state.rip = 0x1000;
    expect_done({0x66, 0x89, 0x03}); // mov [rbx], ax
    EXPECT_EQ(device(), 0xf0e0'd0c0'b0a0'2211);
    state.rip = 0x1000;
    expect_done({0x89, 0x03}); // mov [rbx], eax
    EXPECT_EQ(device(), 0xf0e0'd0c0'4433'2211);
    state.rip = 0x1000;
    expect_done({0x48, 0x89, 0x03}); // mov [rbx], rax
    EXPECT_EQ(device(), 0x8877'6655'4433'2211);
}

TEST_F(EmulatorTest, StoresHighBytesAndNewRegisters) {
    expect_done({0x88, 0x23}); // mov [rbx], ah
    EXPECT_EQ(environment.get(mmio, 1), 0x22U);
    state.rip = 0x1000;
    state.general[rsp] = 0x77;
    expect_done({0x40, 0x88, 0x23}); // mov [rbx], spl
    EXPECT_EQ(environment.get(mmio, 1), 0x77U);
    state.rip = 0x1000;
    state.general[15] = 0x1234'5678;
    expect_done({0x44, 0x89, 0x3b}); // mov [rbx], r15d
    EXPECT_EQ(environment.get(mmio, 4), 0x1234'5678U);
}

TEST_F(EmulatorTest, StoresImmediatesWithTheirSign) {
    expect_done({0xc7, 0x03, 0x78, 0x56, 0x34, 0x12}); // mov dword [rbx], 0x12345678
    EXPECT_EQ(device(), 0xf0e0'd0c0'1234'5678);
    state.rip = 0x1000;
    expect_done({0x48, 0xc7, 0x03, 0xfe, 0xff, 0xff, 0xff}); // mov qword [rbx], -2
    EXPECT_EQ(device(), 0xffff'ffff'ffff'fffe);
    state.rip = 0x1000;
    expect_done({0xc6, 0x03, 0x5a}); // mov byte [rbx], 0x5a
    EXPECT_EQ(environment.get(mmio, 1), 0x5aU);
}

TEST_F(EmulatorTest, LoadsOfEachWidthLeaveOrClearTheRest) {
    expect_done({0x8a, 0x03}); // mov al, [rbx]
    EXPECT_EQ(state.general[rax], 0x8877'6655'4433'2280);
    state.rip = 0x1000;
    expect_done({0x8a, 0x23}); // mov ah, [rbx]
    EXPECT_EQ(state.general[rax], 0x8877'6655'4433'8080);
    state.rip = 0x1000;
    expect_done({0x66, 0x8b, 0x03}); // mov ax, [rbx]
    EXPECT_EQ(state.general[rax], 0x8877'6655'4433'9080);
    state.rip = 0x1000;
    expect_done({0x8b, 0x03}); // mov eax, [rbx]
    EXPECT_EQ(state.general[rax], 0xb0a0'9080U);
    state.rip = 0x1000;
    expect_done({0x4c, 0x8b, 0x03}); // mov r8, [rbx]
    EXPECT_EQ(state.general[8], 0xf0e0'd0c0'b0a0'9080);
}

TEST_F(EmulatorTest, ExtendsWithZerosOrTheSign) {
    expect_done({0x0f, 0xb6, 0x03}); // movzx eax, byte [rbx]
    EXPECT_EQ(state.general[rax], 0x80U);
    state.rip = 0x1000;
    expect_done({0x0f, 0xb7, 0x03}); // movzx eax, word [rbx]
    EXPECT_EQ(state.general[rax], 0x9080U);
    state.rip = 0x1000;
    expect_done({0x48, 0x0f, 0xbe, 0x03}); // movsx rax, byte [rbx]
    EXPECT_EQ(state.general[rax], 0xffff'ffff'ffff'ff80);
    state.rip = 0x1000;
    expect_done({0x0f, 0xbf, 0x03}); // movsx eax, word [rbx]
    EXPECT_EQ(state.general[rax], 0xffff'9080U);
    state.rip = 0x1000;
    expect_done({0x48, 0x63, 0x03}); // movsxd rax, dword [rbx]
    EXPECT_EQ(state.general[rax], 0xffff'ffff'b0a0'9080);
}

TEST_F(EmulatorTest, UsesTheAddressesThatLinuxUsesForTheIoApic) {
    state.general[rcx] = mmio - 0x10;
    expect_done({0x89, 0x41, 0x10}); // mov [rcx + 0x10], eax
    EXPECT_EQ(environment.get(mmio, 4), 0x4433'2211U);
    state.rip = 0x1000;
    state.general[rdx] = 2;
    environment.set(mmio, 4, 0x1234);
    expect_done({0x8b, 0x44, 0x93, 0xf8}); // mov eax, [rbx + rdx*4 - 8]
    EXPECT_EQ(state.general[rax], 0x1234U);
    state.rip = 0x1000;
    environment.set(0x1007 + 0x100, 4, 0xabcd);
    expect_done({0x48, 0x8b, 0x05, 0x00, 0x01, 0x00, 0x00}); // mov rax, [rip + 0x100]
    EXPECT_EQ(state.general[rax], 0xabcdU);
}

TEST_F(EmulatorTest, UsesAbsoluteAddresses) {
    environment.set(0x1122'3344'5566'7788, 4, 0xcafe);
    expect_done({0xa1, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11}); // movabs eax, [...]
    EXPECT_EQ(state.general[rax], 0xcafeU);
}

TEST_F(EmulatorTest, AddsTheBaseOfFsInLongMode) {
    state.segment_base[fs] = 0x1000;
    state.segment_base[ds] = 0x5000; // means nothing in long mode
    environment.set(mmio + 0x1000, 4, 0x4711);
    expect_done({0x64, 0x8b, 0x03}); // mov eax, fs:[rbx]
    EXPECT_EQ(state.general[rax], 0x4711U);
}

TEST_F(EmulatorTest, DoesLogicAndArithmeticOnMemory) {
    environment.set(mmio, 4, 0x0f);
    expect_done({0x83, 0x0b, 0x30}); // or dword [rbx], 0x30
    EXPECT_EQ(environment.get(mmio, 4), 0x3fU);
    state.rip = 0x1000;
    expect_done({0x83, 0x23, 0xfe}); // and dword [rbx], -2
    EXPECT_EQ(environment.get(mmio, 4), 0x3eU);
    state.rip = 0x1000;
    expect_done({0x83, 0x33, 0x3e}); // xor dword [rbx], 0x3e
    EXPECT_EQ(environment.get(mmio, 4), 0U);
    EXPECT_NE(state.flags & flag_zero, 0U);
    state.rip = 0x1000;
    expect_done({0x83, 0x2b, 0x01}); // sub dword [rbx], 1
    EXPECT_EQ(environment.get(mmio, 4), 0xffff'ffffU);
    EXPECT_NE(state.flags & flag_carry, 0U);
    EXPECT_NE(state.flags & flag_sign, 0U);
    state.rip = 0x1000;
    expect_done({0x83, 0x13, 0x00}); // adc dword [rbx], 0
    EXPECT_EQ(environment.get(mmio, 4), 0U);
    EXPECT_NE(state.flags & flag_carry, 0U);
    state.rip = 0x1000;
    expect_done({0xff, 0x03}); // inc dword [rbx]
    EXPECT_EQ(environment.get(mmio, 4), 1U);
    EXPECT_NE(state.flags & flag_carry, 0U) << "INC leaves the carry";
    state.rip = 0x1000;
    expect_done({0xf7, 0x1b}); // neg dword [rbx]
    EXPECT_EQ(environment.get(mmio, 4), 0xffff'ffffU);
    state.rip = 0x1000;
    expect_done({0xf7, 0x13}); // not dword [rbx]
    EXPECT_EQ(environment.get(mmio, 4), 0U);
}

TEST_F(EmulatorTest, ComparesAndTestsWithoutStoring) {
    environment.set(mmio, 4, 5);
    state.general[rax] = 7;
    expect_done({0x39, 0x03}); // cmp [rbx], eax
    EXPECT_EQ(state.flags & (flag_carry | flag_zero | flag_sign), flag_carry | flag_sign);
    state.rip = 0x1000;
    expect_done({0xf7, 0x03, 0x02, 0x00, 0x00, 0x00}); // test dword [rbx], 2
    EXPECT_NE(state.flags & flag_zero, 0U);
    EXPECT_EQ(environment.get(mmio, 4), 5U);
}

TEST_F(EmulatorTest, Exchanges) {
    environment.set(mmio, 4, 5);
    state.general[rax] = 7;
    expect_done({0x87, 0x03}); // xchg [rbx], eax
    EXPECT_EQ(state.general[rax], 5U);
    EXPECT_EQ(environment.get(mmio, 4), 7U);
    state.rip = 0x1000;
    expect_done({0xf0, 0x0f, 0xc1, 0x03}); // lock xadd [rbx], eax
    EXPECT_EQ(state.general[rax], 7U);
    EXPECT_EQ(environment.get(mmio, 4), 12U);
    state.rip = 0x1000;
    state.general[rcx] = 99;
    expect_done({0xf0, 0x0f, 0xb1, 0x0b}); // lock cmpxchg [rbx], ecx
    EXPECT_EQ(state.general[rax], 12U);
    EXPECT_EQ(state.flags & flag_zero, 0U);
    state.rip = 0x1000;
    expect_done({0xf0, 0x0f, 0xb1, 0x0b});
    EXPECT_EQ(environment.get(mmio, 4), 99U);
    EXPECT_NE(state.flags & flag_zero, 0U);
}

TEST_F(EmulatorTest, TestsBitsEvenBeyondTheOperand) {
    environment.set(mmio, 8, 0x1'0000'0000);
    state.general[rcx] = 32;
    expect_done({0x0f, 0xa3, 0x0b}); // bt [rbx], ecx
    EXPECT_NE(state.flags & flag_carry, 0U);
    state.rip = 0x1000;
    expect_done({0x0f, 0xba, 0x2b, 0x03}); // bts dword [rbx], 3
    EXPECT_EQ(device(), 0x1'0000'0008U);
    EXPECT_EQ(state.flags & flag_carry, 0U);
    state.rip = 0x1000;
    state.general[rbx] = mmio + 4;
    state.general[rcx] = 0xffff'ffff'ffff'ffe3; // -29: bit 3 of the word before
    expect_done({0x0f, 0xb3, 0x0b});            // btr [rbx], ecx
    EXPECT_EQ(device(), 0x1'0000'0000U);
    EXPECT_NE(state.flags & flag_carry, 0U);
}

TEST_F(EmulatorTest, SetsAndMovesOnConditions) {
    state.flags |= flag_zero;
    expect_done({0x0f, 0x94, 0x03}); // sete [rbx]
    EXPECT_EQ(environment.get(mmio, 1), 1U);
    state.rip = 0x1000;
    expect_done({0x0f, 0x45, 0x03}); // cmovne eax, [rbx]
    EXPECT_EQ(state.general[rax], 0x4433'2211U) << "the upper half goes in either case";
    state.rip = 0x1000;
    expect_done({0x0f, 0x44, 0x03}); // cmove eax, [rbx]
    EXPECT_EQ(state.general[rax], 0xb0a0'9001U);
}

TEST_F(EmulatorTest, RepeatsStringInstructions) {
    state.general[rdi] = mmio;
    state.general[rcx] = 3;
    state.general[rax] = 0xaabb'ccdd;
    expect_done({0xf3, 0xab}); // rep stosd
    EXPECT_EQ(environment.get(mmio + 8, 4), 0xaabb'ccddU);
    EXPECT_EQ(state.general[rdi], mmio + 12);
    EXPECT_EQ(state.general[rcx], 0U);

    state.rip = 0x1000;
    state.flags |= flag_direction;
    state.general[rsi] = mmio + 8;
    state.general[rdi] = 0x2008;
    state.general[rcx] = 3;
    expect_done({0xf3, 0xa5}); // rep movsd, downwards
    EXPECT_EQ(environment.get(0x2000, 4), 0xaabb'ccddU);
    EXPECT_EQ(state.general[rsi], mmio - 4);

    state.rip = 0x1000;
    state.general[rcx] = 0;
    expect_done({0xf3, 0xa5}); // nothing to do
}

TEST_F(EmulatorTest, EndsRepeatedComparisonsAtTheFirstDifference) {
    for (unsigned at = 0; at < 8; ++at) {
        environment.set(0x2000 + at, 1, at);
        environment.set(0x3000 + at, 1, at == 5 ? 0xff : at);
    }
    state.general[rsi] = 0x2000;
    state.general[rdi] = 0x3000;
    state.general[rcx] = 8;
    expect_done({0xf3, 0xa6}); // repe cmpsb
    EXPECT_EQ(state.general[rcx], 2U);
    EXPECT_EQ(state.flags & flag_zero, 0U);
    state.rip = 0x1000;
    state.general[rdi] = 0x2000;
    state.general[rcx] = 8;
    state.general[rax] = 4;
    expect_done({0xf2, 0xae}); // repne scasb
    EXPECT_EQ(state.general[rdi], 0x2005U);
}

TEST_F(EmulatorTest, ComesBackForARepetitionThatIsVeryLong) {
    state.general[rdi] = mmio;
    state.general[rcx] = Emulator::most_repeats + 1;
    const EmulationResult result = run({0xf3, 0xaa}); // rep stosb
    EXPECT_EQ(result.kind, EmulationResult::Kind::done);
    EXPECT_EQ(state.rip, 0x1000U);
    EXPECT_EQ(state.general[rcx], 1U);
    expect_done({0xf3, 0xaa});
    EXPECT_EQ(state.general[rcx], 0U);
}

TEST_F(EmulatorTest, MovesStringsThroughPorts) {
    state.general[rdi] = 0x2000;
    state.general[rdx] = 0x3f8;
    state.general[rcx] = 2;
    expect_done({0xf3, 0x6c}, {1}); // rep insb
    EXPECT_EQ(environment.get(0x2000, 2), 0xf9f8U);
    state.rip = 0x1000;
    state.general[rsi] = 0x2000;
    state.general[rcx] = 1;
    expect_done({0xf3, 0x66, 0x6f}, {2}); // rep outsw
    ASSERT_EQ(environment.port_writes.size(), 1U);
    EXPECT_EQ(environment.port_writes[0], (std::array<std::uint32_t, 3>{0x3f8, 2, 0xf9f8}));
}

TEST_F(EmulatorTest, MovesSingleValuesThroughPorts) {
    state.general[rdx] = 0x71;
    expect_done({0xec}, {1}); // in al, dx
    EXPECT_EQ(state.general[rax], 0x8877'6655'4433'2271);
    state.rip = 0x1000;
    expect_done({0xe7, 0x80}, {4}); // out 0x80, eax
    EXPECT_EQ(environment.port_writes[0], (std::array<std::uint32_t, 3>{0x80, 4, 0x4433'2271}));
}

TEST_F(EmulatorTest, MovesSseRegisters) {
    for (unsigned at = 0; at < 16; ++at) {
        environment.xmm[3][at] = static_cast<std::uint8_t>(at);
    }
    expect_done({0xf3, 0x0f, 0x7f, 0x1b}); // movdqu [rbx], xmm3
    EXPECT_EQ(environment.get(mmio + 8, 8), 0x0f0e'0d0c'0b0a'0908U);
    state.rip = 0x1000;
    expect_done({0x0f, 0x10, 0x0b}); // movups xmm1, [rbx]
    EXPECT_EQ(environment.xmm[1], environment.xmm[3]);
    state.rip = 0x1000;
    expect_done({0xf2, 0x0f, 0x10, 0x0b}); // movsd xmm1, [rbx]
    EXPECT_EQ(environment.xmm[1][8], 0U);
}

TEST_F(EmulatorTest, PushesAndPopsMemory) {
    state.general[rsp] = 0x3000;
    expect_done({0xff, 0x33}); // push qword [rbx]
    EXPECT_EQ(state.general[rsp], 0x2ff8U);
    EXPECT_EQ(environment.get(0x2ff8, 8), 0xf0e0'd0c0'b0a0'9080);
    environment.set(0x2ff8, 8, 42);
    state.rip = 0x1000;
    expect_done({0x8f, 0x03}); // pop qword [rbx]
    EXPECT_EQ(device(), 42U);
    EXPECT_EQ(state.general[rsp], 0x3000U);
}

TEST_F(EmulatorTest, GivesTheGuestItsPageFaultAndChangesNothing) {
    environment.faulting = mmio + 2;
    const CpuState before = state;
    const EmulationResult result = run({0x83, 0x0b, 0x30}); // or dword [rbx], 0x30
    ASSERT_EQ(result.kind, EmulationResult::Kind::exception);
    EXPECT_EQ(result.exception.vector, 14U);
    EXPECT_EQ(result.exception.error_code, 2U);
    EXPECT_EQ(result.exception.address, mmio);
    EXPECT_EQ(state.rip, before.rip);
    EXPECT_EQ(state.flags, before.flags);
    EXPECT_EQ(state.general, before.general);
}

TEST_F(EmulatorTest, KeepsTheCountersOfARepetitionThatFaults) {
    environment.faulting = mmio + 4;
    state.general[rdi] = mmio;
    state.general[rcx] = 4;
    const EmulationResult result = run({0xf3, 0xab}); // rep stosd
    ASSERT_EQ(result.kind, EmulationResult::Kind::exception);
    EXPECT_EQ(state.general[rcx], 3U);
    EXPECT_EQ(state.general[rdi], mmio + 4);
    EXPECT_EQ(state.rip, 0x1000U);
}

TEST_F(EmulatorTest, FetchesWhatIsMissingOfTheInstruction) {
    const std::vector<std::uint8_t> code = {0xc7, 0x03, 0x78, 0x56, 0x34, 0x12};
    for (std::size_t at = 0; at < code.size(); ++at) {
        environment.memory[0x1000 + at] = code[at];
    }
    const EmulationResult result = run({0xc7, 0x03});
    EXPECT_EQ(result.kind, EmulationResult::Kind::done);
    EXPECT_EQ(state.rip, 0x1006U);
    EXPECT_EQ(environment.get(mmio, 4), 0x1234'5678U);
}

TEST_F(EmulatorTest, NamesWhatItCannotDo) {
    const EmulationResult divided = run({0xf7, 0x33}); // div dword [rbx]
    ASSERT_EQ(divided.kind, EmulationResult::Kind::unsupported);
    EXPECT_NE(divided.text.find("div"), std::string::npos);
    EXPECT_NE(divided.text.find("f7 33"), std::string::npos);
    const EmulationResult nonsense = run({0x06, 0x06});
    EXPECT_EQ(nonsense.kind, EmulationResult::Kind::unsupported);
}

TEST_F(EmulatorTest, LeavesAloneWhatHasNotTrapped) {
    using Code = std::vector<std::uint8_t>;
    const Trap memory{};
    const Trap byte{1};
    for (const auto& [code, trap] : {
             std::pair{Code{0x0f, 0xa2}, memory}, // cpuid
             {{0xe6, 0x80}, memory},              // out 0x80, al
             {{0x6e}, memory},                    // outsb
             {{0xe7, 0x80}, byte},                // out 0x80, eax
             {{0x6f}, byte},                      // outsd
             {{0x88, 0x03}, byte},                // mov [rbx], al
             {{0xc7}, memory},                    // the rest can't be fetched
             {{}, memory},
         }) {
        const CpuState before = state;
        environment.has_code = false;
        EXPECT_EQ(run(code, trap).kind, EmulationResult::Kind::changed);
        EXPECT_EQ(state.general, before.general);
        EXPECT_EQ(state.rip, before.rip);
    }
    EXPECT_TRUE(environment.port_writes.empty());
    EXPECT_EQ(device(), 0xf0e0'd0c0'b0a0'9080);
}

TEST_F(EmulatorTest, WorksInProtectedAndRealMode) {
    state.mode = CpuMode::protected_32;
    state.segment_base[ds] = 0x100;
    state.general[rbx] = mmio - 0x100;
    expect_done({0x89, 0x03}); // mov [ebx], eax
    EXPECT_EQ(environment.get(mmio, 4), 0x4433'2211U);

    state.mode = CpuMode::real;
    state.rip = 0x1000;
    state.segment_base[ds] = 0xa0000;
    state.general[rbx] = 0xffff'0010;
    state.general[rsi] = 0x20;
    expect_done({0x88, 0x00}); // mov [bx + si], al
    EXPECT_EQ(environment.get(0xa0030, 1), 0x11U);
}

TEST_F(EmulatorTest, HoldsNothingForWhatWasAtTheSamePlace) {
    const std::uint64_t place = state.rip;
    expect_done({0x89, 0x03}); // mov [rbx], eax
    state.rip = place;
    state.general[rax] = 0;
    expect_done({0x8b, 0x03}); // mov eax, [rbx]
    EXPECT_EQ(state.general[rax], 0x4433'2211U);
    state.rip = place;
    state.general[rax] = 0x99;
    expect_done({0x89, 0x03});
    EXPECT_EQ(environment.get(mmio, 4), 0x99U);
    state.rip = place;
    state.mode = CpuMode::real;
    state.general[rbp] = 0x100;
    state.general[rdi] = 0x20;
    state.general[rax] = 0x1234;
    expect_done({0x89, 0x03}); // mov [bp + di], ax
    EXPECT_EQ(environment.get(0x120, 4), 0x1234U);
}

TEST(Decoder, TellsWhatIsIncomplete) {
    using Failure = InstructionDecoder::Failure;
    InstructionDecoder decoder;
    const std::array<std::uint8_t, 3> code{0x8a, 0x43, 0x10}; // mov al, [rbx + 0x10]
    EXPECT_EQ(decoder.decode(CpuMode::long_64, 0, code).failure, Failure::none);
    EXPECT_EQ(
        decoder.decode(CpuMode::long_64, 0, std::span(code).first(2)).failure, Failure::incomplete);
    EXPECT_EQ(decoder.decode(CpuMode::long_64, 0, code).instruction->instruction.length, 3);
    const std::array<std::uint8_t, 1> invalid{0x06}; // push es: not in long mode
    EXPECT_EQ(decoder.decode(CpuMode::long_64, 0, invalid).failure, Failure::invalid);
    EXPECT_EQ(decoder.decode(CpuMode::protected_32, 0, invalid).failure, Failure::none);
}

TEST(Arithmetic, CarriesAndOverflowsAsTheProcessorDoes) {
    using namespace arithmetic;
    EXPECT_EQ(add(0xff, 1, false, 1).value, 0U);
    EXPECT_EQ(add(0xff, 1, false, 1).flags, flag_carry | flag_zero | flag_parity | flag_adjust);
    EXPECT_EQ(add(0x7f, 1, false, 1).flags, flag_overflow | flag_sign | flag_adjust);
    EXPECT_EQ(add(0xff, 0xff, true, 1).value, 0xffU);
    EXPECT_NE(add(0xff, 0xff, true, 1).flags & flag_carry, 0U);
    EXPECT_EQ(subtract(0, 1, false, 4).value, 0xffff'ffffU);
    EXPECT_NE(subtract(0, 1, false, 4).flags & flag_carry, 0U);
    EXPECT_NE(subtract(5, 5, true, 8).flags & flag_carry, 0U);
    EXPECT_EQ(subtract(0x80, 1, false, 1).flags & flag_overflow, flag_overflow);
    EXPECT_EQ(sign_extend(0x80, 1), ~std::uint64_t{0x7f});
    EXPECT_TRUE(condition(0xc, flag_sign));
    EXPECT_FALSE(condition(0xc, flag_sign | flag_overflow));
    EXPECT_TRUE(condition(0x7, 0));
}

} // namespace
} // namespace croft::worker
