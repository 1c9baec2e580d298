// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/virtual_cpu.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"

#include <gtest/gtest.h>

namespace hypervisor {

namespace {

/// One that only keeps registers.
class RegisterFile final : public CommonCpu<RegisterFile> {
public:
    InstructionMode instruction_mode = InstructionMode::bits64;

    void reset() override {}
    void load() override {}
    void save() override {}
    Exit run() override { return {}; }
    void flush_tlb() override {}
    [[nodiscard]] std::uint64_t get(CpuRegister r) const override {
        return registers_[static_cast<std::size_t>(r)];
    }
    void set(CpuRegister r, std::uint64_t value) override {
        registers_[static_cast<std::size_t>(r)] = value;
    }
    [[nodiscard]] hv_x64_segment_register segment(SegmentName) const override { return {}; }
    void tell(hv_x64_intercept_message_header&) const override {}
    void tell(hv_vp_register_page&) const override {}
    void set_segment(SegmentName, const hv_x64_segment_register&) override {}
    [[nodiscard]] hv_x64_table_register table(TableName) const override { return {}; }
    void set_table(TableName, const hv_x64_table_register&) override {}
    [[nodiscard]] unsigned cpl() const override { return 0; }
    [[nodiscard]] InstructionMode mode() const override { return instruction_mode; }
    [[nodiscard]] std::optional<CpuEvent> pending_event() const override { return event_; }
    [[nodiscard]] bool has_pending_event() const override { return event_.has_value(); }
    void set_pending_event(const std::optional<CpuEvent>& event) override { event_ = event; }
    [[nodiscard]] bool interrupt_shadow() const override { return interrupt_shadow_; }
    void set_interrupt_shadow(bool on) override { interrupt_shadow_ = on; }
    [[nodiscard]] bool nmi_masked() const override { return false; }
    void set_nmi_masked(bool) override {}
    void set_interrupt_window(bool) override {}
    [[nodiscard]] std::uint8_t cr8() const override { return 0; }
    void set_cr8(std::uint8_t) override {}
    void set_intercepts(const CpuIntercepts&) override {}
    [[nodiscard]] std::uint64_t read_own_msr(std::uint32_t) const override { return 0; }
    [[nodiscard]] bool write_own_msr(std::uint32_t, std::uint64_t) override { return false; }
    void set_address_space(SpaPage) override {}
    void set_tsc_offset(std::uint64_t) override {}
    [[nodiscard]] std::uint8_t* extended_state() override { return nullptr; }

private:
    std::array<std::uint64_t, static_cast<std::size_t>(CpuRegister::count)> registers_{};
    std::optional<CpuEvent> event_;
    bool interrupt_shadow_ = false;
};

class VirtualCpuTest : public testing::Test {
protected:
    VirtualCpuTest() {
        cpu.set(CpuRegister::rip, 0x1000);
        cpu.set(CpuRegister::rflags, rflags_fixed);
        cpu.set(CpuRegister::dr6, 0xffff0ff0);
    }

    RegisterFile cpu;
};

TEST_F(VirtualCpuTest, GoesOnBehindAnInstruction) {
    cpu.set_interrupt_shadow(true);
    cpu.advance(3);
    EXPECT_EQ(cpu.get(CpuRegister::rip), 0x1003u);
    EXPECT_FALSE(cpu.interrupt_shadow());
    EXPECT_FALSE(cpu.pending_event().has_value());
    EXPECT_EQ(cpu.get(CpuRegister::dr6), 0xffff0ff0u);
}

TEST_F(VirtualCpuTest, TheInstructionPointerIsAsWideAsTheMode) {
    cpu.instruction_mode = InstructionMode::bits16;
    cpu.set(CpuRegister::rip, 0xfffe);
    cpu.advance(2);
    EXPECT_EQ(cpu.get(CpuRegister::rip), 0u);
    cpu.instruction_mode = InstructionMode::bits32;
    cpu.set(CpuRegister::rip, 0xfffffffe);
    cpu.advance(2);
    EXPECT_EQ(cpu.get(CpuRegister::rip), 0u);
}

TEST_F(VirtualCpuTest, AStepBehindAnInstructionIsToldAsOne) {
    cpu.set(CpuRegister::rflags, rflags_fixed | rflags_tf);
    cpu.advance(2);
    ASSERT_TRUE(cpu.pending_event().has_value());
    EXPECT_EQ(cpu.pending_event()->type, CpuEvent::Type::exception);
    EXPECT_EQ(cpu.pending_event()->vector, exception_debug);
    EXPECT_FALSE(cpu.pending_event()->has_error_code);
    EXPECT_EQ(cpu.get(CpuRegister::dr6), 0xffff0ff0 | dr6_single_step);
    EXPECT_NE(cpu.get(CpuRegister::rflags) & rflags_tf, 0u);
}

TEST_F(VirtualCpuTest, TheResumeFlagIsForOneInstruction) {
    cpu.set(CpuRegister::rflags, rflags_fixed | rflags_rf);
    cpu.advance(2);
    EXPECT_EQ(cpu.get(CpuRegister::rflags), rflags_fixed);
    EXPECT_FALSE(cpu.pending_event().has_value());
}

} // namespace

} // namespace hypervisor
