// SPDX-License-Identifier: Apache-2.0
#include "vmbus/remote/message.hpp"

#include "vmbus/protocol/gpa_range.hpp"

#include <algorithm>
#include <array>
#include <concepts>
#include <cstring>
#include <fmt/format.h>
#include <optional>
#include <utility>

namespace croft::vmbus::remote {

namespace {

class Writer {
public:
    template <std::unsigned_integral T>
    void number(T value) {
        for (std::size_t i = 0; i < sizeof(T); ++i) {
            bytes_.push_back(static_cast<std::uint8_t>(std::uint64_t{value} >> (8 * i)));
        }
    }
    void flag(bool value) { bytes_.push_back(value ? 1 : 0); }
    void raw(std::span<const std::uint8_t> bytes) {
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    }
    void numbers(std::span<const std::uint64_t> values) {
        number(static_cast<std::uint32_t>(values.size()));
        for (const std::uint64_t value : values) {
            number(value);
        }
    }
    [[nodiscard]] std::vector<std::uint8_t> take() { return std::move(bytes_); }

private:
    std::vector<std::uint8_t> bytes_;
};

/// Reads zeros once there is nothing left, and knows it.
class Reader {
public:
    explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    template <std::unsigned_integral T>
    T number() {
        T value = 0;
        std::array<std::uint8_t, sizeof(T)> raw_bytes{};
        raw(raw_bytes);
        for (std::size_t i = 0; i < sizeof(T); ++i) {
            value = static_cast<T>(value | static_cast<T>(T{raw_bytes[i]} << (8 * i)));
        }
        return value;
    }
    bool flag() {
        const auto value = number<std::uint8_t>();
        ok_ = ok_ && value <= 1;
        return value == 1;
    }
    void raw(std::span<std::uint8_t> into) {
        if (into.size() > bytes_.size()) {
            ok_ = false;
            return;
        }
        std::ranges::copy(bytes_.first(into.size()), into.begin());
        bytes_ = bytes_.subspan(into.size());
    }
    /// A count of things that take `size` bytes each and are all still there.
    std::size_t count(std::size_t size) {
        const auto value = number<std::uint32_t>();
        if (value > bytes_.size() / size) {
            ok_ = false;
            return 0;
        }
        return value;
    }
    std::vector<std::uint64_t> numbers() {
        std::vector<std::uint64_t> values(count(sizeof(std::uint64_t)));
        for (std::uint64_t& value : values) {
            value = number<std::uint64_t>();
        }
        return values;
    }
    void require(bool condition) { ok_ = ok_ && condition; }
    [[nodiscard]] bool is_done() const { return ok_ && bytes_.empty(); }

private:
    std::span<const std::uint8_t> bytes_;
    bool ok_ = true;
};

void write(Writer& out, const Hello& message) {
    out.number(message.version);
    out.raw(message.offer.interface_type.bytes);
    out.raw(message.offer.instance.bytes);
    out.number(message.offer.flags);
    out.number(message.offer.mmio_megabytes);
    out.raw(message.offer.user_defined);
}

void read(Reader& in, Hello& message) {
    message.version = in.number<std::uint32_t>();
    in.raw(message.offer.interface_type.bytes);
    in.raw(message.offer.instance.bytes);
    message.offer.flags = in.number<std::uint16_t>();
    message.offer.mmio_megabytes = in.number<std::uint16_t>();
    in.raw(message.offer.user_defined);
}

void write(Writer& out, const Welcome& message) {
    out.number(message.version);
    out.number(static_cast<std::uint32_t>(message.ranges.size()));
    for (const MemoryFileRange& range : message.ranges) {
        out.number(range.start);
        out.number(range.size);
        out.number(range.file_offset);
    }
}

void read(Reader& in, Welcome& message) {
    message.version = in.number<std::uint32_t>();
    message.ranges.resize(in.count(24));
    in.require(message.ranges.size() <= most_memory_ranges);
    for (MemoryFileRange& range : message.ranges) {
        range.start = in.number<std::uint64_t>();
        range.size = in.number<std::uint64_t>();
        range.file_offset = in.number<std::uint64_t>();
    }
}

void write(Writer& out, const Open& message) {
    out.number(message.sub_channel);
    out.number(message.channel.version);
    out.number(message.channel.target_vp);
    out.flag(message.channel.restored);
    out.raw(message.channel.user_data);
    out.numbers(message.channel.incoming_pages);
    out.numbers(message.channel.outgoing_pages);
}

void read(Reader& in, Open& message) {
    message.sub_channel = in.number<std::uint16_t>();
    message.channel.version = in.number<std::uint32_t>();
    message.channel.target_vp = in.number<std::uint32_t>();
    message.channel.restored = in.flag();
    in.raw(message.channel.user_data);
    message.channel.incoming_pages = in.numbers();
    message.channel.outgoing_pages = in.numbers();
}

void write(Writer& out, const CreateGpadl& message) {
    out.number(message.sub_channel);
    out.number(message.gpadl.id);
    out.number(static_cast<std::uint32_t>(message.gpadl.ranges.size()));
    for (const GpadlRange& range : message.gpadl.ranges) {
        out.number(range.byte_count);
        out.number(range.byte_offset);
        out.numbers(range.pages);
    }
}

void read(Reader& in, CreateGpadl& message) {
    message.sub_channel = in.number<std::uint16_t>();
    message.gpadl.id = in.number<std::uint32_t>();
    message.gpadl.ranges.resize(in.count(12));
    for (GpadlRange& range : message.gpadl.ranges) {
        range.byte_count = in.number<std::uint32_t>();
        range.byte_offset = in.number<std::uint32_t>();
        range.pages = in.numbers();
        in.require(range.byte_count != 0 && range.byte_offset < protocol::page_size &&
            range.pages.size() == protocol::pages_of(range.byte_count, range.byte_offset));
    }
    in.require(!message.gpadl.ranges.empty());
}

template <typename T>
concept OfSubChannelOnly =
    std::same_as<T, Close> || std::same_as<T, Opened> || std::same_as<T, Closed>;

void write(Writer& out, const OfSubChannelOnly auto& message) {
    out.number(message.sub_channel);
}
void read(Reader& in, OfSubChannelOnly auto& message) {
    message.sub_channel = in.number<std::uint16_t>();
}

template <typename T>
concept OfGpadlOnly = std::same_as<T, TeardownGpadl> || std::same_as<T, GpadlTornDown>;

void write(Writer& out, const OfGpadlOnly auto& message) {
    out.number(message.sub_channel);
    out.number(message.id);
}
void read(Reader& in, OfGpadlOnly auto& message) {
    message.sub_channel = in.number<std::uint16_t>();
    message.id = in.number<std::uint32_t>();
}

template <typename T>
concept Empty = std::same_as<T, Stop> || std::same_as<T, Start> || std::same_as<T, Stopped>;

void write(Writer& /*out*/, const Empty auto& /*message*/) {}
void read(Reader& /*in*/, Empty auto& /*message*/) {}

void write(Writer& out, const GpadlCreated& message) {
    out.number(message.sub_channel);
    out.number(message.id);
    out.flag(message.accepted);
}
void read(Reader& in, GpadlCreated& message) {
    message.sub_channel = in.number<std::uint16_t>();
    message.id = in.number<std::uint32_t>();
    message.accepted = in.flag();
}

void write(Writer& out, const OfferSubChannels& message) {
    out.number(message.count);
}
void read(Reader& in, OfferSubChannels& message) {
    message.count = in.number<std::uint16_t>();
}

bool is_printable(char character) {
    return character >= 0x20 && character < 0x7f;
}

template <typename T>
concept WithReason =
    std::same_as<T, Fail> || std::same_as<T, OpenRefused> || std::same_as<T, RequestRefused>;

void write(Writer& out, const WithReason auto& message) {
    const std::string_view reason = std::string_view(message.reason).substr(0, longest_reason);
    out.number(message.sub_channel);
    out.number(static_cast<std::uint32_t>(reason.size()));
    for (const char character : reason) {
        out.number(static_cast<std::uint8_t>(is_printable(character) ? character : '?'));
    }
}
void read(Reader& in, WithReason auto& message) {
    message.sub_channel = in.number<std::uint16_t>();
    message.reason.resize(in.count(1));
    in.require(message.reason.size() <= longest_reason);
    for (char& character : message.reason) {
        character = static_cast<char>(in.number<std::uint8_t>());
        // It goes to a log, which others read in a terminal.
        in.require(is_printable(character));
    }
}

template <typename T>
concept Part = std::same_as<T, Ask> || std::same_as<T, Answer>;

void write(Writer& out, const Part auto& message) {
    out.flag(message.last);
    out.number(static_cast<std::uint32_t>(message.part.size()));
    out.raw(message.part);
}
void read(Reader& in, Part auto& message) {
    message.last = in.flag();
    message.part.resize(in.count(1));
    in.raw(message.part);
    // One that brings nothing on would never end.
    in.require(message.part.size() <= longest_part && (message.last || !message.part.empty()));
}

template <typename T>
constexpr std::size_t descriptors_for = std::same_as<T, Open> ? 2
    : std::same_as<T, Welcome>                                ? 1
                                                              : 0;

void adopt(Welcome& message, std::vector<Descriptor>& descriptors) {
    message.memory = std::move(descriptors[0]);
}
void adopt(Open& message, std::vector<Descriptor>& descriptors) {
    message.channel.event = std::move(descriptors[0]);
    message.interrupt = std::move(descriptors[1]);
}
void adopt(auto& /*message*/, std::vector<Descriptor>& /*descriptors*/) {}

template <typename T>
std::optional<Message> decode_as(Reader& in, std::vector<Descriptor>& descriptors) {
    T message;
    read(in, message);
    if (!in.is_done() || descriptors.size() != descriptors_for<T>) {
        return std::nullopt;
    }
    adopt(message, descriptors);
    return Message(std::move(message));
}

template <std::size_t... Index>
std::optional<Message> decode_type(std::size_t type, Reader& in,
    std::vector<Descriptor>& descriptors, std::index_sequence<Index...> /*types*/) {
    std::optional<Message> result;
    (void)((type == Index &&
               ((result = decode_as<std::variant_alternative_t<Index, Message>>(in, descriptors)),
                   true)) ||
        ...);
    return result;
}

} // namespace

std::vector<std::uint8_t> encode(const Message& message) {
    Writer out;
    out.number(static_cast<std::uint32_t>(message.index()));
    std::visit([&](const auto& content) { write(out, content); }, message);
    return out.take();
}

std::vector<int> descriptors_of(const Message& message) {
    if (const auto* welcome = std::get_if<Welcome>(&message)) {
        return {welcome->memory.get()};
    }
    if (const auto* open = std::get_if<Open>(&message)) {
        return {open->channel.event.get(), open->interrupt.get()};
    }
    return {};
}

std::expected<Message, std::string> decode(
    std::span<const std::uint8_t> bytes, std::vector<Descriptor> descriptors) {
    Reader in(bytes);
    const auto type = in.number<std::uint32_t>();
    std::optional<Message> message = decode_type(
        type, in, descriptors, std::make_index_sequence<std::variant_size_v<Message>>());
    if (!message) {
        return std::unexpected(
            fmt::format("found a message of type {} with {} bytes and {} descriptors that isn't "
                        "one, expected version {} of the protocol",
                type, bytes.size(), descriptors.size(), protocol_version));
    }
    return std::move(*message);
}

} // namespace croft::vmbus::remote
