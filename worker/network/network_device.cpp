// SPDX-License-Identifier: Apache-2.0
#include "worker/network/network_device.hpp"

#include "worker/error.hpp"
#include "worker/settings/mac.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace croft::worker {

namespace {

using vsp::network::Adapter;
using vsp::network::Tap;

/// The same in every VM for the same place, and over its life.
vmbus::Guid instance_of(std::size_t index) {
    return vmbus::Guid::of(0x2d9c7a51, 0x40b6, 0x4c0e,
        {0xb1, 0x7e, 0x4e, 0x45, 0x54, 0x57, 0x4b, static_cast<std::uint8_t>(index)});
}

std::unique_ptr<Tap> open_tap(const Settings& settings, std::size_t index) {
    const NicSettings& nic = settings.nics[index];
    vsp::network::TapSettings wanted;
    wanted.name = nic.tap;
    wanted.bridge = nic.bridge;
    wanted.guest_address = address_of(settings, index);
    wanted.queues = static_cast<std::uint16_t>(nic.queues != 0
            ? nic.queues
            : std::min(settings.processor.count, NicSettings::most_queues_by_default));
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

NetworkDevice::NetworkDevice(const Settings& settings, std::size_t index,
    const RingThreads& threads, VmbusDevice& bus, IoLoop& loop)
    : name_(fmt::format("nic{}", index)),
      instance_(instance_of(index)),
      bus_(bus),
      tap_(open_tap(settings, index)),
      adapter_({threads.rings(),
                   [&loop](std::function<void()> function) {
                       loop.post(std::move(function));
                   }},
          *tap_, address_of(settings, index), tap_->mtu()),
      reactor_(loop) {
    adapter_.set_plugged(settings.nics[index].connected);
    watch_ = std::make_unique<vsp::network::LinkWatch>(
        reactor_, [this] { adapter_.set_working(tap_->is_up()); });
}

NetworkDevice::~NetworkDevice() = default;

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
            {"name", name_},
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

void NetworkDevice::configure(vdev::Platform&) {
    id_ = bus_.add(Adapter::offer(instance_), adapter_);
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

/// The guest is gone, so the service is detached at once.
void NetworkDevice::remove() {
    bus_.remove(id_);
    bus_.call([this] { watch_.reset(); });
}

} // namespace croft::worker
