// SPDX-License-Identifier: Apache-2.0
#include "hv/mshv/file.hpp"

#include "hv/abi.hpp"
#include "hv/error.hpp"
#include "hv/exit_trace.hpp"
#include "hv/hypervisor.hpp"

#include <cerrno>
#include <gtest/gtest.h>
#include <unistd.h>

namespace croft::hv {
namespace {

TEST(OpenHypervisor, SaysWhatToDoWhenThereIsNoDevice) {
    try {
        (void)open_hypervisor("/nonexistent/mshv");
        FAIL() << "opened a device that isn't there";
    } catch (const HypervisorError& error) {
        EXPECT_EQ(error.system_error(), ENOENT);
        EXPECT_NE(std::string(error.what()).find("/nonexistent/mshv"), std::string::npos);
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    }
}

TEST(OpenHypervisor, RefusesADeviceThatIsAnother) {
    const auto hypervisor = open_hypervisor("/dev/null");
    EXPECT_THROW((void)hypervisor->create_partition({}), HypervisorError);
}

TEST(OpenExitTrace, SaysWhatToDoWhenThereIsNoDevice) {
    if (access("/dev/mshv", F_OK) == 0) {
        GTEST_SKIP() << "this is a root partition";
    }
    try {
        (void)open_exit_trace();
        FAIL() << "opened a device that isn't there";
    } catch (const HypervisorError& error) {
        EXPECT_EQ(error.system_error(), ENOENT);
        EXPECT_NE(std::string(error.what()).find("root partition"), std::string::npos);
    }
}

TEST(StatusName, NamesTheKnownAndNumbersTheOthers) {
    EXPECT_EQ(mshv::status_name(HV_STATUS_INVALID_PARAMETER), "HV_STATUS_INVALID_PARAMETER");
    EXPECT_EQ(mshv::status_name(0x1234), "HV_STATUS 0x1234");
}

} // namespace
} // namespace croft::hv
