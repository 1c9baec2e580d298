// SPDX-License-Identifier: Apache-2.0
#include "worker/network/network_device.hpp"

#include "worker/error.hpp"
#include "worker/settings/mac.hpp"

#include <cstdint>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace croft::worker {

namespace {

using vsp::network::Adapter;
using vsp::network::Tap;

vsp::network::MacAddress address_of(const NicSettings& nic) {
    return parse_mac(nic.mac).value();
}

std::unique_ptr<Tap> open_tap(const NicSettings& nic) {
    vsp::network::TapSettings wanted;
    wanted.name = nic.tap;
    wanted.bridge = nic.bridge;
    wanted.guest_address = address_of(nic);
    wanted.queues = static_cast<std::uint16_t>(nic.queues);
    if (nic.mtu != 0) {
        wanted.mtu = nic.mtu;
    }
    auto tap = Tap::open(wanted);
    if (!tap) {
        throw SystemError(tap.error());
    }
    return *std::move(tap);
}

} // namespace

NetworkDevice::NetworkDevice(
    const NicSettings& nic, const vsp::RingThreads& threads, VmbusDevice& bus, IoLoop& loop)
    : number_(nic.number.value()),
      bus_(bus),
      tap_(open_tap(nic)),
      adapter_({threads.rings(),
                   [&loop](std::function<void()> function) {
                       loop.post(std::move(function));
                   }},
          *tap_, address_of(nic), tap_->mtu()),
      reactor_(loop) {
    adapter_.set_plugged(nic.connected);
    bus_.call([this] {
        watch_ = std::make_unique<vsp::network::LinkWatch>(
            reactor_, [this] { adapter_.set_working(tap_->is_up()); });
    });
    id_ = bus_.add(Adapter::offer(instance_of(number_)), adapter_);
}

NetworkDevice::~NetworkDevice() {
    bus_.remove(id_);
    bus_.call([this] { watch_.reset(); });
}

void NetworkDevice::begin_leave() {
    bus_.call([this] { adapter_.take_leave(); });
}

bool NetworkDevice::is_idle() {
    std::promise<bool> idle;
    bus_.call([&] { adapter_.ask_idle([&idle](bool answer) { idle.set_value(answer); }); });
    return idle.get_future().get();
}

bool NetworkDevice::withdraw(std::chrono::milliseconds patience) {
    return bus_.withdraw_and_wait(id_, patience);
}

void NetworkDevice::set_plugged(bool plugged) {
    bus_.call([&] { adapter_.set_plugged(plugged); });
}

nlohmann::json NetworkDevice::statistics() const {
    nlohmann::json found;
    bus_.call([&] {
        found = describe(number_, adapter_.address(), vsp::network::AdapterReport::of(adapter_));
    });
    return found;
}

vdev::Record NetworkDevice::save() const {
    std::optional<vdev::Record> record;
    bus_.call([&] { record = adapter_.save(); });
    return *std::move(record);
}

void NetworkDevice::restore(const vdev::Record& record) {
    bus_.call([&] { adapter_.restore(record); });
}

void NetworkDevice::reset() {
    bus_.call([this] { adapter_.reset(); });
}

} // namespace croft::worker
