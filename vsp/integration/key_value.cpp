// SPDX-License-Identifier: Apache-2.0
#include "vsp/integration/key_value.hpp"

#include "disk/utf16.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>
#include <utility>

namespace croft::vsp::integration {

namespace {

constexpr std::array key_value_versions = {
    message::Version{4, 0}, message::Version{3, 0}, message::Version{1, 0}};

std::string text_of(std::span<const std::uint8_t> bytes, std::uint32_t size) {
    return disk::utf8_from_utf16(std::as_bytes(bytes.first(size)));
}

} // namespace

KeyValue::KeyValue(vmbus::Reactor& reactor, vdev::Clock& clock, vdev::TimerService& timers)
    : IntegrationService(reactor, {message::Type::key_value_exchange, key_value_versions}),
      clock_(clock),
      timer_(timers.create_timer([this] { ask_anew(); })) {}

void KeyValue::end() {
    timer_->disarm();
    items_.clear();
}

void KeyValue::ask_anew() {
    coming_.clear();
    ask();
}

/// The timer is for the next round, and for a guest that doesn't answer.
void KeyValue::ask() {
    if (!is_ready()) {
        return;
    }
    message::KeyValueEnumerate question{};
    question.operation = message::key_value_enumerate;
    question.pool = message::key_value_pool_auto;
    question.index = static_cast<std::uint32_t>(coming_.size());
    if (const auto transaction = send(question)) {
        transaction_ = *transaction;
    }
    timer_->arm(clock_.now() + interval);
}

void KeyValue::answered(const Answer& answer) {
    if (answer.transaction != transaction_) {
        return;
    }
    // The guest's status says that there is no such item, or that something is wrong.
    if (answer.status != message::status_ok || coming_.size() == most_items) {
        items_ = std::exchange(coming_, {});
        ++transaction_; // nothing is asked now
        return;
    }
    message::KeyValueEnumerate item{};
    if (answer.data.size() < sizeof(item)) {
        fail(fmt::format(
            "found an item of {} bytes, expected {}", answer.data.size(), sizeof(item)));
        return;
    }
    std::memcpy(&item, answer.data.data(), sizeof(item));
    take(item.data);
}

void KeyValue::take(const message::KeyValueData& item) {
    if (item.key_size > sizeof(item.key) || item.value_size > sizeof(item.value)) {
        fail(fmt::format("found a name of {} and a value of {} bytes, expected at most {} and {}",
            item.key_size, item.value_size, sizeof(item.key), sizeof(item.value)));
        return;
    }
    coming_.emplace_back(text_of(item.key, item.key_size), text_of(item.value, item.value_size));
    ask();
}

} // namespace croft::vsp::integration
