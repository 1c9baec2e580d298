// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

// Versions of the protocol, as guests ask for them (Linux, include/linux/hyperv.h, VERSION_…).
namespace croft::vmbus::protocol {

using Version = std::uint32_t;

constexpr Version make_version(std::uint16_t major, std::uint16_t minor) {
    return Version{major} << 16 | minor;
}

constexpr Version version_4_0 = make_version(4, 0); // Windows 10
constexpr Version version_4_1 = make_version(4, 1); // MODIFYCHANNEL
constexpr Version version_5_0 = make_version(5, 0); // the host names the connection of messages
constexpr Version version_5_1 = make_version(5, 1);
constexpr Version version_5_2 = make_version(5, 2);
constexpr Version version_5_3 = make_version(5, 3); // MODIFYCHANNEL is answered
constexpr Version version_6_0 = make_version(6, 0); // feature flags

/// Those that this side speaks, oldest first. Linux since 6.10 knows no older ones.
inline constexpr std::array supported_versions = {
    version_4_0, version_4_1, version_5_0, version_5_1, version_5_2, version_5_3, version_6_0};

/// Feature flags of version 6.0 (OpenVMM, vmbus_core/src/protocol.rs, FeatureFlags). Each is used
/// if both sides name it.
enum FeatureFlag : std::uint32_t {
    feature_guest_specified_signal_parameters = 0x01,
    feature_channel_interrupt_redirection = 0x02,
    feature_modify_connection = 0x04,
    feature_client_id = 0x08,
    feature_confidential_channels = 0x10,
    feature_pause_resume = 0x20,
    feature_server_specified_monitor_pages = 0x40,
};

} // namespace croft::vmbus::protocol
