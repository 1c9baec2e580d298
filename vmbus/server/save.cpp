// SPDX-License-Identifier: Apache-2.0
//
// The server's state, out and in again.
#include "vdev/error.hpp"
#include "vmbus/server/entry.hpp"
#include "vmbus/server/offered_device.hpp"
#include "vmbus/server/server.hpp"
#include "vmbus/server/server_state.hpp"

#include <algorithm>
#include <utility>

namespace croft::vmbus {

using vdev::RecordError;

vdev::Record Server::save() const {
    return state().save();
}

ServerState Server::state() const {
    ServerState state;
    state.version = version();
    state.feature_flags = feature_flags_;
    state.message_vp = message_vp_;
    state.offers_requested = offers_requested_;
    for (const auto& device : devices_) {
        for (const auto& channel : device->channels) {
            if (channel->relid != 0 || channel->released) {
                state.channels.push_back({device->offer, channel->index, channel->relid,
                    channel->rescinded, channel->released, channel->state == Channel::State::open,
                    channel->parameters});
            }
        }
    }
    for (const auto& [key, entry] : gpadls_.entries()) {
        state.gpadls.push_back({key.first, key.second, entry.range_count,
            static_cast<std::uint32_t>(entry.expected_words), entry.words, entry.end_wanted,
            entry.answer_teardown});
    }
    state.messages.assign(outbox_.messages().begin(), outbox_.messages().end());
    return state;
}

void Server::restore(const vdev::Record& record) {
    const ServerState state = ServerState::load(record);
    check(state);
    const Entry entry(*this);
    apply(state);
    reopen_restored();
}

void Server::check(const ServerState& state) const {
    GpadlTable table(limits_.gpadls);
    for (const ServerState::Channel& channel : state.channels) {
        const bool is_there = std::ranges::any_of(devices_, [&](const auto& device) {
            return device->offer.interface_type == channel.offer.interface_type &&
                device->offer.instance == channel.offer.instance;
        });
        if (!channel.rescinded && !is_there) {
            throw RecordError("saved state of 'vmbus': found a channel of a device that this VM "
                              "doesn't have; give the VM the devices that it had");
        }
    }
    for (const ServerState::Gpadl& gpadl : state.gpadls) {
        const GpadlTable::Key key{gpadl.relid, gpadl.id};
        GpadlEntry entry;
        entry.range_count = gpadl.range_count;
        entry.expected_words = gpadl.expected_words;
        entry.words = gpadl.words;
        if (!table.insert(key, std::move(entry)) ||
            (table.is_complete(key) && !table.parse(key, host_.memory()))) {
            throw RecordError("saved state of 'vmbus': found a GPADL that can't be, expected one "
                              "of this VM's memory; give the VM the memory that it had");
        }
    }
    const auto is_sound = [&](const ServerState::Channel& channel) {
        const GpadlEntry* const entry = table.find({channel.relid, channel.parameters.ring_gpadl});
        const std::uint32_t vp = channel.parameters.target_vp;
        return entry != nullptr && entry->gpadl.ranges.size() == 1 &&
            (vp == protocol::no_target_vp || host_.has_processor(vp)) &&
            entry->gpadl.ranges.front().byte_offset == 0 &&
            entry->gpadl.ranges.front().pages.size() >= 4 &&
            channel.parameters.downstream_offset >= 2 &&
            channel.parameters.downstream_offset <= entry->gpadl.ranges.front().pages.size() - 2;
    };
    if (state.version != 0 && !host_.has_processor(state.message_vp)) {
        throw RecordError(
            "saved state of 'vmbus': found a processor that this VM doesn't have; give "
            "the VM as many as it had");
    }
    for (const ServerState::Channel& channel : state.channels) {
        if (channel.open && !is_sound(channel)) {
            throw RecordError("saved state of 'vmbus': found an open channel without rings or "
                              "processor; the file is damaged or was changed");
        }
    }
    if (state.messages.size() > limits_.answers + std::size_t{2} * protocol::relid_count) {
        throw RecordError("saved state of 'vmbus': found more messages than there can be; the file "
                          "is damaged or was changed");
    }
}

OfferedDevice& Server::device_for_saved(const Offer& offer, bool rescinded) {
    if (!rescinded) {
        return **std::ranges::find_if(devices_, [&](const auto& device) {
            return !device->removed && device->offer.interface_type == offer.interface_type &&
                device->offer.instance == offer.instance;
        });
    }
    // Of a device that was removed, the name that the guest hasn't given back is all that is left.
    devices_.push_back(std::make_unique<OfferedDevice>(*this, next_device_++, offer, nullptr));
    devices_.back()->removed = true;
    return *devices_.back();
}

void Server::apply(const ServerState& state) {
    connection_ = state.version != 0 ? Connection::connected : Connection::disconnected;
    version_ = state.version;
    feature_flags_ = state.feature_flags;
    message_vp_ = state.message_vp;
    offers_requested_ = state.offers_requested;
    apply_channels(state);
    apply_gpadls(state);
    for (const Outbox::Message& message : state.messages) {
        outbox_.put_bytes(message.bytes, message.is_answer);
    }
}

void Server::apply_channels(const ServerState& state) {
    for (const ServerState::Channel& saved : state.channels) {
        OfferedDevice& owner = device_for_saved(saved.offer, saved.rescinded);
        if (owner.channels.empty() || saved.index != 0) {
            owner.channels.push_back(std::make_unique<Channel>(owner, saved.index));
        }
        Channel& channel = saved.index == 0 ? *owner.channels.front() : *owner.channels.back();
        channel.relid = saved.relid;
        channel.rescinded = saved.rescinded;
        channel.released = saved.released;
        channel.parameters = saved.parameters;
        channel.restored = saved.open;
        if (saved.relid != 0) {
            by_relid_[saved.relid] = &channel;
        }
    }
}

void Server::apply_gpadls(const ServerState& state) {
    for (const ServerState::Gpadl& saved : state.gpadls) {
        const GpadlTable::Key key{saved.relid, saved.id};
        GpadlEntry entry;
        entry.range_count = saved.range_count;
        entry.expected_words = saved.expected_words;
        entry.words = saved.words;
        entry.end_wanted = saved.end_wanted;
        entry.answer_teardown = saved.answer_teardown;
        owed_ += saved.answer_teardown ? 1U : 0U;
        // Both were tried before.
        (void)gpadls_.insert(key, std::move(entry));
        if (gpadls_.is_complete(key)) {
            (void)gpadls_.parse(key, host_.memory());
        }
    }
}

void Server::reopen_restored() {
    std::vector<GpadlTable::Key> keys;
    for (const auto& [key, entry] : gpadls_.entries()) {
        keys.push_back(key);
    }
    for (const GpadlTable::Key& key : keys) {
        Channel& owner = *by_relid_[key.first];
        GpadlEntry* const entry = gpadls_.find(key);
        if (entry != nullptr && gpadls_.is_complete(key) && owner.device->service != nullptr) {
            entry->state = GpadlEntry::State::creating;
            owner.device->service->create_gpadl(owner.index, entry->gpadl);
        }
    }
    for (std::uint32_t relid = 1; relid < protocol::relid_count; ++relid) {
        Channel* const channel = by_relid_[relid];
        if (channel != nullptr && channel->restored && !channel->rescinded &&
            gpadls_.find({relid, channel->parameters.ring_gpadl}) != nullptr) {
            start_open(*channel, channel->parameters);
        }
    }
}

} // namespace croft::vmbus
