// SPDX-License-Identifier: Apache-2.0
#include "vmbus/server/server.hpp"

#include "vdev/error.hpp"
#include "vmbus/server/entry.hpp"
#include "vmbus/server/offered_device.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <tuple>
#include <utility>

namespace croft::vmbus {

using protocol::MessageType;

Server::Server(Host& host, ServerLimits limits)
    : host_(host),
      limits_(limits),
      gpadls_(limits.gpadls),
      reports_left_(limits.reports) {}

Server::~Server() {
    for (const auto& device : devices_) {
        for (const auto& channel : device->channels) {
            end_signals(*channel);
        }
    }
}

OfferedDevice* Server::device(DeviceId id) const {
    for (const auto& device : devices_) {
        if (device->id() == id) {
            return device.get();
        }
    }
    return nullptr;
}

Server::DeviceId Server::add(const Offer& offer, ChannelService& service) {
    for (const auto& device : devices_) {
        if (!device->removed && device->offer.instance == offer.instance) {
            throw vdev::DeviceError("vmbus: found a second device of the same instance, expected "
                                    "one; give each its own instance GUID");
        }
    }
    const Entry entry(*this);
    devices_.push_back(std::make_unique<OfferedDevice>(*this, next_device_++, offer, &service));
    OfferedDevice& added = *devices_.back();
    added.channels.push_back(std::make_unique<Channel>(added, std::uint16_t{0}));
    const DeviceId id = added.id();
    service.attached(added);
    if (!stopped_ && !stop_wanted_) {
        service.start();
    }
    return id;
}

void Server::withdraw(DeviceId id, std::function<void()> done) {
    OfferedDevice* const withdrawn = device(id);
    if (withdrawn == nullptr || withdrawn->service == nullptr) {
        done();
        return;
    }
    const Entry entry(*this);
    withdrawn->removed = true;
    withdrawn->removal_done.push_back(std::move(done));
    // The guest hears of the device last: a driver that goes takes its sub-channels along.
    for (const auto& channel : withdrawn->channels) {
        if (channel->index != 0) {
            tell_rescind(*channel);
        }
    }
    tell_rescind(*withdrawn->channels.front());
}

void Server::remove(DeviceId id, std::function<void()> done) {
    OfferedDevice* const removed = device(id);
    if (removed == nullptr || removed->service == nullptr) {
        done();
        return;
    }
    const Entry entry(*this);
    withdraw(id, std::move(done));
    rescind_sub_channels(*removed);
    rescind(*removed->channels.front());
}

void Server::offer_sub_channels(OfferedDevice& device, std::uint16_t count) {
    const Entry entry(*this);
    const Channel& primary = *device.channels.front();
    if (device.removed || primary.state != Channel::State::open || primary.rescinded) {
        return; // it has been closed meanwhile
    }
    const std::uint16_t most = std::min(count, limits_.sub_channels_per_device);
    for (std::uint16_t index = 1; index <= most; ++index) {
        if (!device.has_index(index)) {
            device.channels.push_back(std::make_unique<Channel>(device, index));
        }
    }
}

void Server::rescind_sub_channels(OfferedDevice& device) {
    // By number: services answer from within, but nothing is taken out before the call ends.
    for (std::size_t i = 0; i < device.channels.size(); ++i) {
        if (device.channels[i]->index != 0) {
            rescind(*device.channels[i]);
        }
    }
}

void Server::tell_rescind(Channel& channel) {
    if (!std::exchange(channel.rescinded, true) && connection_ == Connection::connected &&
        channel.relid != 0 && !channel.released) {
        outbox_.put(
            protocol::RescindChannelOffer{
                {static_cast<std::uint32_t>(MessageType::rescind_channel_offer), 0}, channel.relid},
            false);
    }
}

void Server::rescind(Channel& channel) {
    tell_rescind(channel);
    request_close(channel);
    for (const GpadlTable::Key& key : gpadls_.of_channel(channel.relid)) {
        want_end(key, false);
    }
}

bool Server::may_be_offered(const Channel& channel) const {
    if (channel.relid != 0 || channel.rescinded || channel.released) {
        return false;
    }
    const OfferedDevice& owner = *channel.device;
    if (channel.index != 0) {
        const Channel& primary = *owner.channels.front();
        return primary.state == Channel::State::open && !primary.rescinded &&
            owner.in_use(channel.index) == nullptr;
    }
    // A guest takes two primary channels of one instance for a mistake: the old one has to be gone.
    return std::ranges::none_of(devices_, [&](const auto& other) {
        return other->removed && other->offer.instance == owner.offer.instance &&
            std::ranges::any_of(other->channels, [](const auto& old) { return old->relid != 0; });
    });
}

std::uint32_t Server::free_relid() const {
    for (std::uint32_t relid = 1; relid < protocol::relid_count; ++relid) {
        if (by_relid_[relid] == nullptr) {
            return relid;
        }
    }
    return 0;
}

void Server::make_offers() {
    std::vector<Channel*> offerable;
    for (const auto& device : devices_) {
        for (const auto& channel : device->channels) {
            if (may_be_offered(*channel)) {
                offerable.push_back(channel.get());
            }
        }
    }
    // A guest that was hibernated wants to find its channels under their old names.
    std::ranges::sort(offerable, {}, [](const Channel* channel) {
        const Offer& offer = channel->device->offer;
        return std::tuple(offer.interface_type, offer.instance, channel->index);
    });
    for (Channel* const channel : offerable) {
        const std::uint32_t relid = free_relid();
        if (relid == 0) {
            return; // until the guest gives one back
        }
        channel->relid = relid;
        by_relid_[relid] = channel;
        put_offer(*channel);
    }
}

void Server::put_offer(Channel& channel) {
    const Offer& offer = channel.device->offer;
    protocol::OfferChannel message{};
    message.header.type = static_cast<std::uint32_t>(MessageType::offer_channel);
    message.interface_type = offer.interface_type;
    message.instance = offer.instance;
    message.flags = offer.flags;
    message.mmio_megabytes = offer.mmio_megabytes;
    message.user_defined = offer.user_defined;
    message.sub_channel_index = channel.index;
    message.relid = channel.relid;
    message.monitor_id = 0xff; // none
    message.dedicated_interrupt = 1;
    message.connection_id = protocol::event_connection(channel.relid);
    outbox_.put(message, false);
}

void Server::retry() {
    const Entry entry(*this);
}

void Server::report(std::string_view line) {
    if (reports_left_ == 0) {
        return;
    }
    host_.report(--reports_left_ != 0
            ? line
            : fmt::format("{}; more is not reported before the next reset", line));
}

void Server::report_end(OfferedDevice& device, std::string_view line) {
    if (device.ends_left == 0) {
        return;
    }
    host_.report(--device.ends_left != 0
            ? line
            : fmt::format("{}; more of this device is not reported before the next reset", line));
}

} // namespace croft::vmbus
