// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/mapped_memory.hpp"
#include "vmbus/remote/connection.hpp"
#include "vmbus/remote/management.hpp"
#include "vmbus/remote/reactor.hpp"
#include "vmbus/vsp/channel_service.hpp"
#include "vmbus/vsp/offer.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace croft::vmbus::remote {

/// The service's end: in the service's process it is the bus. It believes nothing that comes by the
/// socket, so that a worker that was taken over by its guest can't take over the service. When the
/// socket ends, the service is told to close everything and is detached.
class RemoteBus final : public ChannelControl {
public:
    /// `ended` is the last call, after the service was detached. `manage` answers what the bus's
    /// owner asks, on the reactor's thread, if there is something to be asked. `reactor` and
    /// `service` outlive the object.
    RemoteBus(Reactor& reactor, Descriptor socket, const Offer& offer, ChannelService& service,
        std::function<void(const std::string& reason)> ended, Management manage = nullptr);

    /// Whether the service is stopped and was asked for nothing that it hasn't answered: what it
    /// has doesn't change then.
    [[nodiscard]] bool is_idle() const;
    /// Whether it has channels, also those that are being opened or closed.
    [[nodiscard]] bool has_channels() const { return !channels_.empty(); }

    [[nodiscard]] const GuestPages& memory() const override { return *memory_; }
    void opened(std::uint16_t sub_channel) override;
    void open_refused(std::uint16_t sub_channel, std::string_view reason) override;
    void closed(std::uint16_t sub_channel) override;
    void gpadl_created(std::uint16_t sub_channel, std::uint32_t id, bool accepted) override;
    void gpadl_torn_down(std::uint16_t sub_channel, std::uint32_t id) override;
    void stopped() override;
    void offer_sub_channels(std::uint16_t count) override;
    void request_refused(std::uint16_t sub_channel, std::string_view reason) override;
    void fail(std::uint16_t sub_channel, std::string_view reason) override;

private:
    /// Of a channel or a GPADL, as the service has it.
    enum class State : std::uint8_t { beginning, there, ending };
    using GpadlKey = std::pair<std::uint16_t, std::uint32_t>;

    [[nodiscard]] std::string received(Message message);
    [[nodiscard]] std::string take(Welcome& message);
    [[nodiscard]] std::string take(Open& message);
    [[nodiscard]] std::string take(Close& message);
    [[nodiscard]] std::string take(CreateGpadl& message);
    [[nodiscard]] std::string take(TeardownGpadl& message);
    [[nodiscard]] std::string take(Stop& message);
    [[nodiscard]] std::string take(Start& message);
    [[nodiscard]] std::string take(Ask& message);
    template <typename Other>
    [[nodiscard]] std::string take(Other& message);

    [[nodiscard]] bool are_memory(const std::vector<std::uint64_t>& pages) const;
    void socket_ended(const std::string& reason);
    void wind_up();

    ChannelService& service_;
    std::function<void(const std::string& reason)> ended_;
    Management manage_;
    Assembly question_;
    bool is_answering_ = false;
    std::unique_ptr<MappedMemory> memory_;
    std::map<std::uint16_t, State> channels_;
    std::map<GpadlKey, State> gpadls_;
    bool running_ = false;
    bool stopping_ = false;
    bool gone_ = false;
    bool winding_up_ = false;
    std::string reason_;
    Connection connection_;
};

/// What a service says on its socket in place of all that if it can't begin.
void refuse_service(int socket, std::string_view reason);

} // namespace croft::vmbus::remote
