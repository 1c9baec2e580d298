// SPDX-License-Identifier: Apache-2.0
#include "vmbus/testing/guest_ring.hpp"

#include <utility>

namespace croft::vmbus::testing {

namespace {

constexpr std::size_t write_index = 0;
constexpr std::size_t read_index = 4;
constexpr std::size_t interrupt_mask = 8;
constexpr std::size_t pending_send_size = 12;
constexpr std::size_t feature_bits = 64;

template <typename T>
T* at(std::uint8_t* place) {
    return static_cast<T*>(static_cast<void*>(place));
}

} // namespace

GuestRing::GuestRing(std::span<const std::uint64_t> pages, const GuestPages& memory)
    : header_(memory.page(pages.front())) {
    for (const std::uint64_t page : pages.subspan(1)) {
        data_.push_back(memory.page(page));
    }
}

void GuestRing::initialize() {
    for (std::size_t field = 0; field < 4096; field += 4) {
        store(field, 0);
    }
    store(feature_bits, 1);
}

std::uint32_t GuestRing::load(std::size_t field) const {
    return __atomic_load_n(at<std::uint32_t>(header_ + field), __ATOMIC_SEQ_CST);
}

void GuestRing::store(std::size_t field, std::uint32_t value) {
    __atomic_store_n(at<std::uint32_t>(header_ + field), value, __ATOMIC_SEQ_CST);
}

std::uint64_t GuestRing::word(std::uint32_t offset) const {
    offset %= size();
    return __atomic_load_n(
        at<std::uint64_t>(data_[offset / 4096] + offset % 4096), __ATOMIC_RELAXED);
}

void GuestRing::set_word(std::uint32_t offset, std::uint64_t value) {
    offset %= size();
    __atomic_store_n(
        at<std::uint64_t>(data_[offset / 4096] + offset % 4096), value, __ATOMIC_RELAXED);
}

std::uint32_t GuestSender::size_of(const GuestPacket& packet) {
    return static_cast<std::uint32_t>(8 * (3 + packet.header.size() + packet.payload.size()));
}

std::uint32_t GuestSender::free() const {
    const std::uint32_t write = ring_.load(write_index);
    const std::uint32_t read = ring_.load(read_index);
    return write >= read ? ring_.size() - (write - read) : read - write;
}

GuestSender::Sent GuestSender::send(const GuestPacket& packet) {
    if (free() <= size_of(packet)) {
        return Sent::full;
    }
    const std::uint32_t start = ring_.load(write_index);
    const std::uint64_t offset8 = 2 + packet.header.size();
    const std::uint64_t length8 = offset8 + packet.payload.size();
    std::vector<std::uint64_t> words = {
        packet.type | offset8 << 16 | length8 << 32 | std::uint64_t{packet.flags} << 48,
        packet.transaction_id};
    words.insert(words.end(), packet.header.begin(), packet.header.end());
    words.insert(words.end(), packet.payload.begin(), packet.payload.end());
    words.push_back(std::uint64_t{start} << 32);
    std::uint32_t offset = start;
    for (const std::uint64_t word : words) {
        ring_.set_word(offset, word);
        offset += 8;
    }
    ring_.store(write_index, offset % ring_.size());
    const bool wanted = ring_.load(interrupt_mask) == 0 && ring_.load(read_index) == start;
    return wanted ? Sent::signal : Sent::quiet;
}

bool GuestSender::wait_for(std::uint32_t bytes) {
    ring_.store(pending_send_size, bytes);
    return free() > bytes;
}

bool GuestReceiver::unmask() {
    ring_.store(interrupt_mask, 0);
    return ring_.load(read_index) != ring_.load(write_index);
}

std::optional<GuestPacket> GuestReceiver::receive() {
    if (ring_.load(write_index) == next_) {
        return std::nullopt;
    }
    const std::uint64_t descriptor = ring_.word(next_);
    const auto offset8 = static_cast<std::uint16_t>(descriptor >> 16);
    const auto length8 = static_cast<std::uint16_t>(descriptor >> 32);
    GuestPacket packet;
    packet.type = static_cast<std::uint16_t>(descriptor);
    packet.flags = static_cast<std::uint16_t>(descriptor >> 48);
    packet.transaction_id = ring_.word(next_ + 8);
    for (std::uint32_t i = 2; i < length8; ++i) {
        (i < offset8 ? packet.header : packet.payload).push_back(ring_.word(next_ + 8 * i));
    }
    next_ = (next_ + 8 * (length8 + 1U)) % ring_.size();
    return packet;
}

bool GuestReceiver::commit() {
    const std::uint32_t start = ring_.load(read_index);
    ring_.store(read_index, next_);
    if ((ring_.load(feature_bits) & 1) == 0) {
        return false;
    }
    const std::uint32_t pending = ring_.load(pending_send_size);
    if (pending == 0) {
        return false;
    }
    const std::uint32_t write = ring_.load(write_index);
    const std::uint32_t free = write >= next_ ? ring_.size() - (write - next_) : next_ - write;
    const std::uint32_t read = next_ >= start ? next_ - start : ring_.size() - start + next_;
    return free - read <= pending && free > pending;
}

} // namespace croft::vmbus::testing
