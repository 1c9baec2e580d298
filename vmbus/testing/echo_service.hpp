// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/remote/reactor.hpp"
#include "vmbus/vsp/channel_service.hpp"
#include "vmbus/vsp/ring_channel.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace croft::vmbus::testing {

/// A service provider that sends every packet back as its completion. It fills the first byte of
/// each range of a GPA-direct packet with 0x5a, and offers as many sub-channels as a packet's
/// second word says whose first word is `offer_sub_channels`.
class EchoService final : public ChannelService {
public:
    static constexpr std::uint64_t offer_sub_channels = 0x6c656e6e61686300;
    static constexpr std::uint32_t largest_packet = 16384;

    explicit EchoService(Reactor& reactor) : reactor_(reactor) {}
    ~EchoService() override;

    void attached(ChannelControl& control) override { control_ = &control; }
    void detached() override { control_ = nullptr; }
    void open(std::uint16_t sub_channel, OpenChannel channel) override;
    void close(std::uint16_t sub_channel) override;
    void create_gpadl(std::uint16_t sub_channel, Gpadl gpadl) override;
    void teardown_gpadl(std::uint16_t sub_channel, std::uint32_t id) override;
    void stop() override;
    void start() override;

    /// Keeps its answers for itself until `answer_held`.
    void hold_answers(bool hold) { hold_ = hold; }
    void answer_held();
    void refuse_opens(bool refuse) { refuse_opens_ = refuse; }
    void refuse_gpadls(bool refuse) { refuse_gpadls_ = refuse; }

    [[nodiscard]] bool is_attached() const { return control_ != nullptr; }
    [[nodiscard]] bool is_running() const { return running_; }
    [[nodiscard]] std::size_t open_channels() const { return channels_.size(); }
    [[nodiscard]] bool was_restored() const { return was_restored_; }
    [[nodiscard]] const std::map<std::pair<std::uint16_t, std::uint32_t>, Gpadl>& gpadls() const {
        return gpadls_;
    }
    [[nodiscard]] std::size_t held_answers() const { return held_.size(); }
    [[nodiscard]] ChannelControl* control() const { return control_; }

private:
    struct Reply {
        std::uint64_t transaction_id;
        std::vector<std::uint8_t> payload;
    };
    struct OpenRings {
        explicit OpenRings(RingChannel channel) : rings(std::move(channel)) {}
        RingChannel rings;
        std::optional<Reply> waiting;
        bool failed = false;
    };

    void answer(std::function<void()> answer);
    void serve(std::uint16_t index);
    [[nodiscard]] RingResult<bool> serve_rings(OpenRings& open);
    [[nodiscard]] RingResult<bool> handle(OpenRings& open, const Packet& packet);
    [[nodiscard]] static RingResult<bool> reply(OpenRings& open);
    void fill_ranges(const Packet& packet);
    void watch(std::uint16_t index);

    Reactor& reactor_;
    ChannelControl* control_ = nullptr;
    bool running_ = false;
    bool hold_ = false;
    bool refuse_opens_ = false;
    bool refuse_gpadls_ = false;
    bool was_restored_ = false;
    std::deque<std::function<void()>> held_;
    std::map<std::uint16_t, OpenRings> channels_;
    std::map<std::pair<std::uint16_t, std::uint32_t>, Gpadl> gpadls_;
};

} // namespace croft::vmbus::testing
