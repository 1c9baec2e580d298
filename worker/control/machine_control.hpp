// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/machine/machine.hpp"

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace croft::worker {

/// The commands of the control socket, done on a machine:
///
///     status                     name, state, settings
///     statistics                 counters
///     guest                      what the guest says of itself, and whether it is alive
///     shutdown                   asks the guest to power off, or {"action": "reboot" or
///                                "hibernate", "force": …, "text": …}; one without integration
///                                services gets its power button pressed
///     link {"up": …}             plugs a NIC in or out, the first one or "nic"
///     stop                       ends the VM and its worker at once
///     reset, pause, resume
///     save, restore {"file": …}  the state of the devices, while paused
///     devices                    the same as JSON
///     drives, add-drive, remove-drive, resize-drive, change-disc
///                                see drive_control.hpp
class MachineControl {
public:
    /// `stop` is asked to end the worker once the answer is on its way.
    MachineControl(Machine& machine, const Settings& settings, std::function<void()> stop);

    /// Errors: SettingsError for a command that isn't known, and what the machine throws.
    [[nodiscard]] nlohmann::json handle(const nlohmann::json& request);

private:
    [[nodiscard]] std::string_view shut_down(const nlohmann::json& request);
    void save(const std::string& path) const;
    void restore(const std::string& path);

    Machine& machine_;
    const Settings& settings_;
    std::function<void()> stop_;
};

} // namespace croft::worker
