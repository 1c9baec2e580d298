// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/partition.hpp"
#include "vdev/device.hpp"
#include "vmbus/server/host.hpp"
#include "vmbus/server/server.hpp"
#include "worker/executor/io_loop.hpp"
#include "worker/signal/event_connections.hpp"
#include "worker/vmbus/memory_pages.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <shared_mutex>
#include <span>
#include <string_view>

namespace croft::worker {

/// VMBus as a device of the machine: the server, on the devices' thread, and its ways to the guest.
/// Guests find it by ACPI. Calls are the control thread's unless they say otherwise.
class VmbusDevice final : public vdev::Device, private vmbus::Host {
public:
    /// Everything outlives the object. `loop` is the devices' and runs from the first start on.
    VmbusDevice(
        GuestMemory& memory, EventConnections& connections, IoLoop& loop, std::uint32_t processors);

    /// Says which partition the guest is in, or with null that there is none now.
    void attach(hv::Partition* partition);

    /// Makes a service known to the guest. The calls to it are made on the devices' thread. Errors:
    /// DeviceError if there is a device of that instance.
    vmbus::Server::DeviceId add(const vmbus::Offer& offer, vmbus::ChannelService& service);
    /// Takes it away; on return it is detached. Not for the devices' thread.
    void remove(vmbus::Server::DeviceId id);
    /// Tells the guest that it goes, and serves what the guest has of it until the guest has given
    /// that back. Answers whether it has within `patience`. Not for the devices' thread.
    [[nodiscard]] bool withdraw_and_wait(
        vmbus::Server::DeviceId id, std::chrono::milliseconds patience);
    /// The same without waiting, on the devices' thread.
    void withdraw(vmbus::Server::DeviceId id) { server_.withdraw(id); }
    /// The guest's memory for a service in another process.
    [[nodiscard]] vmbus::MemoryFile memory_file() const { return pages_.file(); }

    /// Calls `function` on the thread on which services live, and waits for it.
    void call(const std::function<void()>& function) const;

    /// The partition's reference time, in units of 100 ns; 0 while there is none. Any thread.
    [[nodiscard]] std::uint64_t reference_time();

    /// What HvCallPostMessage answers the guest for a message of `type` on `connection`, as an
    /// HV_STATUS. A processor's thread.
    [[nodiscard]] std::uint16_t post(
        std::uint32_t connection, std::uint32_t type, std::span<const std::uint8_t> payload);
    /// The message slots of these SINTs, a bit for each, have room again. A processor's thread.
    void slots_free(std::uint16_t sints);

    [[nodiscard]] std::string_view name() const override { return "vmbus"; }
    void configure(vdev::Platform&) override {}
    void start() override;
    void stop() override;
    [[nodiscard]] vdev::Record save() const override;
    void restore(const vdev::Record& record) override;
    void reset() override;
    void remove() override {}

private:
    Posted post_message(std::uint32_t vp, std::span<const std::uint8_t> payload) override;
    void signal_event(std::uint32_t vp, std::uint16_t flag) override;
    [[nodiscard]] bool has_processor(std::uint32_t vp) const override { return vp < processors_; }
    [[nodiscard]] bool connect_event(std::uint32_t connection, int event) override;
    void disconnect_event(std::uint32_t connection) override;
    [[nodiscard]] const vmbus::GuestPages& memory() const override { return pages_; }
    void report(std::string_view line) override;

    void begin_and_wait(const std::function<void(const std::function<void()>& done)>& begin);

    const MemoryPages pages_;
    EventConnections& connections_;
    IoLoop& loop_;
    const std::uint32_t processors_;

    /// Held shared while the partition is used, so that it isn't gone before that ends.
    std::shared_mutex mutex_;
    hv::Partition* partition_ = nullptr;

    /// Since the first start the server is the devices' thread's.
    bool began_ = false;
    vmbus::Server server_;
};

} // namespace croft::worker
