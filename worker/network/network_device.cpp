// SPDX-License-Identifier: Apache-2.0
#include "worker/network/network_device.hpp"

#include "worker/error.hpp"
#include "worker/settings/mac.hpp"

#include <chrono>
#include <cstdint>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>

namespace croft::worker {

namespace {

using vsp::network::Adapter;
using vsp::network::Tap;

/// The same in every VM for the same place, and over its life.
vmbus::Guid instance_of(std::uint32_t number) {
    return vmbus::Guid::of(0x2d9c7a51, 0x40b6, 0x4c0e,
        {0xb1, 0x7e, 0x4e, 0x45, 0x54, 0x57, 0x4b, static_cast<std::uint8_t>(number)});
}

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

/// Nothing tells that a guest has seen the link go down; only that it has ceased.
bool NetworkDevice::take_leave() {
    using Clock = std::chrono::steady_clock;
    constexpr auto patience = std::chrono::seconds(5);
    constexpr auto silence = std::chrono::milliseconds(500);
    constexpr auto interval = std::chrono::milliseconds(20);
    bus_.call([this] { adapter_.take_leave(); });
    const auto end = Clock::now() + patience;
    for (auto busy = Clock::now(); Clock::now() - busy < silence;) {
        std::promise<bool> idle;
        bus_.call([&] { adapter_.ask_idle([&idle](bool answer) { idle.set_value(answer); }); });
        if (!idle.get_future().get()) {
            busy = Clock::now();
        }
        if (Clock::now() > end) {
            return false;
        }
        std::this_thread::sleep_for(interval);
    }
    return true;
}

void NetworkDevice::set_plugged(bool plugged) {
    bus_.call([&] { adapter_.set_plugged(plugged); });
}

nlohmann::json NetworkDevice::statistics() const {
    nlohmann::json found;
    bus_.call([&] {
        const vsp::network::Statistics statistics = adapter_.statistics();
        const auto describe = [](const vsp::network::Traffic<std::uint64_t>& traffic) {
            nlohmann::json result = {{"errors", traffic.errors}, {"no_buffer", traffic.no_buffer}};
            std::uint64_t frames = 0;
            std::uint64_t bytes = 0;
            for (std::size_t cast = 0; cast < vsp::network::cast_count; ++cast) {
                frames += traffic.frames.at(cast);
                bytes += traffic.bytes.at(cast);
            }
            result["frames"] = frames;
            result["bytes"] = bytes;
            return result;
        };
        found = {
            {"number", number_},
            {"mac", text_of(adapter_.address())},
            {"plugged", adapter_.is_plugged()},
            {"connected", adapter_.is_connected()},
            {"channels", adapter_.open_channels()},
            {"sent", describe(statistics.sent)},
            {"received", describe(statistics.received)},
        };
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
