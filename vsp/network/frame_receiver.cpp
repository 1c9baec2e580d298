// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/frame_receiver.hpp"

#include "vsp/network/checksum.hpp"
#include "vsp/network/protocol/rndis.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace croft::vsp::network {

namespace {

/// A message's beginning, which is written at once.
class MessageHead {
public:
    explicit MessageHead(std::size_t data_offset, std::size_t data_length) {
        const protocol::RndisHeader header{static_cast<std::uint32_t>(protocol::RndisType::packet),
            static_cast<std::uint32_t>(data_offset + data_length)};
        std::memcpy(bytes_.data(), &header, sizeof(header));
        packet_.data_offset = static_cast<std::uint32_t>(data_offset - sizeof(header));
        packet_.data_length = static_cast<std::uint32_t>(data_length);
    }

    void add_info(std::uint32_t type, std::uint32_t value) {
        const protocol::PacketInfo info{sizeof(info) + sizeof(value), type, sizeof(info)};
        packet_.info_offset = sizeof(packet_);
        std::uint8_t* const place =
            bytes_.data() + sizeof(protocol::RndisHeader) + sizeof(packet_) + packet_.info_length;
        std::memcpy(place, &info, sizeof(info));
        std::memcpy(place + sizeof(info), &value, sizeof(value));
        packet_.info_length += info.size;
    }
    void add_data(std::span<const std::uint8_t> data) {
        std::ranges::copy(data, bytes_.end() - static_cast<std::ptrdiff_t>(data.size()));
    }

    [[nodiscard]] std::span<const std::uint8_t> finish() {
        std::memcpy(bytes_.data() + sizeof(protocol::RndisHeader), &packet_, sizeof(packet_));
        return bytes_;
    }

private:
    // Header, packet, three pieces of information and the first bytes fit.
    static_assert(sizeof(protocol::RndisHeader) + sizeof(protocol::RndisPacket) +
            3 * (sizeof(protocol::PacketInfo) + sizeof(std::uint32_t)) + first_bytes <=
        frame_offset);
    std::array<std::uint8_t, frame_offset> bytes_{};
    protocol::RndisPacket packet_{};
};

} // namespace

void FrameReceiver::configure(std::shared_ptr<const DataSettings> settings, std::uint16_t channel) {
    release();
    const SharedBuffer* const old =
        settings_ != nullptr ? settings_->receive_buffer.get() : nullptr;
    settings_ = std::move(settings);
    if (settings_->receive_buffer.get() != old) {
        const std::uint32_t share = settings_->sections_per_channel;
        const std::uint32_t all =
            settings_->receive_buffer != nullptr ? settings_->receive_buffer->section_count() : 0;
        // A buffer that takes the place of a larger one may have none for this channel.
        const std::uint32_t count = (channel + 1U) * share <= all ? share : 0;
        reserved_ = std::min(most_reserved, count / 4);
        sections_.assign(channel * share, count);
    }
    spill_.resize(may_coalesce() ? largest_frame : 1);
}

void FrameReceiver::release() {
    for (const std::uint32_t section : held_) {
        sections_.give_back(section);
    }
    held_.clear();
}

bool FrameReceiver::hold(std::size_t count) {
    while (held_.size() < count && sections_.free_count() > reserved_) {
        held_.push_back(sections_.take());
    }
    return held_.size() >= count;
}

bool FrameReceiver::prepare() {
    if (!hold(1)) {
        return false;
    }
    if (expects_large_ && may_coalesce()) {
        (void)hold((largest_frame + room() - 1) / room());
    }
    in_place_ = expects_large_ ? held_.size() : 1;
    segments_.clear();
    segments_.push_back({&start_, sizeof(start_)});
    for (std::size_t i = 0; i < in_place_; ++i) {
        settings_->receive_buffer->add(held_[i], frame_offset, room(), segments_);
    }
    segments_.push_back({spill_.data(), spill_.size()});
    return true;
}

FrameReceiver::Result FrameReceiver::receive(Batch& batch) {
    if (!prepare()) {
        return Result::no_room;
    }
    const int result = queue_.receive(segments_);
    if (result == -EAGAIN || result == -EINTR) {
        return Result::empty;
    }
    if (result <= 0) {
        return Result::broken;
    }
    take(static_cast<std::size_t>(result), batch);
    return Result::taken;
}

void FrameReceiver::take(std::size_t bytes, Batch& batch) {
    if (bytes < sizeof(FrameHeader) + ethernet_header_size) {
        traffic_.errors.add(1);
        return;
    }
    MacAddress destination;
    std::copy_n(start_.bytes.begin(), destination.bytes.size(), destination.bytes.begin());
    if (!settings_->filter.wants(destination)) {
        return;
    }
    Shape shape;
    shape.length = bytes - sizeof(FrameHeader);
    const std::size_t body = shape.length > first_bytes ? shape.length - first_bytes : 0;
    shape.parts = std::max<std::size_t>(1, (body + room() - 1) / room());
    expects_large_ = shape.parts > 1;
    const bool is_large = start_.header.segmentation != segments_none;
    if (shape.parts > 1 && !(is_large && may_coalesce())) {
        traffic_.errors.add(1); // larger than the guest said that it takes
        return;
    }
    if (!spread(shape.parts, in_place_, body)) {
        traffic_.no_buffer.add(1);
        return;
    }
    if (load_big_16(&start_.bytes[ethernet_addresses_size]) == ethertype_vlan &&
        body >= sizeof(std::uint16_t)) {
        const std::uint32_t tag = load_big_16(&start_.bytes[ethernet_header_size]);
        shape.has_tag = true;
        shape.tag = tag >> 13U | (tag >> 12U & 1U) << protocol::vlan_cfi_shift |
            (tag & 0xfffU) << protocol::vlan_id_shift;
    }
    shape.checksum = complete_checksum(shape);
    for (std::size_t part = 0; part < shape.parts; ++part) {
        put_part(shape, part, body, batch);
    }
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(shape.parts));
    ++next_part_id_;
    const auto cast = static_cast<std::size_t>(cast_of(destination));
    traffic_.frames.at(cast).add(1);
    traffic_.bytes.at(cast).add(shape.length);
}

