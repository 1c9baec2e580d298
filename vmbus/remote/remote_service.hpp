// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/mapped_memory.hpp"
#include "vmbus/remote/connection.hpp"
#include "vmbus/remote/management.hpp"
#include "vmbus/remote/reactor.hpp"
#include "vmbus/remote/successor.hpp"
#include "vmbus/vsp/channel_service.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace croft::vmbus::remote {

/// The bus's end of a service in another process. That process is hostile: it can end its own
/// device and do nothing else. When it is gone, all that it had still to answer is answered for it;
/// one that gives no answer in time is sent away.
class RemoteService final : public ChannelService {
public:
    struct Events {
        /// The process has said what it offers: `Server::add` is to be called, perhaps at once.
        /// Answers why not, if it may not offer that; then it has ended.
        std::function<std::string(const Offer&)> offered;
        /// The process is to be ended, if it hasn't: on return it doesn't touch the guest's memory
        /// any more. Called before anything is answered for it. May be empty.
        std::function<void()> end_process;
        /// The process is gone, or was sent away for what `reason` says: `Server::withdraw` or
        /// `remove` is to be called if it was added, and the object stays until it is detached.
        std::function<void(const std::string& reason)> ended;
        /// Takes over what the guest has open then; null if nobody does. It outlives the object.
        Successor* successor = nullptr;
    };

    /// What is asked of the bus and of the process's owner; nothing if the process is gone before
    /// it has answered.
    using Answered = std::function<void(std::optional<Bytes>)>;

    /// How long a process may owe answers without giving one.
    static constexpr std::chrono::milliseconds patience = std::chrono::seconds(30);

    /// `memory` is handed to the process and stays the caller's, as does `reactor`.
    RemoteService(Reactor& reactor, Descriptor socket, MemoryFile memory, Events events,
        std::chrono::milliseconds most_patience = patience);
    ~RemoteService() override;

    /// Takes the greeting now if it has come: for a caller that has waited for it on the socket.
    void greet() { connection_.receive(); }

    /// Asks the process's owner something that isn't the bus's affair. `answered` is called once,
    /// perhaps at once.
    void ask(std::span<const std::uint8_t> question, Answered answered);

    /// Ends the connection from this side, as if the process had died. `reason` goes to
    /// `Events::ended`.
    void send_away(std::string_view reason);

    void attached(ChannelControl& control) override;
    void detached() override;
    void open(std::uint16_t sub_channel, OpenChannel channel) override;
    void close(std::uint16_t sub_channel) override;
    void create_gpadl(std::uint16_t sub_channel, Gpadl gpadl) override;
    void teardown_gpadl(std::uint16_t sub_channel, std::uint32_t id) override;
    void stop() override;
    void start() override;

    [[nodiscard]] bool is_attached() const { return control_ != nullptr; }

private:
    /// The way of a channel's interrupts: from an eventfd that the process rings.
    struct Signals {
        Descriptor event;
        std::shared_ptr<Interrupt> interrupt;
    };
    using GpadlKey = std::pair<std::uint16_t, std::uint32_t>;

    [[nodiscard]] std::string received(Message message);
    [[nodiscard]] std::string take(Hello& message);
    [[nodiscard]] std::string take(Opened& message);
    [[nodiscard]] std::string take(OpenRefused& message);
    [[nodiscard]] std::string take(Closed& message);
    [[nodiscard]] std::string take(GpadlCreated& message);
    [[nodiscard]] std::string take(GpadlTornDown& message);
    [[nodiscard]] std::string take(Stopped& message);
    [[nodiscard]] std::string take(OfferSubChannels& message);
    [[nodiscard]] std::string take(RequestRefused& message);
    [[nodiscard]] std::string take(Fail& message);
    [[nodiscard]] std::string take(Answer& message);
    template <typename Other>
    [[nodiscard]] std::string take(Other& message);

    void refuse_open(std::uint16_t sub_channel, std::string_view reason);
    [[nodiscard]] Descriptor connect_signals(
        std::uint16_t sub_channel, std::shared_ptr<Interrupt> interrupt);
    void disconnect_signals(std::uint16_t sub_channel);
    [[nodiscard]] bool keep(std::uint16_t sub_channel, const OpenChannel& channel);
    void hand_over();
    void answer_for_it();
    void ended(const std::string& reason);
    void send_question();
    [[nodiscard]] bool owes() const;
    void expect_answer();
    void got_answer();
    void set_timer(std::chrono::milliseconds time);

    Reactor& reactor_;
    MemoryFile memory_;
    Events events_;
    Connection connection_;
    ChannelControl* control_ = nullptr;
    bool greeted_ = false;
    bool gone_ = false;

    // What the process has still to answer.
    std::set<std::uint16_t> opening_;
    std::set<std::uint16_t> closing_;
    std::set<GpadlKey> creating_;
    std::set<GpadlKey> tearing_down_;
    bool stopping_ = false;
    struct Question {
        Bytes content;
        Answered answered;
    };
    /// The first is being answered, the others wait.
    std::deque<Question> questions_;
    Assembly answer_;

    const std::chrono::milliseconds patience_;
    Descriptor timer_;
    bool is_timed_ = false;

    std::map<std::uint16_t, Signals> signals_;
    bool running_ = false;
    /// What the channels consist of that are open, for a successor.
    std::map<std::uint16_t, OpenChannel> open_;
};

} // namespace croft::vmbus::remote
