// SPDX-License-Identifier: Apache-2.0
//
// GPADLs between guest and services.
#include "vmbus/server/entry.hpp"
#include "vmbus/server/offered_device.hpp"
#include "vmbus/server/server.hpp"

#include <fmt/format.h>
#include <utility>

namespace croft::vmbus {

using protocol::MessageType;

void Server::answer_gpadl(const GpadlTable::Key& key, std::uint32_t status) {
    outbox_.put(protocol::GpadlCreated{{static_cast<std::uint32_t>(MessageType::gpadl_created), 0},
                    key.first, key.second, status},
        true);
}

void Server::create_if_complete(const GpadlTable::Key& key) {
    if (!gpadls_.is_complete(key)) {
        return;
    }
    if (const auto parsed = gpadls_.parse(key, host_.memory()); !parsed) {
        report(fmt::format("refused GPADL {:#x} of channel {}: {}", key.second, key.first,
            name_of(parsed.error())));
        gpadls_.remove(key);
        answer_gpadl(key, protocol::status_unsuccessful);
        return;
    }
    GpadlEntry& entry = *gpadls_.find(key);
    entry.state = GpadlEntry::State::creating;
    entry.answer_creation = true;
    ++owed_;
    const Channel& owner = *by_relid_[key.first];
    owner.device->service->create_gpadl(owner.index, entry.gpadl);
}

void Server::gpadl_created(
    OfferedDevice& device, std::uint16_t index, std::uint32_t id, bool accepted) {
    Channel* const owner = device.in_use(index);
    GpadlEntry* const found = owner != nullptr ? gpadls_.find({owner->relid, id}) : nullptr;
    if (found == nullptr || found->state != GpadlEntry::State::creating) {
        report("a service has answered for a GPADL that it wasn't asked about");
        return;
    }
    const Entry entry(*this);
    const GpadlTable::Key key{owner->relid, id};
    found->state = GpadlEntry::State::created;
    const bool answered = std::exchange(found->answer_creation, false);
    if (answered) {
        --owed_;
        answer_gpadl(key, accepted ? protocol::status_success : protocol::status_unsuccessful);
    }
    if (accepted) {
        end_if_unused(key);
        return;
    }
    report(fmt::format(
        "refused GPADL {:#x} of channel {}: its service doesn't take it", key.second, key.first));
    // One that was there when the VM was saved: the guest relies on it.
    const bool relied_on = !answered && !found->end_wanted;
    finish_gpadl(key);
    if (relied_on) {
        rescind(*owner);
    }
}

void Server::want_end(const GpadlTable::Key& key, bool answer) {
    GpadlEntry& entry = *gpadls_.find(key);
    // Answers end with the connection; then they aren't counted any more.
    if (!answer && connection_ != Connection::connected) {
        entry.answer_creation = false;
        entry.answer_teardown = false;
    }
    entry.end_wanted = true;
    if (answer) {
        entry.answer_teardown = true;
        ++owed_;
    }
    end_if_unused(key);
}

bool Server::is_ring_of_channel(const GpadlTable::Key& key) const {
    const Channel* const owner = by_relid_[key.first];
    return owner != nullptr &&
        ((owner->state != Channel::State::closed && owner->parameters.ring_gpadl == key.second) ||
            (owner->reopen && owner->reopen->ring_gpadl == key.second));
}

void Server::end_if_unused(const GpadlTable::Key& key) {
    GpadlEntry* const entry = gpadls_.find(key);
    if (entry == nullptr || !entry->end_wanted || is_ring_of_channel(key)) {
        return;
    }
    if (entry->state == GpadlEntry::State::created) {
        entry->state = GpadlEntry::State::tearing_down;
        const Channel& owner = *by_relid_[key.first];
        owner.device->service->teardown_gpadl(owner.index, key.second);
    } else if (entry->state == GpadlEntry::State::incomplete) {
        finish_gpadl(key);
    }
}

void Server::finish_gpadl(const GpadlTable::Key& key) {
    if (gpadls_.find(key)->answer_teardown) {
        --owed_;
        outbox_.put(
            protocol::GpadlTorndown{
                {static_cast<std::uint32_t>(MessageType::gpadl_torndown), 0}, key.second},
            true);
    }
    gpadls_.remove(key);
}

void Server::gpadl_torn_down(OfferedDevice& device, std::uint16_t index, std::uint32_t id) {
    const Channel* const owner = device.in_use(index);
    const GpadlEntry* const found = owner != nullptr ? gpadls_.find({owner->relid, id}) : nullptr;
    if (found == nullptr || found->state != GpadlEntry::State::tearing_down) {
        report("a service has let go of a GPADL that it wasn't asked about");
        return;
    }
    const Entry entry(*this);
    finish_gpadl({owner->relid, id});
}

} // namespace croft::vmbus
