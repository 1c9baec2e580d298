// SPDX-License-Identifier: Apache-2.0
#include "hv/mshv/register_page.hpp"

#include "hv/register.hpp"

#include <array>
#include <gtest/gtest.h>
#include <memory>

namespace croft::hv::mshv {
namespace {

class RegisterPageTest : public testing::Test {
protected:
    RegisterPageTest() : page(memory.get()) {
        memory->version = HV_VP_REGISTER_PAGE_VERSION_1;
        memory->is_valid = 1;
    }

    std::unique_ptr<hv_vp_register_page> memory = std::make_unique<hv_vp_register_page>();
    RegisterPage page;
};

TEST_F(RegisterPageTest, AnswersOnlyBetweenBeginAndEnd) {
    std::array registers = {register_name(HV_X64_REGISTER_RAX)};
    EXPECT_FALSE(page.get(registers));
    page.begin();
    EXPECT_TRUE(page.get(registers));
    page.end();
    EXPECT_FALSE(page.get(registers));
}

TEST_F(RegisterPageTest, IsNotUsedWhenTheHypervisorSaysItIsNotValid) {
    memory->is_valid = 0;
    page.begin();
    std::array registers = {register_name(HV_X64_REGISTER_RAX)};
    EXPECT_FALSE(page.get(registers));
}

TEST_F(RegisterPageTest, ReadsEachRegisterFromItsPlace) {
    memory->gp_registers[15] = 15;
    memory->rip = 16;
    memory->segment_registers[1].selector = 0x10;
    memory->cr3 = 0x3000;
    memory->efer = 0xd01;
    page.begin();
    std::array registers = {register_name(HV_X64_REGISTER_R15), register_name(HV_X64_REGISTER_RIP),
        register_name(HV_X64_REGISTER_CS), register_name(HV_X64_REGISTER_CR3),
        register_name(HV_X64_REGISTER_EFER)};
    ASSERT_TRUE(page.get(registers));
    EXPECT_EQ(registers[0].value.reg64, 15U);
    EXPECT_EQ(registers[1].value.reg64, 16U);
    EXPECT_EQ(registers[2].value.segment.selector, 0x10U);
    EXPECT_EQ(registers[3].value.reg64, 0x3000U);
    EXPECT_EQ(registers[4].value.reg64, 0xd01U);
}

TEST_F(RegisterPageTest, LeavesABatchWithAnotherRegisterToTheHypercall) {
    page.begin();
    std::array reads = {register_name(HV_X64_REGISTER_RAX), register_name(HV_X64_REGISTER_CR2)};
    EXPECT_FALSE(page.get(reads));
    const std::array writes = {
        register_value(HV_X64_REGISTER_RAX, 1), register_value(HV_X64_REGISTER_CR3, 0)};
    EXPECT_FALSE(page.set(writes));
    EXPECT_EQ(memory->gp_registers[0], 0U);
    EXPECT_EQ(memory->dirty, 0U);
}

TEST_F(RegisterPageTest, MarksTheClassesThatItChanges) {
    page.begin();
    const std::array writes = {
        register_value(HV_X64_REGISTER_RAX, 7), register_value(HV_X64_REGISTER_RIP, 0x1002)};
    ASSERT_TRUE(page.set(writes));
    EXPECT_EQ(memory->gp_registers[0], 7U);
    EXPECT_EQ(memory->rip, 0x1002U);
    EXPECT_EQ(memory->dirty, 3U);
}

TEST_F(RegisterPageTest, HandsOverWhatIsNotLoadedYetOnce) {
    page.begin();
    const std::array writes = {register_value(HV_X64_REGISTER_RIP, 0x1002)};
    ASSERT_TRUE(page.set(writes));
    std::array<hv_register_assoc, RegisterPage::most_changed> changed{};
    ASSERT_EQ(page.take_changed(changed), 1U);
    EXPECT_EQ(changed[0].name, std::uint32_t{HV_X64_REGISTER_RIP});
    EXPECT_EQ(changed[0].value.reg64, 0x1002U);
    EXPECT_EQ(page.take_changed(changed), 0U);
}

} // namespace
} // namespace croft::hv::mshv
