// SPDX-License-Identifier: Apache-2.0
#include "vsp/integration/shutdown.hpp"

#include "disk/utf16.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace croft::vsp::integration {

namespace {

constexpr std::array shutdown_versions = {
    message::Version{3, 2}, message::Version{3, 1}, message::Version{3, 0}, message::Version{1, 0}};

std::uint32_t flags_of(const Shutdown::Request& request) {
    std::uint32_t flags = request.forced ? message::shutdown_forced : 0;
    switch (request.action) {
    case Shutdown::Action::power_off:
        break;
    case Shutdown::Action::reboot:
        flags |= message::shutdown_reboot;
        break;
    case Shutdown::Action::hibernate:
        flags |= message::shutdown_hibernate;
        break;
    }
    return flags;
}

} // namespace

Shutdown::Shutdown(vmbus::Reactor& reactor)
    : IntegrationService(reactor, {message::Type::shutdown, shutdown_versions}) {}

Shutdown::Asked Shutdown::request(const Request& request, std::function<void(std::uint32_t)> done) {
    if (!is_ready()) {
        return Asked::nobody_there;
    }
    if (pending_) {
        return Asked::unanswered;
    }
    message::Shutdown asked{};
    asked.reason = message::shutdown_planned;
    asked.flags = flags_of(request);
    const auto text = disk::utf16_from_utf8(request.text);
    const auto bytes = std::span(text).first(std::min(text.size(), sizeof(asked.text) - 2));
    std::ranges::copy(bytes, std::as_writable_bytes(std::span(asked.text)).begin());
    const auto transaction = send(asked);
    if (!transaction) {
        return Asked::nobody_there;
    }
    pending_ = {*transaction, std::move(done)};
    return Asked::yes;
}

void Shutdown::answered(const Answer& answer) {
    if (pending_ && pending_->transaction == answer.transaction) {
        finish(answer.status);
    }
}

void Shutdown::finish(std::uint32_t status) {
    if (const auto pending = std::exchange(pending_, std::nullopt)) {
        pending->done(status);
    }
}

} // namespace croft::vsp::integration
