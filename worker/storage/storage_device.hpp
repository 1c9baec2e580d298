// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/disk.hpp"
#include "vdev/device.hpp"
#include "vsp/storage/controller.hpp"
#include "vsp/threads/ring_threads.hpp"
#include "worker/executor/io_loop.hpp"
#include "worker/settings/settings.hpp"
#include "worker/vmbus/vmbus_device.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace croft::worker {

/// A VM's synthetic SCSI controller with its drives, on VMBus. Calls are the control thread's.
///
/// Drives come and go while the guest runs. What is said of them below returns when the controller
/// no longer uses the file in question, which is when the commands under way are done.
class StorageDevice final : public vdev::Device {
public:
    /// Opens the drives' files. `bus` and the loops, `devices` being its, outlive the object.
    /// Errors: SystemError.
    StorageDevice(const Settings& settings, VmbusDevice& bus, IoLoop& devices, IoLoop& control);
    /// Closes them.
    ~StorageDevice() override;

    struct Drive {
        /// With its LUN.
        DriveSettings settings;
        /// Bytes of the medium; 0 without one.
        std::uint64_t size = 0;
    };
    /// The lowest LUN first.
    [[nodiscard]] std::vector<Drive> drives() const;
    /// Answers the LUN. Errors: SystemError for the file, SettingsError if there is no room,
    /// DeviceError for a disc that no DVD drive can read.
    std::uint32_t add_drive(DriveSettings drive);
    /// Errors: SettingsError where there is no drive; SystemError if its file could not be closed.
    void remove_drive(std::uint32_t lun);
    /// Makes a disk larger; without a size, by as much as its device, or raw file, has grown.
    /// Errors: SettingsError where there is no disk or it is that large already; SystemError.
    void resize_drive(std::uint32_t lun, std::optional<std::uint64_t> size);
    /// Puts a disc into a DVD drive in the place of what is there, or none if `path` is empty.
    /// Errors: SettingsError where there is no DVD drive, else as `add_drive`; the old disc stays.
    void change_disc(std::uint32_t lun, const std::string& path);

    [[nodiscard]] std::string_view name() const override { return "scsi0"; }
    void configure(vdev::Platform& platform) override;
    /// VMBus starts and stops the controller.
    void start() override {}
    void stop() override {}
    [[nodiscard]] vdev::Record save() const override;
    void restore(const vdev::Record& record) override;
    void reset() override;
    void remove() override;

private:
    struct Attached {
        DriveSettings settings;
        std::unique_ptr<disk::Disk> disk;
    };

    [[nodiscard]] vsp::storage::scsi::Identity identity_of(
        const Attached& drive, std::uint32_t lun) const;
    void take_ejected(std::uint32_t lun);
    [[nodiscard]] Attached& attached(std::uint32_t lun);
    [[nodiscard]] std::uint32_t free_lun() const;
    void release(const std::function<void(std::function<void()> done)>& begin);

    VmbusDevice& bus_;
    const std::string machine_;
    vsp::RingThreads threads_;
    /// By LUN.
    std::map<std::uint32_t, Attached> drives_;
    vsp::storage::Controller controller_;
    vmbus::Server::DeviceId id_{};
};

} // namespace croft::worker
