// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/svm/nmi_mask.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"

#include <gtest/gtest.h>

namespace hypervisor::svm {

namespace {

constexpr std::uint64_t exit_debug = exit_exception_first + exception_debug;
constexpr std::uint64_t iret_at = 0x1000;
constexpr std::uint64_t handler_stack = 0x8000;

/// A guest whose NMI handler is about to return.
class NmiMaskTest : public testing::Test {
protected:
    NmiMaskTest() {
        vmcb.rflags = rflags_fixed;
        vmcb.dr6 = 0xffff0ff0;
        mask.set(true);
    }

    /// One run of the guest that ends so. \return whether the exit was the mask's own.
    bool run(std::uint64_t code, std::uint64_t rip, std::uint64_t rsp) {
        mask.prepare();
        vmcb.exit_code = code;
        vmcb.rip = rip;
        vmcb.rsp = rsp;
        return mask.settle();
    }
    /// The step over IRET, which loads other flags.
    bool run_step(std::uint64_t breakpoints = 0) {
        mask.prepare();
        EXPECT_NE(vmcb.rflags & rflags_tf, 0u);
        EXPECT_EQ(vmcb.intercept_misc1 & intercept_iret, 0u);
        vmcb.rflags = rflags_fixed | rflags_if;
        vmcb.dr6 |= dr6_single_step | breakpoints;
        vmcb.exit_code = exit_debug;
        vmcb.rip = 0x2000;
        vmcb.rsp = 0x9000;
        return mask.settle();
    }

    Vmcb vmcb{};
    NmiMask mask{vmcb};
};

TEST_F(NmiMaskTest, StaysUntilIretIsDone) {
    EXPECT_TRUE(run(exit_iret, iret_at, handler_stack));
    EXPECT_TRUE(mask.masked());
    EXPECT_TRUE(mask.steps());
    EXPECT_TRUE(run_step());
    EXPECT_FALSE(mask.masked());
    EXPECT_FALSE(mask.steps());
    EXPECT_EQ(vmcb.dr6, 0xffff0ff0u);
    EXPECT_EQ(vmcb.rflags, rflags_fixed | rflags_if);
}

TEST_F(NmiMaskTest, OtherExitsAreNotItsOwn) {
    EXPECT_FALSE(run(exit_cpuid, 0x900, handler_stack));
    EXPECT_TRUE(mask.masked());
    EXPECT_NE(vmcb.intercept_misc1 & intercept_iret, 0u);
}

TEST_F(NmiMaskTest, AnInterruptBeforeIretLeavesNoTrace) {
    EXPECT_TRUE(run(exit_iret, iret_at, handler_stack));
    EXPECT_FALSE(run(exit_intr, iret_at, handler_stack));
    EXPECT_TRUE(mask.masked());
    EXPECT_EQ(vmcb.rflags & rflags_tf, 0u);
    EXPECT_TRUE(run_step());
    EXPECT_FALSE(mask.masked());
}

TEST_F(NmiMaskTest, AFaultOfIretEndsItToo) {
    EXPECT_TRUE(run(exit_iret, iret_at, handler_stack));
    EXPECT_FALSE(run(exit_cpuid, 0x5000, handler_stack - 48));
    EXPECT_FALSE(mask.masked());
}

TEST_F(NmiMaskTest, TheGuestsOwnStepReachesIt) {
    vmcb.rflags |= rflags_tf;
    EXPECT_TRUE(run(exit_iret, iret_at, handler_stack));
    EXPECT_FALSE(run_step());
    EXPECT_FALSE(mask.masked());
    EXPECT_NE(vmcb.dr6 & dr6_single_step, 0u);
}

TEST_F(NmiMaskTest, TheGuestsBreakpointReachesItWithoutTheStep) {
    EXPECT_TRUE(run(exit_iret, iret_at, handler_stack));
    EXPECT_FALSE(run_step(1));
    EXPECT_FALSE(mask.masked());
    EXPECT_EQ(vmcb.dr6, 0xffff0ff1u);
}

/// Of a 32-bit guest, whose handler is a task.
class NmiMaskTaskTest : public NmiMaskTest {
protected:
    NmiMaskTaskTest() {
        vmcb.rflags |= rflags_nt;
        vmcb.tr.base = handlers_task;
    }

    static constexpr std::uint64_t handlers_task = 0x3000;
    static constexpr std::uint64_t other_task = 0x4000;
};

TEST_F(NmiMaskTaskTest, IsNotLeftByAStepThatTheTaskWouldKeep) {
    EXPECT_TRUE(run(exit_iret, iret_at, handler_stack));
    EXPECT_TRUE(mask.masked());
    EXPECT_TRUE(mask.steps());
    mask.prepare();
    EXPECT_EQ(vmcb.rflags & rflags_tf, 0u);
    EXPECT_EQ(vmcb.intercept_misc1 & intercept_iret, 0u);
    EXPECT_FALSE(run(exit_intr, iret_at, handler_stack)); // before the IRET
    EXPECT_TRUE(mask.masked());
    vmcb.tr.base = other_task;
    vmcb.rflags = rflags_fixed;
    EXPECT_FALSE(run(exit_cpuid, 0x5000, 0x9000));
    EXPECT_FALSE(mask.masked());
    EXPECT_FALSE(mask.steps());
}

TEST_F(NmiMaskTaskTest, AStepOfTheOtherTaskIsItsOwn) {
    EXPECT_TRUE(run(exit_iret, iret_at, handler_stack));
    vmcb.tr.base = other_task;
    vmcb.dr6 |= dr6_single_step;
    EXPECT_FALSE(run(exit_debug, 0x5000, 0x9000));
    EXPECT_FALSE(mask.masked());
    EXPECT_NE(vmcb.dr6 & dr6_single_step, 0u);
}

TEST_F(NmiMaskTaskTest, LongModeHasNoTasks) {
    vmcb.efer |= efer_lma;
    EXPECT_TRUE(run(exit_iret, iret_at, handler_stack));
    EXPECT_TRUE(run_step());
    EXPECT_FALSE(mask.masked());
}

TEST_F(NmiMaskTest, NothingIsAskedForWhenNotMasked) {
    mask.set(false);
    EXPECT_FALSE(run(exit_iret, iret_at, handler_stack));
    EXPECT_EQ(vmcb.intercept_misc1 & intercept_iret, 0u);
    EXPECT_EQ(vmcb.rflags & rflags_tf, 0u);
}

} // namespace

} // namespace hypervisor::svm
