// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/remote/reactor.hpp"
#include "vmbus/vsp/channel_service.hpp"
#include "vmbus/vsp/ring_channel.hpp"
#include "vsp/integration/message.hpp"

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace croft::vsp::integration {

/// What all integration components have in common: one channel, on which the host asks and the
/// guest answers, and the versions that both agree on first. All calls are of the bus's thread.
///
/// It has no state to save: after a restore, as after each opening, both sides agree anew, which
/// the guests' drivers expect at any time.
class IntegrationService : public vmbus::ChannelService {
public:
    ~IntegrationService() override;

    void attached(vmbus::ChannelControl& control) final { control_ = &control; }
    void detached() final { control_ = nullptr; }
    void open(std::uint16_t sub_channel, vmbus::OpenChannel channel) final;
    void close(std::uint16_t sub_channel) final;
    void create_gpadl(std::uint16_t sub_channel, vmbus::Gpadl gpadl) final;
    void teardown_gpadl(std::uint16_t sub_channel, std::uint32_t id) final;
    void stop() final;
    void start() final;

    /// The guest's driver is there, both agree, and the VM runs.
    [[nodiscard]] bool is_ready() const { return running_ && version_.has_value(); }

protected:
    struct Kind {
        message::Type type;
        /// Of the messages; the newest first.
        std::span<const message::Version> versions;
    };

    IntegrationService(vmbus::Reactor& reactor, const Kind& kind)
        : reactor_(reactor),
          kind_(kind) {}

    struct Answer {
        std::uint8_t transaction;
        std::uint32_t status;
        std::span<const std::uint8_t> data;
    };

    /// `is_ready` has become true, or is again.
    virtual void begin() = 0;
    /// It isn't any more.
    virtual void end() = 0;
    /// The guest's answer to a request; not always to the last one, nor to one of this opening,
    /// since a guest may be slow. One that can't be an answer to any gets `fail`.
    virtual void answered(const Answer& answer) = 0;

    /// The guest has sent what no driver sends: the channel ends. `reason` is the line for the log.
    void fail(std::string_view reason);

    /// Sends a request; nothing if the guest has left no room for it. Only while ready. Answers the
    /// number of the transaction.
    template <typename Data>
    requires std::is_trivially_copyable_v<Data> std::optional<std::uint8_t> send(const Data& data) {
        std::vector<std::uint8_t> bytes(sizeof(data));
        std::memcpy(bytes.data(), &data, sizeof(data));
        return send_bytes(kind_.type, bytes);
    }

    /// What was agreed on. Only while ready.
    [[nodiscard]] message::Version version() const { return version_->message; }

private:
    struct Agreed {
        message::Version framework;
        message::Version message;
    };

    void negotiate();
    void serve();
    void handle(std::span<const std::uint8_t> packet);
    void handle_negotiation(std::uint8_t transaction, std::span<const std::uint8_t> data);
    void agree(const Agreed& chosen);
    void lose_version();
    std::optional<std::uint8_t> send_bytes(message::Type type, std::span<const std::uint8_t> data);

    vmbus::Reactor& reactor_;
    const Kind kind_;
    vmbus::ChannelControl* control_ = nullptr;
    std::optional<vmbus::RingChannel> channel_;
    bool running_ = false;
    bool failed_ = false;
    bool negotiation_due_ = false;
    std::optional<Agreed> version_;
    std::uint8_t transaction_ = 0;
};

} // namespace croft::vsp::integration