/// Brings what was spilt to where it belongs, if there is room.
bool FrameReceiver::spread(std::size_t parts, std::size_t in_place, std::size_t body) {
    if (!hold(parts)) {
        return false;
    }
    std::span<const std::uint8_t> spilt(spill_);
    for (std::size_t part = in_place; part < parts; ++part) {
        const std::size_t size = std::min(room(), body - part * room());
        settings_->receive_buffer->write(held_[part], frame_offset, spilt.first(size));
        spilt = spilt.subspan(size);
    }
    return true;
}

/// A checksum that the sender has left open is completed here, since nobody after us may know: the
/// guest may pass the frame on. That of several segments together nobody ever sees.
std::uint32_t FrameReceiver::complete_checksum(const Shape& shape) const {
    const FrameHeader& header = start_.header;
    if (header.segmentation != segments_none) {
        return protocol::receive_tcp_succeeded;
    }
    if ((header.flags & frame_needs_checksum) == 0) {
        return (header.flags & frame_data_valid) != 0 ? checked_protocol(shape) : 0;
    }
    const std::size_t start = header.checksum_start;
    const std::size_t field = start + header.checksum_offset;
    if (start < first_bytes || field + sizeof(std::uint16_t) > shape.length) {
        return 0;
    }
    constexpr std::size_t skew = frame_offset - first_bytes;
    const SharedBuffer& buffer = *settings_->receive_buffer;
    parts_.clear();
    buffer.add(held_.front(), start + skew, shape.length - start, parts_);
    Checksum checksum;
    checksum.add(parts_);
    const bool is_udp = header.checksum_offset == udp_checksum_offset;
    std::uint16_t value = checksum.result();
    if (is_udp && value == 0) {
        value = 0xffff; // zero means that there is none
    }
    std::array<std::uint8_t, sizeof(value)> bytes{};
    store_big_16(bytes.data(), value);
    buffer.write(held_.front(), field + skew, bytes);
    return is_udp ? protocol::receive_udp_succeeded : protocol::receive_tcp_succeeded;
}

std::uint32_t FrameReceiver::checked_protocol(const Shape& shape) const {
    const std::size_t type_at =
        shape.has_tag ? ethernet_header_size + sizeof(std::uint16_t) : ethernet_addresses_size;
    constexpr std::size_t skew = frame_offset - first_bytes;
    const auto byte = [&](std::size_t at) {
        return at < first_bytes ? start_.bytes.at(at)
                                : settings_->receive_buffer->byte(held_.front(), at + skew);
    };
    if (shape.length < type_at + 2 + ipv4_header_size) {
        return 0;
    }
    const bool is_ipv4 = (byte(type_at) << 8 | byte(type_at + 1)) == ethertype_ipv4;
    const std::uint8_t kind = byte(type_at + 2 + (is_ipv4 ? 9U : 6U));
    return kind == protocol_tcp ? protocol::receive_tcp_succeeded
        : kind == protocol_udp  ? protocol::receive_udp_succeeded
                                : 0;
}

void FrameReceiver::put_part(const Shape& shape, std::size_t part, std::size_t body, Batch& batch) {
    const std::size_t in_body = std::min(room(), body - part * room());
    std::span<const std::uint8_t> first;
    if (part == 0) {
        first = std::span(start_.bytes).first(std::min(shape.length, first_bytes));
    }
    std::array<std::uint8_t, ethernet_addresses_size> addresses{};
    if (part == 0 && shape.has_tag) {
        std::ranges::copy(first.first(addresses.size()), addresses.begin());
        first = addresses;
    }
    MessageHead head(frame_offset - first.size(), first.size() + in_body);
    head.add_data(first);
    if (part == 0 && shape.checksum != 0) {
        head.add_info(protocol::info_checksum, shape.checksum);
    }
    if (part == 0 && shape.has_tag) {
        head.add_info(protocol::info_vlan, shape.tag);
    }
    if (shape.parts > 1) {
        const std::uint32_t flags = protocol::part_is_one |
            (part == 0 ? protocol::part_is_first : 0) |
            (part + 1 == shape.parts ? protocol::part_is_last : 0);
        head.add_info(protocol::info_part,
            protocol::part_version | flags << protocol::part_flags_shift |
                std::uint32_t{next_part_id_} << 16U);
    }
    const SharedBuffer& buffer = *settings_->receive_buffer;
    const std::uint32_t section = held_[part];
    buffer.write(section, 0, head.finish());
    batch.ranges.push_back(
        {static_cast<std::uint32_t>(frame_offset + in_body), section * buffer.section_size()});
    batch.sections.push_back(section);
}

} // namespace croft::vsp::network
