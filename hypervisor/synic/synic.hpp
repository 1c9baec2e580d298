// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "abi/synic.h"
#include "hypervisor/cpu/spin_lock.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

namespace hypervisor {

/// A message on its way to a slot. It belongs to its sender, who can tell whether it is still
/// queued and does not queue it twice; a queue therefore needs no memory of its own.
struct SynicMessage {
    static constexpr std::size_t most_payload = 40;
    std::uint32_t type = HVMSG_NONE;
    std::uint8_t payload_size = 0;
    bool queued = false;
    std::uint64_t sender = 0;
    alignas(8) std::array<std::byte, most_payload> payload{};
    SynicMessage* next = nullptr;

    template <class T>
    void set(std::uint32_t message_type, std::uint64_t from, const T& content) {
        static_assert(sizeof(T) <= most_payload);
        type = message_type;
        sender = from;
        payload_size = sizeof(T);
        std::memcpy(payload.data(), &content, sizeof(T));
    }
};

/// A virtual processor's synthetic interrupt controller: message slots, event flags and event rings
/// (TLFS "Virtual Interrupt Control"). It writes the three pages and says which interrupt is due;
/// whoever owns it delivers that. The pages are shared with the guest: what is read from them
/// decides nothing but whether the guest gets its own messages.
class Synic final {
public:
    /// What the virtual processor has to be told: a vector, and whether it ends by itself.
    struct Interrupt {
        std::uint8_t vector;
        bool auto_eoi;
    };

    void reset();

    /// Where the pages are, or null while they are disabled. From the VP's own LP.
    void set_message_page(hv_message_page* page);
    void set_event_flags_page(hv_synic_event_flags_page* page);
    void set_event_ring_page(hv_synic_event_ring_page* page);
    [[nodiscard]] hv_message_page* message_page() const { return messages_; }
    [[nodiscard]] hv_synic_event_flags_page* event_flags_page() const { return flags_; }

    [[nodiscard]] std::uint64_t control() const { return control_; }
    void set_control(std::uint64_t value);
    [[nodiscard]] std::uint64_t sint(unsigned index) const { return sints_[index].as_uint64; }
    /// \return false if the value is not allowed.
    bool set_sint(unsigned index, std::uint64_t value);
    /// Whether any SINT that is not masked uses this vector with automatic end of interrupt.
    [[nodiscard]] bool is_auto_eoi(std::uint8_t vector) const;

    /// Posts a message to a slot, or queues it until the slot is free. From any LP.
    std::optional<Interrupt> post(unsigned sint, SynicMessage& message);
    /// Whether a message waits for its slot. From any LP.
    [[nodiscard]] bool is_queued(const SynicMessage& message) const {
        const SpinGuard guard{lock_};
        return message.queued;
    }
    /// Takes a message back that may be queued. From any LP.
    void withdraw(unsigned sint, SynicMessage& message);
    /// Writes a message of full size, if the slot is free; else marks that one is waiting.
    /// \return false if the slot is taken.
    bool try_post(unsigned sint, const hv_message& message, std::optional<Interrupt>& interrupt);
    /// The guest has freed a slot: posts what waits for it, or for another slot that is free.
    std::optional<Interrupt> end_of_message();

    /// The parent asks to be told, once for each, when slots are free for a message of its own
    /// (HV_X64_REGISTER_DELIVERABILITY_NOTIFICATIONS); in place of what it asked before.
    void notify_deliverable(std::uint16_t sints) { notifications_ = sints; }
    [[nodiscard]] std::uint16_t notifications() const { return notifications_; }
    /// Which of these are free now: they are no longer asked for. In the others the guest is made
    /// to say when it has freed them.
    std::uint16_t take_deliverable();

    /// Sets an event flag. \param newly_set whether it was clear before. \return the interrupt that
    /// is due, if any. No value in `ok`-less form: a disabled page drops the flag.
    std::optional<Interrupt> set_event_flag(unsigned sint, unsigned flag, bool& newly_set);

    /// What came of an attempt to put a port into an event ring.
    enum class RingResult : std::uint8_t { queued, signal, full, disabled };
    /// Puts a port id into the SINT's event ring. `signal`: the guest wants to be told.
    RingResult push_event(unsigned sint, std::uint32_t port_id);
    [[nodiscard]] bool is_intercept_sint(unsigned sint) const {
        return sints_[sint].as_intercept != 0;
    }

private:
    struct Queue {
        SynicMessage* first = nullptr;
        SynicMessage* last = nullptr;
    };

    [[nodiscard]] bool deliverable(unsigned sint) const {
        return (control_ & 1) != 0 && messages_ != nullptr && sint < HV_SYNIC_SINT_COUNT;
    }
    [[nodiscard]] std::optional<Interrupt> interrupt_of(unsigned sint) const;
    [[nodiscard]] bool slot_is_free(unsigned sint);
    bool write_slot(unsigned sint, const hv_message& message);
    std::optional<Interrupt> deliver_first(unsigned sint, bool others);
    static hv_message full_message(const SynicMessage& message);

    mutable SpinLock lock_{};
    std::uint16_t notifications_ = 0; ///< of the VP's own LP, and looked at before each entry
    hv_message_page* messages_ = nullptr;
    hv_synic_event_flags_page* flags_ = nullptr;
    hv_synic_event_ring_page* rings_ = nullptr;
    std::uint64_t control_ = 0;
    std::array<hv_synic_sint, HV_SYNIC_SINT_COUNT> sints_{};
    std::array<Queue, HV_SYNIC_SINT_COUNT> queues_{};
    std::array<std::uint8_t, HV_SYNIC_SINT_COUNT> ring_head_{};
    unsigned next_sint_ = 0; ///< where the next end of message begins to look
};

} // namespace hypervisor
