// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/control/commands.hpp"
#include "worker/machine/machine.hpp"

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>

namespace croft::worker {

/// The commands of the control socket, done on a machine:
///
///     status                     name, state, settings
///     statistics                 counters
///     guest                      what the guest says of itself, and whether it is alive
///     shutdown                   asks the guest to power off, or {"action": "reboot" or
///                                "hibernate", "force": …, "text": …}; one without integration
///                                services gets its power button pressed
///     stop                       ends the VM and its worker at once, whatever else is under way
///     reset, pause, resume
///     save, restore {"file": …}  the state of the devices, while paused
///     devices                    the same as JSON
///
/// and those of drive_control.hpp and nic_control.hpp.
class MachineControl {
public:
    /// `stop` begins the worker's end, on any thread. What is given as a reference outlives the
    /// object.
    MachineControl(Machine& machine, const Settings& settings, std::function<void()> stop);

    /// Does what doesn't wait for what else is under way: "stop". None if it is another command.
    /// Any thread.
    [[nodiscard]] std::optional<nlohmann::json> handle_urgent(const nlohmann::json& request) const;

    /// Errors: SettingsError for a command that isn't known, and what the machine throws.
    [[nodiscard]] nlohmann::json handle(const nlohmann::json& request) const;

private:
    Machine& machine_;
    const std::function<void()> stop_;
    Commands commands_;
};

} // namespace croft::worker
