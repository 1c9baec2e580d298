// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/remote/message.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

// What the owner of the bus asks a service's owner beside VMBus (how the device is, what it saves):
// bytes that mean something to these two only, one answer to each question, in order.
namespace croft::vmbus::remote {

using Bytes = std::vector<std::uint8_t>;

/// The whole of a question or an answer.
constexpr std::size_t longest_content = std::size_t{8} << 20;

/// Gives the answer to a question, perhaps later; the next is asked then. Either may be
/// `longest_content` bytes.
using Management = std::function<void(
    std::span<const std::uint8_t> question, std::function<void(Bytes answer)> answered)>;

/// Sends `content` by as many messages as it takes, which are of the type `Part`.
template <typename Part>
void send_in_parts(std::span<const std::uint8_t> content, const std::function<void(Part)>& send) {
    do {
        const std::span<const std::uint8_t> part =
            content.first(std::min(content.size(), longest_part));
        content = content.subspan(part.size());
        send({content.empty(), {part.begin(), part.end()}});
    } while (!content.empty());
}

/// Puts the parts together again.
class Assembly {
public:
    /// Answers the whole if that was the last part. Errors: more than there may be.
    template <typename Part>
    [[nodiscard]] std::expected<std::optional<Bytes>, std::string> take(const Part& message) {
        if (message.part.size() > longest_content - content_.size()) {
            return std::unexpected("found a question or an answer of more than 8 MiB");
        }
        content_.insert(content_.end(), message.part.begin(), message.part.end());
        return message.last ? std::optional(std::exchange(content_, {})) : std::nullopt;
    }

private:
    Bytes content_;
};

} // namespace croft::vmbus::remote
