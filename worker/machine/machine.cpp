// SPDX-License-Identifier: Apache-2.0
#include "worker/machine/machine.hpp"

#include "hv/error.hpp"
#include "vdev/acpi/tables.hpp"
#include "vdev/pit/pit.hpp"
#include "vdev/rtc/rtc.hpp"
#include "vdev/serial/uart.hpp"
#include "worker/error.hpp"
#include "worker/loader/boot_image.hpp"
#include "worker/machine/host_memory.hpp"
#include "worker/machine/input_file.hpp"
#include "worker/machine/processor_share.hpp"
#include "worker/processor/start_state.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <ranges>
#include <utility>

namespace croft::worker {

namespace {

constexpr std::uint64_t largest_kernel = 1 * gibibyte;
constexpr std::uint64_t largest_ram_disk = 3 * gibibyte;

/// What of the hypervisor's interface a guest may use (HV_PARTITION_SYNTHETIC_PROCESSOR_FEATURES).
constexpr std::uint64_t guest_interface = HV_SYNTHETIC_HYPERVISOR_PRESENT | HV_SYNTHETIC_HV1 |
    HV_SYNTHETIC_ACCESS_VP_RUN_TIME_REG | HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_COUNTER |
    HV_SYNTHETIC_ACCESS_SYNIC_REGS | HV_SYNTHETIC_ACCESS_SYNTHETIC_TIMER_REGS |
    HV_SYNTHETIC_ACCESS_INTR_CTRL_REGS | HV_SYNTHETIC_ACCESS_HYPERCALL_REGS |
    HV_SYNTHETIC_ACCESS_VP_INDEX | HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_TSC |
    HV_SYNTHETIC_ACCESS_FREQUENCY_REGS | HV_SYNTHETIC_DIRECT_SYNTHETIC_TIMERS |
    HV_SYNTHETIC_EXTENDED_PROCESSOR_MASKS | HV_SYNTHETIC_TB_FLUSH_HYPERCALLS |
    HV_SYNTHETIC_CLUSTER_IPI | HV_SYNTHETIC_NOTIFY_LONG_SPIN_WAIT | HV_SYNTHETIC_SIGNAL_EVENTS;

constexpr const char* machine_record = "machine";
constexpr const char* device_record = "device";
constexpr std::uint32_t machine_version = 1;

struct SerialPlace {
    const char* name;
    std::uint16_t port;
    unsigned line;
};
constexpr std::array<SerialPlace, Settings::most_serial_ports> serial_places = {
    SerialPlace{"serial0", 0x3f8, 4},
    SerialPlace{"serial1", 0x2f8, 3},
};

} // namespace

std::string_view name_of(Machine::State state) {
    switch (state) {
    case Machine::State::off:
        return "off";
    case Machine::State::running:
        return "running";
    case Machine::State::paused:
        break;
    }
    return "paused";
}

void PartitionInterrupts::deliver(const vdev::InterruptMessage& message) {
    hv::Partition* partition = partition_.load();
    if (partition == nullptr) {
        return;
    }
    try {
        partition->assert_interrupt({
            .type = static_cast<hv_interrupt_type>(message.delivery_mode),
            .vector = message.vector,
            .destination = message.destination,
            .logical = message.logical,
            .level = message.level,
        });
    } catch (const hv::HypervisorError&) {
        // An entry that no local APIC can take is the guest's affair; on a PC nothing happens
        // either.
    }
}

Machine::Machine(const Settings& settings, hv::Hypervisor& hypervisor, Executor& executor,
    const std::vector<vdev::CharacterBackend*>& serial_backends, Events events)
    : settings_(settings),
      hypervisor_(hypervisor),
      executor_(executor),
      events_(std::move(events)),
      layout_((check_host_memory(settings.memory.size), settings.memory.size)),
      memory_(layout_.ranges()),
      platform_{bus_, executor.clock(), executor.devices()},
      counters_(settings.processor.count) {
    add_devices(settings, serial_backends);
    configure_devices();
}

Machine::~Machine() {
    power_off();
    for (const auto& device : devices_ | std::views::reverse) {
        device->remove();
    }
}

void Machine::add_devices(
    const Settings& settings, const std::vector<vdev::CharacterBackend*>& serial_backends) {
    auto io_apic = std::make_unique<vdev::IoApic>(interrupts_);
    io_apic_ = io_apic.get();
    devices_.push_back(std::move(io_apic));
    auto power =
        std::make_unique<vdev::Power>(vdev::PowerRequests{events_.power_off, events_.reset});
    power_ = power.get();
    devices_.push_back(std::move(power));
    devices_.push_back(std::make_unique<vdev::Rtc>());
    devices_.push_back(std::make_unique<vdev::Pit>());
    for (std::size_t index = 0; index < settings.serial_ports.size(); ++index) {
        const SerialPlace& place = serial_places.at(index);
        devices_.push_back(std::make_unique<vdev::Uart>(
            vdev::UartSettings{place.name, place.port, place.line}, *serial_backends.at(index)));
    }
    auto vmbus = std::make_unique<VmbusDevice>(
        memory_, event_connections_, executor_.devices(), settings.processor.count);
    vmbus_ = vmbus.get();
    // Providers come before VMBus, which opens their channels when it is restored, and whose guest
    // has to be gone before they are reset.
    auto storage = std::make_unique<StorageDevice>(
        settings, *vmbus_, executor_.devices(), executor_.control());
    storage_ = storage.get();
    devices_.push_back(std::move(storage));
    auto network = std::make_unique<Network>(settings, *vmbus_, executor_.devices());
    network_ = network.get();
    devices_.push_back(std::move(network));
    devices_.push_back(std::move(vmbus));
    integration_ = std::make_unique<IntegrationComponents>(*vmbus_, executor_.devices(), platform_);
}

void Machine::configure_devices() {
    for (auto device = devices_.begin(); device != devices_.end(); ++device) {
        try {
            (*device)->configure(platform_);
        } catch (...) {
            while (device != devices_.begin()) {
                (*--device)->remove();
            }
            throw;
        }
    }
}

void Machine::require(State state, std::string_view action) const {
    if (state_ != state) {
        throw SettingsError(
            fmt::format("machine {}: found it {}, expected it {}, to {} it; bring it "
                        "there first",
                settings_.name, name_of(state_), name_of(state), action));
    }
}

BootEntry Machine::load() {
    const std::vector<std::uint8_t> kernel =
        read_input_file(settings_.boot.kernel, "kernel", "--kernel", largest_kernel);
    std::vector<std::uint8_t> ram_disk;
    if (!settings_.boot.initial_ram_disk.empty()) {
        ram_disk = read_input_file(
            settings_.boot.initial_ram_disk, "initial RAM disk", "--initrd", largest_ram_disk);
    }
    const vdev::AcpiTables tables(
        {
            .processors = settings_.processor.count,
            .io_apic_address = vdev::IoApic::default_address,
            .serial_ports = (1U << settings_.serial_ports.size()) - 1,
        },
        MemoryLayout::acpi_address, MemoryLayout::acpi_size);
    if (!memory_.write(MemoryLayout::acpi_address, tables.bytes())) {
        throw LoadError(
            "memory: found less than 1 MiB, expected room for the ACPI tables; give the "
            "VM more with --memory");
    }
    return load_kernel(
        {
            .kernel_name = settings_.boot.kernel,
            .kernel = kernel,
            .initial_ram_disk = ram_disk,
            .command_line = settings_.boot.command_line,
            .layout = layout_,
            .rsdp = tables.rsdp(),
        },
        memory_);
}

void Machine::create_partition() {
    hv::PartitionSettings wanted;
    wanted.x2apic = settings_.processor.x2apic;
    partition_ = hypervisor_.create_partition(wanted);
    partition_->set_property(HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES, guest_interface);
    partition_->initialize();
    for (const hv::MemoryMapping& mapping : memory_.mappings()) {
        partition_->map_memory(mapping);
    }
    const InterceptHandler::Services services{
        .bus = bus_,
        .memory = memory_,
        .end_of_interrupt = [this](std::uint8_t vector) { io_apic_->end_of_interrupt(vector); },
        .post_message =
            [this](std::uint32_t connection, std::uint32_t type,
                std::span<const std::uint8_t> payload) {
                return vmbus_->post(connection, type, payload);
            },
        .slots_free = [this](std::uint16_t sints) { vmbus_->slots_free(sints); },
    };
    processors_ = std::make_unique<ProcessorSet>(*partition_, services, counters_, events_.failed);
    ask_for_share(*partition_, settings_.processor);
    interrupts_.attach(partition_.get());
    event_connections_.attach(partition_.get());
    vmbus_->attach(partition_.get());
}

void Machine::destroy_partition() {
    interrupts_.attach(nullptr);
    event_connections_.attach(nullptr);
    vmbus_->attach(nullptr);
    processors_.reset();
    partition_.reset();
}

void Machine::start_devices() {
    executor_.clock().start();
    for (const auto& device : devices_) {
        device->start();
    }
}

void Machine::stop_devices() {
    for (const auto& device : devices_ | std::views::reverse) {
        device->stop();
    }
    executor_.clock().stop();
}

void Machine::power_on() {
    require(State::off, "switch on");
    if (settings_.memory.populated) {
        for (const MemoryRange& range : layout_.ranges()) {
            memory_.populate(range);
        }
    }
    for (InterceptCounters& counters : counters_) {
        counters.ports = 0;
        counters.memory = 0;
        counters.registers = 0;
        counters.interrupts_ended = 0;
        counters.hypercalls = 0;
        counters.others = 0;
    }
    try {
        const BootEntry entry = load();
        create_partition();
        set_start_state((*processors_)[0], entry, memory_);
    } catch (...) {
        destroy_partition();
        memory_.clear();
        throw;
    }
    start_devices();
    processors_->run();
    state_ = State::running;
}

void Machine::power_off() {
    if (state_ == State::off) {
        return;
    }
    processors_->halt();
    if (state_ == State::running) {
        stop_devices();
    }
    // The partition first: it maps the memory.
    destroy_partition();
    memory_.clear();
    for (const auto& device : devices_ | std::views::reverse) {
        device->reset();
    }
    state_ = State::off;
}

void Machine::reset() {
    power_off();
    power_on();
}

void Machine::pause() {
    require(State::running, "pause");
    processors_->halt();
    stop_devices();
    state_ = State::paused;
    reference_time_ = partition_->property(HV_PARTITION_PROPERTY_REFERENCE_TIME);
}

void Machine::resume() {
    require(State::paused, "resume");
    // The guest's time goes on where it stood.
    partition_->set_property(HV_PARTITION_PROPERTY_REFERENCE_TIME, reference_time_);
    start_devices();
    processors_->run();
    state_ = State::running;
}

void Machine::press_power_button() {
    power_->press_button();
}

vdev::Record Machine::save_devices() const {
    if (state_ == State::running) {
        require(State::paused, "save");
    }
    std::vector<vdev::Record> saved;
    for (const auto& device : devices_) {
        vdev::Record record(device_record, machine_version);
        record.set_text("name", std::string(device->name()));
        record.set_records("state", {device->save()});
        saved.push_back(std::move(record));
    }
    vdev::Record record(machine_record, machine_version);
    record.set("time", executor_.clock().now()).set_records("devices", saved);
    return record;
}

void Machine::restore_devices(const vdev::Record& record) {
    if (state_ == State::running) {
        require(State::paused, "restore");
    }
    record.expect(machine_record, machine_version);
    const std::vector<vdev::Record> saved = record.get_records("devices");
    if (saved.size() != devices_.size()) {
        throw vdev::RecordError(
            fmt::format("saved state: found {} devices, expected {}; restore it "
                        "into a VM of the same settings",
                saved.size(), devices_.size()));
    }
    std::vector<std::pair<vdev::Device*, vdev::Record>> found;
    for (std::size_t index = 0; index < saved.size(); ++index) {
        saved[index].expect(device_record, machine_version);
        const std::vector<vdev::Record> states = saved[index].get_records("state");
        const std::string name = saved[index].get_text("name");
        if (states.size() != 1 || name != devices_[index]->name()) {
            throw vdev::RecordError(
                fmt::format("saved state: found device '{}', expected '{}'; restore "
                            "it into a VM of the same settings",
                    name, devices_[index]->name()));
        }
        found.emplace_back(devices_[index].get(), states.front());
    }
    const auto time = record.get<std::uint64_t>("time");
    for (const auto& [device, state] : found) {
        device->restore(state);
    }
    executor_.clock().set(time);
}

nlohmann::json Machine::statistics() const {
    nlohmann::json processors = nlohmann::json::array();
    for (const InterceptCounters& counters : counters_) {
        processors.push_back({
            {"ports", counters.ports.load()},
            {"memory", counters.memory.load()},
            {"registers", counters.registers.load()},
            {"interrupts_ended", counters.interrupts_ended.load()},
            {"hypercalls", counters.hypercalls.load()},
            {"others", counters.others.load()},
        });
    }
    return {
        {"running_nanoseconds", executor_.clock().now()},
        {"memory_bytes", memory_.size()},
        {"intercepts", std::move(processors)},
        {"nics", network_->statistics()},
    };
}

} // namespace croft::worker
