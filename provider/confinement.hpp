// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a provider's process gives up, since a guest may take it over. All of it is for the first
// thread, before there are others.
namespace croft::provider {

/// Closes all descriptors above standard error but `kept`, dies with the process that has started
/// it, and gains no rights by programs that it runs. Errors: DeviceError.
void confine(int kept);

/// Gives up all capabilities, also for threads that are started later. Errors: DeviceError.
void drop_capabilities();

} // namespace croft::provider
