// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/scheduler/dispatch_outcome.hpp"

#include <gtest/gtest.h>

namespace hypervisor {
namespace {

constexpr DispatchOutcome ready{HV_VP_DISPATCH_STATE_READY, HV_VP_DISPATCH_EVENT_INVALID};
constexpr DispatchOutcome blocked{HV_VP_DISPATCH_STATE_BLOCKED, HV_VP_DISPATCH_EVENT_INVALID};
constexpr DispatchOutcome suspended{HV_VP_DISPATCH_STATE_BLOCKED, HV_VP_DISPATCH_EVENT_SUSPEND};
constexpr DispatchOutcome intercepted{HV_VP_DISPATCH_STATE_READY, HV_VP_DISPATCH_EVENT_INTERCEPT};

TEST(DispatchOutcome, IsReadyWithNothingToWaitFor) {
    EXPECT_EQ(dispatch_outcome(0, false), ready);
    EXPECT_EQ(dispatch_outcome(0, true), ready);
}

TEST(DispatchOutcome, OneThatIsHaltedIsBlockedUntilAnEvent) {
    EXPECT_EQ(dispatch_outcome(RunBlocks::waiting, false), blocked);
    EXPECT_EQ(dispatch_outcome(RunBlocks::waiting, true), ready);
}

TEST(DispatchOutcome, AnInterceptIsToldBeforeAllElse) {
    for (const std::uint32_t more : {0u, std::uint32_t{RunBlocks::explicit_suspend},
             std::uint32_t{RunBlocks::held}, std::uint32_t{RunBlocks::waiting},
             std::uint32_t{RunBlocks::time_stopped}, std::uint32_t{RunBlocks::dispatch_suspend}}) {
        EXPECT_EQ(dispatch_outcome(RunBlocks::intercept_suspend | more, false), intercepted);
    }
}

TEST(DispatchOutcome, NoEventEndsWhatTheParentHasSuspended) {
    EXPECT_EQ(dispatch_outcome(RunBlocks::explicit_suspend, true), suspended);
    EXPECT_EQ(dispatch_outcome(RunBlocks::explicit_suspend | RunBlocks::waiting, true), suspended);
    for (const RunBlocks::Block block :
        {RunBlocks::dispatch_suspend, RunBlocks::removed, RunBlocks::time_stopped}) {
        EXPECT_EQ(dispatch_outcome(block, true), blocked);
    }
}

TEST(DispatchOutcome, WhoeverHoldsItLetsGoWithoutAMessage) {
    EXPECT_EQ(dispatch_outcome(RunBlocks::held, false), ready);
    EXPECT_EQ(dispatch_outcome(RunBlocks::held | RunBlocks::waiting, false), blocked);
}

} // namespace
} // namespace hypervisor
