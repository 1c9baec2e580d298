// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/bus.hpp"
#include "vdev/clock.hpp"
#include "vdev/record.hpp"

#include <string_view>

namespace croft::vdev {

/// What a VM offers to its devices. Outlives them.
struct Platform {
    Bus& bus;
    Clock& clock;
    TimerService& timers;
};

/// The contract of everything that a VM is made of besides memory and processors: core emulators
/// and service providers alike.
///
///     (new) --configure--> stopped <--start/stop--> running
///                             |  save, restore, reset
///                             +--remove--> (gone)
///
/// `configure`, `start`, `stop`, `save`, `restore`, `reset` and `remove` are called by one thread
/// at a time, the VM's control thread. A device that also answers VPs or I/O takes its own lock. No
/// VP runs while a device is stopped, but I/O may still complete until `stop` returns.
class Device {
public:
    Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    virtual ~Device() = default;

    /// Unique in a VM and the same on each host: the key under which its state is saved.
    [[nodiscard]] virtual std::string_view name() const = 0;

    /// Claims what the device needs and puts it into its state after power-on. Called once.
    /// Errors: DeviceError for a resource that is taken; then nothing stays claimed.
    virtual void configure(Platform& platform) = 0;

    /// Begins to act by itself: timers run, input arrives.
    virtual void start() = 0;

    /// Ends that. On return the device is quiesced: nothing is in flight, its state doesn't change,
    /// and it touches neither guest memory nor interrupt lines.
    virtual void stop() = 0;

    /// The device's whole state as the guest could see it. Only while stopped.
    [[nodiscard]] virtual Record save() const = 0;

    /// Takes over a saved state. Only while stopped. Errors: RecordError, and the device is as
    /// before.
    virtual void restore(const Record& record) = 0;

    /// The state after power-on. Only while stopped.
    virtual void reset() = 0;

    /// Gives back what `configure` claimed. Only while stopped; the last call before destruction.
    virtual void remove() = 0;
};

} // namespace croft::vdev
