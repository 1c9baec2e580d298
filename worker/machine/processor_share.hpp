// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/partition.hpp"
#include "worker/settings/settings.hpp"

namespace croft::worker {

/// Asks the hypervisor for the share of the host's processors that the settings want; what they
/// leave at its default is not asked for. All virtual processors are there. Errors: SettingsError
/// for what this host can't give.
void ask_for_share(hv::Partition& partition, const ProcessorSettings& settings);

} // namespace croft::worker
