// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/hypervisor.hpp"
#include "vdev/device.hpp"
#include "vdev/ioapic/ioapic.hpp"
#include "vdev/power/power.hpp"
#include "vdev/serial/character_backend.hpp"
#include "worker/executor/executor.hpp"
#include "worker/integration/integration_components.hpp"
#include "worker/loader/boot_image.hpp"
#include "worker/memory/guest_memory.hpp"
#include "worker/memory/layout.hpp"
#include "worker/network/network.hpp"
#include "worker/processor/processor_set.hpp"
#include "worker/settings/settings.hpp"
#include "worker/signal/event_connections.hpp"
#include "worker/storage/storage_device.hpp"
#include "worker/vmbus/vmbus_device.hpp"

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string_view>
#include <vector>

namespace croft::worker {

/// Takes interrupts from the I/O APIC to the partition that there is at the time.
class PartitionInterrupts final : public vdev::InterruptSink {
public:
    void attach(hv::Partition* partition) { partition_.store(partition); }
    void deliver(const vdev::InterruptMessage& message) override;

private:
    std::atomic<hv::Partition*> partition_ = nullptr;
};

/// One virtual machine: its memory, its devices, its partition and its processors. Everything is
/// for the control thread; what happens in the VM arrives by `Events`.
class Machine {
public:
    enum class State { off, running, paused };

    /// What the VM wants or suffers. Called on any thread; none may call back into the machine.
    struct Events {
        std::function<void()> power_off;
        std::function<void()> reset;
        std::function<void(std::exception_ptr)> failed;
    };

    /// Builds the machine, switched off. `serial_backends` has one for each serial port of the
    /// settings; they, the hypervisor and the executor outlive it. Errors: SettingsError,
    /// SystemError, DeviceError.
    Machine(const Settings& settings, hv::Hypervisor& hypervisor, Executor& executor,
        const std::vector<vdev::CharacterBackend*>& serial_backends, Events events);
    /// Switches off and gives everything back.
    ~Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    [[nodiscard]] State state() const { return state_; }

    /// Loads the kernel into fresh memory and a fresh partition, and runs it. Only while off.
    /// Errors: LoadError, HypervisorError; the machine stays off.
    void power_on();
    /// Ends the processors and the partition at once. Does nothing while off.
    void power_off();
    /// Both, as a PC's reset button does: devices keep what they keep over a reset.
    void reset();

    /// Stops processors, devices and the guest's time between two instructions. Only while running.
    void pause();
    /// Goes on. Only while paused.
    void resume();

    /// Presses the power button; a guest that listens shuts down. Only while on.
    void press_power_button();
    [[nodiscard]] IntegrationComponents& integration() { return *integration_; }
    [[nodiscard]] StorageDevice& storage() { return *storage_; }
    [[nodiscard]] Network& network() { return *network_; }

    /// The state of all devices and the clock. Only while paused or off. Errors: RecordError.
    [[nodiscard]] vdev::Record save_devices() const;
    /// Takes it over; a device that the record lacks, or the machine, is an error and nothing is
    /// changed before all records have been found. Only while paused or off.
    void restore_devices(const vdev::Record& record);

    /// Counters since power-on, for the control socket.
    [[nodiscard]] nlohmann::json statistics() const;

    [[nodiscard]] GuestMemory& memory() { return memory_; }
    [[nodiscard]] EventConnections& event_connections() { return event_connections_; }

private:
    void add_devices(
        const Settings& settings, const std::vector<vdev::CharacterBackend*>& serial_backends);
    void configure_devices();
    [[nodiscard]] BootEntry load();
    void create_partition();
    void destroy_partition();
    void start_devices();
    void stop_devices();
    void require(State state, std::string_view action) const;

    const Settings settings_;
    hv::Hypervisor& hypervisor_;
    Executor& executor_;
    const Events events_;
    State state_ = State::off;

    const MemoryLayout layout_;
    GuestMemory memory_;
    vdev::Bus bus_;
    vdev::Platform platform_;
    PartitionInterrupts interrupts_;
    EventConnections event_connections_;

    /// In the order in which they are configured and started; the I/O APIC is first.
    std::vector<std::unique_ptr<vdev::Device>> devices_;
    vdev::IoApic* io_apic_ = nullptr;
    vdev::Power* power_ = nullptr;
    VmbusDevice* vmbus_ = nullptr;
    StorageDevice* storage_ = nullptr;
    Network* network_ = nullptr;
    std::unique_ptr<IntegrationComponents> integration_;

    std::unique_ptr<hv::Partition> partition_;
    std::vector<InterceptCounters> counters_;
    std::unique_ptr<ProcessorSet> processors_;
    /// The partition's reference time when it was paused, in units of 100 ns.
    std::uint64_t reference_time_ = 0;
};

/// The state's name, for people and for the control socket.
[[nodiscard]] std::string_view name_of(Machine::State state);

} // namespace croft::worker
