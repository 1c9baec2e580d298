// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/apic/eoi_assist.hpp"

#include <gtest/gtest.h>

namespace hypervisor {
namespace {

class EoiAssistTest : public testing::Test {
protected:
    alignas(8) hv_vp_assist_page page_{};
    EoiAssist assist_{};

    /// As the TLFS has a guest end an interrupt. \return whether it would have to write the EOI.
    bool guest_ends_interrupt() {
        const bool needed = (page_.apic_assist & 1) == 0;
        page_.apic_assist = 0;
        return needed;
    }
};

TEST_F(EoiAssistTest, PromisesNothingWithoutAPage) {
    assist_.promise();
    EXPECT_FALSE(assist_.promised());
}

TEST_F(EoiAssistTest, KnowsThatTheGuestHasEndedTheInterrupt) {
    assist_.set_page(&page_);
    EXPECT_TRUE(guest_ends_interrupt());
    assist_.promise();
    EXPECT_TRUE(assist_.promised());
    EXPECT_FALSE(guest_ends_interrupt());
    EXPECT_TRUE(assist_.take_back());
    EXPECT_FALSE(assist_.promised());
}

TEST_F(EoiAssistTest, APromiseTakenBackIsNone) {
    assist_.set_page(&page_);
    assist_.promise();
    EXPECT_FALSE(assist_.take_back());
    EXPECT_FALSE(assist_.promised());
    EXPECT_TRUE(guest_ends_interrupt());
}

TEST_F(EoiAssistTest, ABrokenPromiseIsRenewedUnlessSomethingHasChanged) {
    assist_.set_page(&page_);
    EXPECT_FALSE(assist_.is_broken());
    assist_.promise();
    EXPECT_FALSE(assist_.is_broken());
    EXPECT_FALSE(assist_.take_back());
    EXPECT_TRUE(assist_.is_broken());
    assist_.promise();
    EXPECT_FALSE(guest_ends_interrupt());
    EXPECT_TRUE(assist_.take_back());
    EXPECT_FALSE(assist_.is_broken()) << "it was kept";
    assist_.promise();
    EXPECT_FALSE(assist_.take_back());
    assist_.forget();
    EXPECT_FALSE(assist_.is_broken());
}

TEST_F(EoiAssistTest, LeavesTheRestOfTheWordAlone) {
    page_.apic_assist = 0xfffffffe;
    assist_.set_page(&page_);
    assist_.promise();
    EXPECT_EQ(page_.apic_assist, 0xffffffffu);
    EXPECT_FALSE(assist_.take_back());
    EXPECT_EQ(page_.apic_assist, 0xfffffffeu);
}

} // namespace
} // namespace hypervisor
