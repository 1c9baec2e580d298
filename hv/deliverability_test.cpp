// SPDX-License-Identifier: Apache-2.0
#include "hv/deliverability.hpp"

#include <gtest/gtest.h>

namespace croft::hv {
namespace {

TEST(Deliverability, IsReadFromItsMessageAlone) {
    hv_message message{};
    hv_x64_sint_deliverable_message payload{};
    payload.deliverable_sints = 0x8004;
    message.header.payload_size = sizeof payload;
    std::memcpy(message.payload, &payload, sizeof payload);
    message.header.message_type = HVMSG_X64_HALT;
    EXPECT_EQ(deliverable_sints(message), 0U);
    message.header.message_type = HVMSG_SYNIC_SINT_DELIVERABLE;
    EXPECT_EQ(deliverable_sints(message), 0x8004U);
}

} // namespace
} // namespace croft::hv
