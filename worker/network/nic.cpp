// SPDX-License-Identifier: Apache-2.0
#include "worker/network/nic.hpp"

#include "worker/settings/mac.hpp"

#include <chrono>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <thread>

namespace croft::worker {

namespace {

nlohmann::json describe(const vsp::network::Traffic<std::uint64_t>& traffic) {
    nlohmann::json result = {{"errors", traffic.errors}, {"no_buffer", traffic.no_buffer}};
    std::uint64_t frames = 0;
    std::uint64_t bytes = 0;
    for (std::size_t cast = 0; cast < vsp::network::cast_count; ++cast) {
        frames += traffic.frames.at(cast);
        bytes += traffic.bytes.at(cast);
    }
    result["frames"] = frames;
    result["bytes"] = bytes;
    return result;
}

} // namespace

/// Nothing tells that a guest has seen the link go down; only that it has ceased. One that goes on
/// is served until it has given the adapter back.
bool Nic::take_leave() {
    using Clock = std::chrono::steady_clock;
    constexpr auto patience = std::chrono::seconds(5);
    constexpr auto silence = std::chrono::milliseconds(500);
    constexpr auto interval = std::chrono::milliseconds(20);
    begin_leave();
    const auto end = Clock::now() + patience;
    for (auto busy = Clock::now(); Clock::now() - busy < silence;) {
        if (!is_idle()) {
            busy = Clock::now();
        }
        if (Clock::now() > end) {
            break;
        }
        std::this_thread::sleep_for(interval);
    }
    return withdraw(patience);
}

vmbus::Guid instance_of(std::uint32_t number) {
    return vmbus::Guid::of(0x2d9c7a51, 0x40b6, 0x4c0e,
        {0xb1, 0x7e, 0x4e, 0x45, 0x54, 0x57, 0x4b, static_cast<std::uint8_t>(number)});
}

nlohmann::json describe(std::uint32_t number, const vsp::network::MacAddress& address,
    const vsp::network::AdapterReport& report) {
    return {
        {"number", number},
        {"mac", text_of(address)},
        {"plugged", report.plugged},
        {"connected", report.connected},
        {"channels", report.channels},
        {"sent", describe(report.statistics.sent)},
        {"received", describe(report.statistics.received)},
    };
}

} // namespace croft::worker
