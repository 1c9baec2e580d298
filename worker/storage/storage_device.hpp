// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/disk.hpp"
#include "vdev/device.hpp"
#include "vsp/storage/controller.hpp"
#include "worker/executor/io_loop.hpp"
#include "worker/settings/settings.hpp"
#include "worker/executor/ring_threads.hpp"
#include "worker/vmbus/vmbus_device.hpp"

#include <memory>
#include <string_view>
#include <vector>

namespace croft::worker {

/// A VM's synthetic SCSI controller with its drives, on VMBus. Calls are the control thread's.
class StorageDevice final : public vdev::Device {
public:
    /// Opens the drives' files. `bus` and `loop`, its thread, outlive the object. Errors:
    /// SystemError.
    StorageDevice(const Settings& settings, VmbusDevice& bus, IoLoop& loop);
    /// Closes them.
    ~StorageDevice() override;

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
    void add_drive(const Settings& settings, std::size_t index);

    VmbusDevice& bus_;
    RingThreads threads_;
    std::vector<std::unique_ptr<disk::Disk>> disks_;
    vsp::storage::Controller controller_;
    vmbus::Server::DeviceId id_{};
};

} // namespace croft::worker
