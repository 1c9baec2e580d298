// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/abi.hpp"

#include <cstdint>
#include <cstring>

namespace croft::hv {

/// The SINTs whose message slots an intercept says are free, a bit for each; none if it says
/// something else. Nobody is told of them again until Partition::notify_deliverable asks anew.
[[nodiscard]] inline std::uint16_t deliverable_sints(const hv_message& message) {
    if (message.header.message_type != HVMSG_SYNIC_SINT_DELIVERABLE) {
        return 0;
    }
    hv_x64_sint_deliverable_message payload;
    std::memcpy(&payload, message.payload, sizeof payload);
    return payload.deliverable_sints;
}

} // namespace croft::hv
