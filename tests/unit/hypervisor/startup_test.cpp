// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/startup.hpp"

#include <gtest/gtest.h>

namespace hypervisor {

namespace {

TEST(Startup, AProcessorThatWaitsStartsWhereItIsTold) {
    Startup startup{true};
    EXPECT_EQ(startup.take_start(), std::nullopt);
    EXPECT_TRUE(startup.start(8));
    EXPECT_EQ(startup.take_start(), 8);
    EXPECT_FALSE(startup.waits());
}

TEST(Startup, WithoutInitAMessageHasNoEffect) {
    Startup startup{false};
    EXPECT_FALSE(startup.start(8));
    EXPECT_EQ(startup.take_start(), std::nullopt);
}

TEST(Startup, TheSecondMessageHasNoEffectAndIsNotKeptForLater) {
    Startup startup{true};
    startup.start(8);
    startup.take_start();
    EXPECT_FALSE(startup.start(8));
    startup.init();
    EXPECT_TRUE(startup.take_init());
    EXPECT_TRUE(startup.waits());
    EXPECT_EQ(startup.take_start(), std::nullopt);
    startup.start(9);
    EXPECT_EQ(startup.take_start(), 9);
}

TEST(Startup, MessagesThatWereNotTakenYetAreInOrder) {
    Startup startup{false};
    startup.init();
    startup.start(8);
    EXPECT_EQ(startup.take_start(), std::nullopt); // INIT comes first
    EXPECT_TRUE(startup.take_init());
    EXPECT_FALSE(startup.take_init());
    EXPECT_EQ(startup.take_start(), 8);
}

TEST(Startup, AnInitMakesTheMessageBeforeItVoid) {
    Startup startup{true};
    startup.start(8);
    startup.init();
    EXPECT_TRUE(startup.take_init());
    EXPECT_EQ(startup.take_start(), std::nullopt);
    EXPECT_TRUE(startup.waits());
}

TEST(Startup, PageZeroIsAPage) {
    Startup startup{true};
    startup.start(0);
    EXPECT_EQ(startup.take_start(), 0);
}

} // namespace

} // namespace hypervisor
