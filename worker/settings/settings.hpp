// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What a VM is made of. The nouns are those of Hyper-V's CIM classes (root\virtualization\v2), so
/// that the management interface maps onto this tree without a dictionary.
namespace croft::worker {

/// Msvm_ProcessorSettingData
struct ProcessorSettings {
    static constexpr std::uint32_t most = 255;

    /// Virtual processors (VirtualQuantity).
    std::uint32_t count = 1;
    /// The local APICs offer x2APIC mode.
    bool x2apic = true;

    // The share of the host's processors. A fraction is of one of them, for each virtual processor,
    // in thousandths of a percent.
    static constexpr std::uint32_t whole = 100'000;
    static constexpr std::uint32_t most_weight = 10'000;

    /// Relative to other VMs (Weight).
    std::uint32_t weight = 100;
    /// At most (Limit).
    std::uint32_t limit = whole;
    /// At least (Reservation).
    std::uint32_t reservation = 0;
    /// Those that it runs on, a bit for each; 0 for all.
    std::uint64_t host_processors = 0;
    /// The NUMA node that it had better run on.
    std::optional<std::uint32_t> node;
};

/// Msvm_MemorySettingData
struct MemorySettings {
    /// Bytes (VirtualQuantity).
    std::uint64_t size = std::uint64_t{512} << 20;
    /// All of it is brought in before the VM starts.
    bool populated = false;
};

/// Msvm_SerialPortSettingData
struct SerialPortSettings {
    /// "stdio", "none", "unix:" and the path of a socket to listen at, or the path of a file to
    /// append to (Connection).
    std::string connection = "none";

    /// The socket's path, if it is one.
    [[nodiscard]] std::optional<std::string> socket() const;
};

/// Msvm_StorageAllocationSettingData: a drive of the SCSI controller.
struct DriveSettings {
    static constexpr std::uint32_t most = 64;

    enum class Type : std::uint8_t { disk, dvd };
    Type type = Type::disk;
    /// Its LUN (AddressOnParent); the lowest that is free if there is none.
    std::optional<std::uint32_t> lun;
    /// A file or a block device (HostResource); none, for a DVD drive, if empty.
    std::string path;
    /// "raw", "vhd", "vhdx" or "iso"; what the file looks like if empty, which is no good for a raw
    /// disk: its guest could make it look like a child of any file.
    std::string format;
    bool read_only = false;
    /// Of a disk, what its guest sees as such; the disk's own if empty.
    std::string serial = {};
};

/// Msvm_SyntheticEthernetPortSettingData, with the connection that Hyper-V keeps in
/// Msvm_EthernetPortAllocationSettingData.
struct NicSettings {
    static constexpr std::uint32_t most = 8;
    static constexpr std::uint32_t most_queues = 64;
    static constexpr std::uint32_t most_queues_by_default = 8;

    /// Its place in the VM (AddressOnParent); the lowest that is free if there is none.
    std::optional<std::uint32_t> number;
    /// The name of a TAP device (HostResource), which is made if there is none.
    std::string tap;
    /// A bridge that the device becomes a port of; none if empty.
    std::string bridge;
    /// Address; made up of the VM's name and the number if empty, and always the same then.
    std::string mac;
    /// Of the network; 0 for what the device has.
    std::uint32_t mtu = 0;
    /// Channels that the guest may use side by side; 0 for one of each processor, up to 8.
    std::uint32_t queues = 0;
    /// Plugged in (EnabledState of the connection).
    bool connected = true;
    enum class Process : std::uint8_t { worker, own };
    /// Which process serves it.
    Process process = Process::worker;
};

/// What is booted, as there is no firmware (Msvm_VirtualSystemSettingData, BootSourceOrder).
struct BootSettings {
    std::string kernel;
    std::string initial_ram_disk;
    std::string command_line;
};

/// How the VM is controlled from outside.
struct ControlSettings {
    /// The path of a Unix socket; none if empty.
    std::string socket;
};

/// Msvm_VirtualSystemSettingData and what hangs off it.
struct Settings {
    static constexpr std::size_t most_serial_ports = 2;

    /// ElementName
    std::string name = "vm";
    ProcessorSettings processor;
    MemorySettings memory;
    /// COM1 and COM2.
    std::vector<SerialPortSettings> serial_ports = {{"stdio"}};
    std::vector<DriveSettings> drives;
    std::vector<NicSettings> nics;
    BootSettings boot;
    ControlSettings control;
};

/// Reads the tree that `to_json` writes; what isn't there keeps its default. Errors: SettingsError
/// for a key that isn't known or a value of the wrong kind, with its place in the tree.
[[nodiscard]] Settings settings_from_json(const nlohmann::json& json);
[[nodiscard]] nlohmann::json to_json(const Settings& settings);
[[nodiscard]] nlohmann::json to_json(const DriveSettings& drive);
[[nodiscard]] nlohmann::json to_json(const NicSettings& nic);

/// One drive out of such a tree, checked; `place` says in messages where it stood. Errors:
/// SettingsError.
[[nodiscard]] DriveSettings drive_from_json(const nlohmann::json& json, const std::string& place);
/// The same for a network adapter.
[[nodiscard]] NicSettings nic_from_json(const nlohmann::json& json, const std::string& place);

/// Reads a JSON file. Errors: SettingsError.
[[nodiscard]] Settings settings_from_file(const std::string& path);

/// Bytes from text as "512M" (K, M, G, T; none means bytes). `place` says in messages where the
/// text stood. Errors: SettingsError.
[[nodiscard]] std::uint64_t parse_size(std::string_view text, std::string_view place);

/// Errors: SettingsError for values that no VM can have.
void check(const Settings& settings);

} // namespace croft::worker
