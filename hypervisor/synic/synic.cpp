// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/synic/synic.hpp"

namespace hypervisor {

namespace {

constexpr std::uint8_t first_valid_vector = 16;

// The slots are aligned in their page, though their type does not say so.
std::atomic_ref<std::uint32_t> type_of(hv_message& slot) {
    void* const at = &slot;
    return std::atomic_ref{*static_cast<std::uint32_t*>(at)};
}
std::atomic_ref<std::uint8_t> flags_of(hv_message& slot) {
    return std::atomic_ref{
        *(reinterpret_cast<std::uint8_t*>(&slot) + offsetof(hv_message_header, message_flags))};
}

} // namespace

void Synic::reset() {
    const SpinGuard guard{lock_};
    messages_ = nullptr;
    flags_ = nullptr;
    rings_ = nullptr;
    control_ = 0;
    for (hv_synic_sint& sint : sints_) {
        sint.as_uint64 = 0;
        sint.masked = 1;
    }
    for (Queue& queue : queues_) {
        for (SynicMessage* message = queue.first; message != nullptr;) {
            SynicMessage* const next = message->next;
            message->next = nullptr;
            message->queued = false;
            message = next;
        }
        queue = {};
    }
    ring_head_ = {};
    notifications_ = 0;
}

void Synic::set_message_page(hv_message_page* page) {
    const SpinGuard guard{lock_};
    messages_ = page;
}
void Synic::set_event_flags_page(hv_synic_event_flags_page* page) {
    const SpinGuard guard{lock_};
    flags_ = page;
}
void Synic::set_event_ring_page(hv_synic_event_ring_page* page) {
    const SpinGuard guard{lock_};
    rings_ = page;
    ring_head_ = {};
}

void Synic::set_control(std::uint64_t value) {
    const SpinGuard guard{lock_};
    control_ = value;
}

bool Synic::set_sint(unsigned index, std::uint64_t value) {
    hv_synic_sint sint{};
    sint.as_uint64 = value;
    if (sint.masked == 0 && sint.polling == 0 && sint.vector < first_valid_vector) {
        return false;
    }
    const SpinGuard guard{lock_};
    sints_[index] = sint;
    return true;
}

bool Synic::is_auto_eoi(std::uint8_t vector) const {
    for (const hv_synic_sint& sint : sints_) {
        if (sint.masked == 0 && sint.auto_eoi != 0 && sint.vector == vector) {
            return true;
        }
    }
    return false;
}

std::optional<Synic::Interrupt> Synic::interrupt_of(unsigned index) const {
    const hv_synic_sint& sint = sints_[index];
    if (sint.masked != 0 || sint.polling != 0) {
        return std::nullopt;
    }
    return Interrupt{static_cast<std::uint8_t>(sint.vector), sint.auto_eoi != 0};
}

hv_message Synic::full_message(const SynicMessage& message) {
    hv_message full{};
    full.header.message_type = message.type;
    full.header.payload_size = message.payload_size;
    full.header.sender = message.sender;
    std::memcpy(full.payload, message.payload.data(), message.payload_size);
    return full;
}

/// If the guest has not freed the slot, leaves the mark that makes it say when it does.
bool Synic::slot_is_free(unsigned sint) {
    hv_message& slot = messages_->sint_message[sint];
    if (type_of(slot).load(std::memory_order_seq_cst) == HVMSG_NONE) {
        return true;
    }
    flags_of(slot).fetch_or(HV_MESSAGE_FLAG_PENDING, std::memory_order_seq_cst);
    // The guest may have freed it before it could see the mark.
    return type_of(slot).load(std::memory_order_seq_cst) == HVMSG_NONE;
}

/// Fills the slot if it is free. The type is written last: it is what hands the slot over.
bool Synic::write_slot(unsigned sint, const hv_message& message) {
    if (!slot_is_free(sint)) {
        return false;
    }
    hv_message& slot = messages_->sint_message[sint];
    std::memcpy(reinterpret_cast<std::byte*>(&slot) + sizeof message.header.message_type,
        reinterpret_cast<const std::byte*>(&message) + sizeof message.header.message_type,
        sizeof message - sizeof message.header.message_type);
    type_of(slot).store(message.header.message_type, std::memory_order_seq_cst);
    return true;
}

std::optional<Synic::Interrupt> Synic::post(unsigned sint, SynicMessage& message) {
    const SpinGuard guard{lock_};
    if (message.queued) {
        return std::nullopt;
    }
    Queue& queue = queues_[sint];
    message.queued = true;
    message.next = nullptr;
    if (queue.last != nullptr) {
        queue.last->next = &message;
    } else {
        queue.first = &message;
    }
    queue.last = &message;
    return deliver_first(sint, false);
}

/// Moves the first message of a queue into its slot. \param others messages wait for other slots:
/// the guest is asked to say when it has freed this one, even if none waits for it.
std::optional<Synic::Interrupt> Synic::deliver_first(unsigned sint, bool others) {
    Queue& queue = queues_[sint];
    if (queue.first == nullptr || !deliverable(sint)) {
        return std::nullopt;
    }
    SynicMessage* const first = queue.first;
    hv_message message = full_message(*first);
    if (first->next != nullptr || others) {
        message.header.message_flags = HV_MESSAGE_FLAG_PENDING;
    }
    if (!write_slot(sint, message)) {
        return std::nullopt;
    }
    queue.first = first->next;
    if (queue.first == nullptr) {
        queue.last = nullptr;
    }
    first->next = nullptr;
    first->queued = false;
    return interrupt_of(sint);
}

void Synic::withdraw(unsigned sint, SynicMessage& message) {
    const SpinGuard guard{lock_};
    if (!message.queued) {
        return;
    }
    Queue& queue = queues_[sint];
    SynicMessage* before = nullptr;
    for (SynicMessage* at = queue.first; at != nullptr; before = at, at = at->next) {
        if (at != &message) {
            continue;
        }
        if (before != nullptr) {
            before->next = at->next;
        } else {
            queue.first = at->next;
        }
        if (queue.last == at) {
            queue.last = before;
        }
        message.next = nullptr;
        message.queued = false;
        return;
    }
}

bool Synic::try_post(
    unsigned sint, const hv_message& message, std::optional<Interrupt>& interrupt) {
    const SpinGuard guard{lock_};
    if (!deliverable(sint) || queues_[sint].first != nullptr || !write_slot(sint, message)) {
        return false;
    }
    interrupt = interrupt_of(sint);
    return true;
}

std::uint16_t Synic::take_deliverable() {
    const SpinGuard guard{lock_};
    std::uint16_t free = 0;
    for (unsigned sint = 0; sint < HV_SYNIC_SINT_COUNT; ++sint) {
        const auto bit = static_cast<std::uint16_t>(1u << sint);
        // What waits here is delivered first; the guest is asked for the end of that message too.
        if ((notifications_ & bit) != 0 && deliverable(sint) && queues_[sint].first == nullptr &&
            slot_is_free(sint)) {
            free |= bit;
        }
    }
    notifications_ &= static_cast<std::uint16_t>(~free);
    return free;
}

std::optional<Synic::Interrupt> Synic::end_of_message() {
    const SpinGuard guard{lock_};
    // Each end of message leads to one interrupt at most; the guest's answer to that to the next.
    // They take turns.
    const unsigned start = next_sint_;
    for (unsigned i = 0; i < HV_SYNIC_SINT_COUNT; ++i) {
        const unsigned sint = (start + i) % HV_SYNIC_SINT_COUNT;
        bool others = false;
        for (unsigned j = i + 1; j < HV_SYNIC_SINT_COUNT; ++j) {
            others = others || queues_[(start + j) % HV_SYNIC_SINT_COUNT].first != nullptr;
        }
        if (const auto interrupt = deliver_first(sint, others); interrupt) {
            next_sint_ = (sint + 1) % HV_SYNIC_SINT_COUNT;
            return interrupt;
        }
    }
    return std::nullopt;
}

std::optional<Synic::Interrupt> Synic::set_event_flag(
    unsigned sint, unsigned flag, bool& newly_set) {
    const SpinGuard guard{lock_};
    newly_set = false;
    if ((control_ & 1) == 0 || flags_ == nullptr) {
        return std::nullopt;
    }
    std::atomic_ref byte{flags_->flags[sint][flag / 8]};
    const auto bit = static_cast<std::uint8_t>(1u << (flag % 8));
    newly_set = (byte.fetch_or(bit, std::memory_order_seq_cst) & bit) == 0;
    return newly_set ? interrupt_of(sint) : std::nullopt;
}

Synic::RingResult Synic::push_event(unsigned sint, std::uint32_t port_id) {
    const SpinGuard guard{lock_};
    if ((control_ & 1) == 0 || rings_ == nullptr) {
        return RingResult::disabled;
    }
    hv_synic_event_ring& ring = rings_->sint_event_ring[sint];
    std::uint8_t& head = ring_head_[sint];
    std::atomic_ref entry{*(reinterpret_cast<std::uint32_t*>(reinterpret_cast<std::byte*>(&ring) +
                                offsetof(hv_synic_event_ring, data)) +
        head)};
    std::atomic_ref full{ring.ring_full};
    if (entry.load(std::memory_order_seq_cst) != 0) {
        // The guest looks for the mark when it has emptied the ring; it may just have done so.
        full.store(1, std::memory_order_seq_cst);
        if (entry.load(std::memory_order_seq_cst) != 0) {
            return RingResult::full;
        }
    }
    entry.store(port_id, std::memory_order_seq_cst);
    head = static_cast<std::uint8_t>(head + 1 == HV_SYNIC_EVENT_RING_MESSAGE_COUNT ? 0 : head + 1);
    std::atomic_ref masked{ring.signal_masked};
    return masked.exchange(1, std::memory_order_seq_cst) == 0 ? RingResult::signal
                                                              : RingResult::queued;
}

} // namespace hypervisor
