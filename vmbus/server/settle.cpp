// SPDX-License-Identifier: Apache-2.0
//
// What follows from a change: names that are free again, services that have let go of everything, a
// connection that has ended, offers that can be made.
#include "vmbus/server/entry.hpp"
#include "vmbus/server/offered_device.hpp"
#include "vmbus/server/server.hpp"

#include <algorithm>
#include <utility>

namespace croft::vmbus {

using protocol::MessageType;

void Server::settle() {
    while (std::exchange(settle_again_, false)) {
        release_relids();
        detach_devices();
        finish_disconnect();
        ask_to_stop();
        finish_stop();
        if (connection_ == Connection::connected && offers_requested_ && !stopped_) {
            make_offers();
        }
    }
    if (!stopped_) {
        outbox_.pump(host_, message_vp_);
    }
}

bool Server::is_quiet(const Channel& channel) const {
    return channel.state == Channel::State::closed && !channel.reopen &&
        (channel.relid == 0 || gpadls_.of_channel(channel.relid).empty());
}

bool Server::has_operations() const {
    const auto is_busy = [](const auto& channel) {
        return channel->state == Channel::State::opening ||
            channel->state == Channel::State::closing;
    };
    const auto is_under_way = [](const auto& item) {
        return item.second.state == GpadlEntry::State::creating ||
            item.second.state == GpadlEntry::State::tearing_down;
    };
    return std::ranges::any_of(gpadls_.entries(), is_under_way) ||
        std::ranges::any_of(devices_,
            [&](const auto& device) { return std::ranges::any_of(device->channels, is_busy); });
}

void Server::release_relids() {
    for (const auto& device : devices_) {
        for (const auto& channel : device->channels) {
            if (channel->relid != 0 && channel->released && is_quiet(*channel)) {
                by_relid_[channel->relid] = nullptr;
                channel->relid = 0;
            }
        }
        std::erase_if(device->channels, [&](const auto& channel) {
            return channel->index != 0 && channel->rescinded && channel->relid == 0 &&
                is_quiet(*channel);
        });
    }
}

void Server::detach_devices() {
    for (std::size_t i = 0; i < devices_.size(); ++i) {
        OfferedDevice& device = *devices_[i];
        if (device.removed && device.service != nullptr &&
            std::ranges::all_of(
                device.channels, [&](const auto& channel) { return is_quiet(*channel); })) {
            // It may be gone after the calls.
            std::exchange(device.service, nullptr)->detached();
            for (const auto& done : std::exchange(device.removal_done, {})) {
                done();
            }
        }
    }
    std::erase_if(devices_, [](const auto& device) {
        return device->service == nullptr &&
            std::ranges::all_of(
                device->channels, [](const auto& channel) { return channel->relid == 0; });
    });
}

void Server::disconnect(Next next) {
    next_ = next;
    outbox_.clear();
    if (connection_ != Connection::connected) {
        settle_again_ = true;
        connection_ = Connection::disconnecting;
        return;
    }
    connection_ = Connection::disconnecting;
    for (const auto& device : devices_) {
        for (std::size_t i = 0; i < device->channels.size(); ++i) {
            Channel& channel = *device->channels[i];
            channel.answer_due = false;
            request_close(channel);
        }
    }
    std::vector<GpadlTable::Key> keys;
    for (const auto& [key, entry] : gpadls_.entries()) {
        keys.push_back(key);
    }
    for (const GpadlTable::Key& key : keys) {
        want_end(key, false);
    }
    owed_ = 0;
}

void Server::finish_disconnect() {
    if (connection_ != Connection::disconnecting || !gpadls_.entries().empty() ||
        !std::ranges::all_of(devices_, [&](const auto& device) {
            return std::ranges::all_of(
                device->channels, [&](const auto& channel) { return is_quiet(*channel); });
        })) {
        return;
    }
    by_relid_.fill(nullptr);
    outbox_.clear();
    for (const auto& device : devices_) {
        std::erase_if(device->channels, [](const auto& channel) { return channel->index != 0; });
        if (device->channels.empty()) {
            continue; // it was removed, and what the guest had of it is gone now
        }
        Channel& primary = *device->channels.front();
        primary.relid = 0;
        primary.released = false;
        primary.rescinded = device->removed;
    }
    connection_ = Connection::disconnected;
    offers_requested_ = false;
    settle_again_ = true;
    switch (std::exchange(next_, Next::nothing)) {
    case Next::nothing:
        break;
    case Next::answer_unload:
        outbox_.put(
            protocol::MessageHeader{static_cast<std::uint32_t>(MessageType::unload_response), 0},
            true);
        break;
    case Next::make_contact:
        complete_contact();
        break;
    }
    if (reset_done_) {
        reports_left_ = limits_.reports;
        for (const auto& device : devices_) {
            device->ends_left = limits_.ends_per_device;
        }
        std::exchange(reset_done_, nullptr)();
    }
}

void Server::reset(std::function<void()> done) {
    const Entry entry(*this);
    reset_done_ = std::move(done);
    disconnect(Next::nothing);
}

void Server::start() {
    const Entry entry(*this);
    stopped_ = false;
    for (std::size_t i = 0; i < devices_.size(); ++i) {
        OfferedDevice& device = *devices_[i];
        if (device.service != nullptr) {
            device.service->start();
        }
        for (const auto& channel : device.channels) {
            if (channel->restored && channel->interrupt) {
                // What was signalled just before the VM was saved may have been on its way.
                channel->interrupt->signal();
            }
        }
    }
}

void Server::stop(std::function<void()> done) {
    const Entry entry(*this);
    stop_wanted_ = true;
    stop_asked_ = false;
    stop_done_ = std::move(done);
}

void Server::ask_to_stop() {
    if (!stop_wanted_ || stop_asked_ || connection_ == Connection::disconnecting ||
        has_operations()) {
        return;
    }
    stop_asked_ = true;
    for (std::size_t i = 0; i < devices_.size(); ++i) {
        devices_[i]->stop_answered = devices_[i]->service == nullptr;
        if (!devices_[i]->stop_answered) {
            devices_[i]->service->stop();
        }
    }
}

void Server::finish_stop() {
    if (!stop_asked_ ||
        !std::ranges::all_of(devices_,
            [](const auto& device) {
                return device->stop_answered || device->service == nullptr;
            }) ||
        has_operations()) {
        return;
    }
    stop_wanted_ = false;
    stop_asked_ = false;
    stopped_ = true;
    std::exchange(stop_done_, nullptr)();
}

void OfferedDevice::stopped() {
    const Server::Entry entry(server_);
    stop_answered = true;
}

} // namespace croft::vmbus
