// SPDX-License-Identifier: Apache-2.0
#include "worker/vmbus/vmbus_device.hpp"

#include "hv/error.hpp"
#include "vmbus/protocol/message.hpp"

#include <cstring>
#include <fmt/format.h>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

namespace croft::worker {

namespace protocol = vmbus::protocol;

VmbusDevice::VmbusDevice(
    GuestMemory& memory, EventConnections& connections, IoLoop& loop, std::uint32_t processors)
    : pages_(memory),
      connections_(connections),
      loop_(loop),
      processors_(processors),
      server_(*this) {}

void VmbusDevice::attach(hv::Partition* partition) {
    const std::unique_lock lock(mutex_);
    partition_ = partition;
}

/// Before the first start the devices' thread may not be there yet, nor anybody else in the server.
void VmbusDevice::call(const std::function<void()>& function) const {
    if (began_) {
        loop_.post_and_wait(function);
    } else {
        function();
    }
}

/// Calls `begin(done)` there, and waits until `done` was called.
void VmbusDevice::begin_and_wait(
    const std::function<void(const std::function<void()>& done)>& begin) {
    std::promise<void> ended;
    call([&] { begin([&ended] { ended.set_value(); }); });
    ended.get_future().wait();
}

vmbus::Server::DeviceId VmbusDevice::add(
    const vmbus::Offer& offer, vmbus::ChannelService& service) {
    vmbus::Server::DeviceId id{};
    call([&] { id = server_.add(offer, service); });
    return id;
}

void VmbusDevice::remove(vmbus::Server::DeviceId id) {
    begin_and_wait([&](const auto& done) { server_.remove(id, done); });
}

bool VmbusDevice::withdraw_and_wait(
    vmbus::Server::DeviceId id, std::chrono::milliseconds patience) {
    // It may be given back when nobody waits any more.
    const auto gone = std::make_shared<std::promise<void>>();
    call([&] { server_.withdraw(id, [gone] { gone->set_value(); }); });
    return gone->get_future().wait_for(patience) == std::future_status::ready;
}

std::uint64_t VmbusDevice::reference_time() {
    const std::shared_lock lock(mutex_);
    return partition_ != nullptr ? partition_->property(HV_PARTITION_PROPERTY_REFERENCE_TIME) : 0;
}

std::uint16_t VmbusDevice::post(
    std::uint32_t connection, std::uint32_t type, std::span<const std::uint8_t> payload) {
    if (connection != protocol::message_connection &&
        connection != protocol::message_connection_5_0) {
        return HV_STATUS_INVALID_CONNECTION_ID;
    }
    if (type != protocol::synic_message_type || payload.size() > protocol::largest_message) {
        return HV_STATUS_INVALID_PARAMETER;
    }
    vmbus::Server::Receipt receipt{};
    loop_.post_and_wait([&] { receipt = server_.receive(payload); });
    return receipt == vmbus::Server::Receipt::done ? HV_STATUS_SUCCESS
                                                   : HV_STATUS_INSUFFICIENT_BUFFERS;
}

void VmbusDevice::slots_free(std::uint16_t sints) {
    if ((sints & 1U << protocol::synic_interrupt_source) != 0) {
        loop_.post([this] { server_.retry(); });
    }
}

void VmbusDevice::start() {
    began_ = true;
    call([this] { server_.start(); });
}

void VmbusDevice::stop() {
    begin_and_wait([this](const auto& done) { server_.stop(done); });
}

vdev::Record VmbusDevice::save() const {
    std::optional<vdev::Record> record;
    call([&] { record = server_.save(); });
    return *std::move(record);
}

void VmbusDevice::restore(const vdev::Record& record) {
    call([&] { server_.restore(record); });
}

void VmbusDevice::reset() {
    begin_and_wait([this](const auto& done) { server_.reset(done); });
}

VmbusDevice::Posted VmbusDevice::post_message(
    std::uint32_t vp, std::span<const std::uint8_t> payload) {
    hv_message message{};
    message.header.message_type = protocol::synic_message_type;
    message.header.payload_size = static_cast<std::uint8_t>(payload.size());
    std::memcpy(message.payload, payload.data(), payload.size());
    const std::shared_lock lock(mutex_);
    if (partition_ == nullptr) {
        return Posted::refused;
    }
    try {
        if (partition_->post_message(vp, protocol::synic_interrupt_source, message)) {
            return Posted::taken;
        }
        partition_->notify_deliverable(vp, 1U << protocol::synic_interrupt_source);
        return Posted::busy;
    } catch (const hv::HypervisorError&) {
        return Posted::refused;
    }
}

void VmbusDevice::signal_event(std::uint32_t vp, std::uint16_t flag) {
    const std::shared_lock lock(mutex_);
    if (partition_ == nullptr) {
        return;
    }
    try {
        (void)partition_->signal_event(vp, protocol::synic_interrupt_source, flag);
    } catch (const hv::HypervisorError&) {
        // A guest that has switched its SynIC off hears nothing, as on a machine.
    }
}

bool VmbusDevice::connect_event(std::uint32_t connection, int event) {
    try {
        connections_.connect(connection, event);
        return true;
    } catch (const std::runtime_error& error) {
        report(error.what());
        return false;
    }
}

void VmbusDevice::disconnect_event(std::uint32_t connection) {
    connections_.disconnect(connection);
}

void VmbusDevice::report(std::string_view line) {
    fmt::print(stderr, "vmbus: {}\r\n", line);
}

} // namespace croft::worker
