// SPDX-License-Identifier: Apache-2.0
#include "vsp/integration/key_value.hpp"

#include "disk/utf16.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace croft::vsp::integration {

namespace {

constexpr std::array versions = {
    message::Version{4, 0}, message::Version{3, 0}, message::Version{1, 0}};

/// `size` is what the guest says.
std::string text_of(std::span<const std::uint8_t> bytes, std::uint32_t size) {
    return disk::utf8_from_utf16(
        std::as_bytes(bytes.first(std::min<std::size_t>(bytes.size(), size))));
}

} // namespace

KeyValue::KeyValue(vmbus::Reactor& reactor)
    : IntegrationService(reactor, {message::Type::key_value_exchange, versions}) {}

void KeyValue::read(std::function<void(const Items&)> done) {
    waiting_.push_back(std::move(done));
    if (!is_ready()) {
        finish();
    } else if (waiting_.size() == 1) {
        index_ = 0;
        ask();
    }
}

void KeyValue::ask() {
    message::KeyValueEnumerate question{};
    question.operation = message::key_value_enumerate;
    question.pool = message::key_value_pool_auto;
    question.index = index_;
    const auto transaction = send(question);
    if (!transaction) {
        finish();
        return;
    }
    transaction_ = *transaction;
}

void KeyValue::answered(const Answer& answer) {
    message::KeyValueEnumerate item{};
    if (waiting_.empty() || answer.transaction != transaction_) {
        return;
    }
    // The guest's status says that there is no such item, or that something is wrong.
    if (answer.status != message::status_ok || answer.data.size() < sizeof(item) ||
        index_ == most_items) {
        finish();
        return;
    }
    std::memcpy(&item, answer.data.data(), sizeof(item));
    items_.emplace_back(text_of(item.data.key, item.data.key_size),
        text_of(item.data.value, item.data.value_size));
    ++index_;
    ask();
}

void KeyValue::finish() {
    const auto waiting = std::exchange(waiting_, {});
    const auto items = std::exchange(items_, {});
    for (const auto& done : waiting) {
        done(items);
    }
}

} // namespace croft::vsp::integration
