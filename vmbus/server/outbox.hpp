// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/protocol/message.hpp"
#include "vmbus/server/host.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <span>
#include <type_traits>
#include <vector>

namespace croft::vmbus {

/// Messages that the guest hasn't taken yet, in their order. It can't grow without bound: answers
/// are counted and the server takes no request while there are too many (Server::receive); all else
/// is sent once for each channel that the host has.
class Outbox {
public:
    /// `is_answer`: to something the guest has asked.
    template <typename Message>
    requires std::is_trivially_copyable_v<Message>
    void put(const Message& message, bool is_answer) {
        std::vector<std::uint8_t> bytes(sizeof(message));
        std::memcpy(bytes.data(), &message, sizeof(message));
        put_bytes(std::move(bytes), is_answer);
    }
    void put_bytes(std::vector<std::uint8_t> bytes, bool is_answer);

    /// Posts what can be posted.
    void pump(Host& host, std::uint32_t vp);

    void clear();
    [[nodiscard]] std::size_t answers() const { return answers_; }
    [[nodiscard]] bool empty() const { return messages_.empty(); }

    struct Message {
        std::vector<std::uint8_t> bytes;
        bool is_answer = false;
    };
    /// For a saved state.
    [[nodiscard]] const std::deque<Message>& messages() const { return messages_; }

private:
    std::deque<Message> messages_;
    std::size_t answers_ = 0;
};

} // namespace croft::vmbus
