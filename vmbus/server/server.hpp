// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/record.hpp"
#include "vmbus/gpadl/gpadl_table.hpp"
#include "vmbus/server/channel.hpp"
#include "vmbus/server/host.hpp"
#include "vmbus/server/outbox.hpp"
#include "vmbus/vsp/channel_service.hpp"
#include "vmbus/vsp/offer.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace croft::vmbus {

struct ServerState;

struct ServerLimits {
    GpadlLimits gpadls;
    /// Answers that the guest hasn't taken and those that it has still to get: with so many the
    /// server takes no more requests.
    std::size_t answers = 256;
    /// Lines about misbehaviour, between two resets. How a device's channels end is counted for
    /// each device: no amount of other nonsense hides it.
    unsigned reports = 64;
    unsigned ends_per_device = 64;
    std::uint16_t sub_channels_per_device = 256;
};

/// The host's side of VMBus for one VM: which devices there are, the guest's connection, its
/// channels and GPADLs. Data doesn't come by here, it goes between guest and service.
///
/// All calls are made by one thread, the bus's; none blocks. A fresh server is stopped.
class Server {
public:
    using DeviceId = std::uint32_t;

    /// `host` outlives the server.
    explicit Server(Host& host, ServerLimits limits = {});
    /// Services that are still there get no call any more, and must make none.
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// Makes a device known; a guest that is connected sees it at once. `service` lives until it is
    /// detached. Errors: DeviceError if there is a device of that instance.
    DeviceId add(const Offer& offer, ChannelService& service);
    /// Tells the guest that the device goes. What the guest has open stays open, and served, until
    /// it closes that itself: a driver may wait for answers before it does. When the guest has let
    /// go of everything the service is detached, and `done` is called, perhaps at once; also of one
    /// that isn't there.
    void withdraw(
        DeviceId id, std::function<void()> done = [] {});
    /// Takes the device away from the guest, or what is left of one that was withdrawn. The service
    /// is detached as soon as it has let go of everything, even if the guest takes no notice;
    /// `done` is called then, perhaps at once, and after that of the withdrawal.
    void remove(
        DeviceId id, std::function<void()> done = [] {});

    enum class Receipt : std::uint8_t {
        done,
        /// Not taken: the guest has to post it again, as after HV_STATUS_INSUFFICIENT_BUFFERS.
        later,
    };
    /// A message that the guest has posted on one of the message connections.
    [[nodiscard]] Receipt receive(std::span<const std::uint8_t> payload);
    /// The guest may have taken a message (Host::Posted::busy).
    void retry();

    /// Begins, or goes on. Only while stopped.
    void start();
    /// Ends that: `done` is called, perhaps at once, when no request is under way, no message is
    /// posted and all services have stopped. Only while running.
    void stop(std::function<void()> done);
    /// The guest is gone, as after a reset: `done` is called, perhaps at once, when nothing of it
    /// is left.
    void reset(std::function<void()> done);

    /// All that the guest knows. Only while stopped.
    [[nodiscard]] vdev::Record save() const;
    /// Takes it over, with the devices that there are; services get their GPADLs and open channels
    /// back. Only on a fresh server that has been given its devices. Errors: RecordError, and the
    /// server is as before.
    void restore(const vdev::Record& record);

    /// Negotiated with the guest; 0 without a connection.
    [[nodiscard]] protocol::Version version() const {
        return connection_ == Connection::connected ? version_ : 0;
    }

private:
    friend class OfferedDevice;
    class Entry;

    enum class Connection : std::uint8_t { disconnected, connected, disconnecting };

    /// What follows when everything of a connection is gone.
    enum class Next : std::uint8_t { nothing, answer_unload, make_contact };

    // server.cpp: devices and offers
    [[nodiscard]] OfferedDevice* device(DeviceId id) const;
    void offer_sub_channels(OfferedDevice& device, std::uint16_t count);
    void rescind(Channel& channel);
    void tell_rescind(Channel& channel);
    void rescind_sub_channels(OfferedDevice& device);
    [[nodiscard]] bool may_be_offered(const Channel& channel) const;
    [[nodiscard]] std::uint32_t free_relid() const;
    void make_offers();
    void put_offer(Channel& channel);
    void report(std::string_view line);
    void report_end(OfferedDevice& device, std::string_view line);

    // settle.cpp: what follows from a change
    void settle();
    [[nodiscard]] bool is_quiet(const Channel& channel) const;
    [[nodiscard]] bool has_operations() const;
    void release_relids();
    void detach_devices();
    void disconnect(Next next);
    void finish_disconnect();
    void ask_to_stop();
    void finish_stop();

    // messages.cpp: what the guest asks
    [[nodiscard]] bool must_wait(protocol::MessageType type) const;
    void dispatch(protocol::MessageType type, std::span<const std::uint8_t> payload);
    [[nodiscard]] Channel* channel(std::uint32_t relid, std::string_view what);
    void initiate_contact(std::span<const std::uint8_t> payload);
    void complete_contact();
    void request_offers();
    void gpadl_header(std::span<const std::uint8_t> payload);
    void gpadl_body(std::span<const std::uint8_t> payload);
    void gpadl_teardown(std::span<const std::uint8_t> payload);
    void open_channel(std::span<const std::uint8_t> payload);
    void close_channel(std::span<const std::uint8_t> payload);
    void relid_released(std::span<const std::uint8_t> payload);
    void modify_channel(std::span<const std::uint8_t> payload);
    [[nodiscard]] std::string_view why_not_retarget(const Channel& channel, std::uint32_t vp);
    [[nodiscard]] bool retarget(std::uint32_t relid, std::uint32_t vp);
    void tl_connect_request(std::span<const std::uint8_t> payload);

    // channels.cpp: opening and closing, and what services answer
    [[nodiscard]] std::string_view why_not_open(
        const Channel& channel, const OpenParameters& parameters);
    void start_open(Channel& channel, const OpenParameters& parameters);
    [[nodiscard]] bool connect_channel(Channel& channel);
    void answer_open(const Channel& channel, std::uint32_t open_id, std::uint32_t status);
    void end_signals(Channel& channel);
    void request_close(Channel& channel);
    [[nodiscard]] Channel* opening(OfferedDevice& device, std::uint16_t index);
    void opened(OfferedDevice& device, std::uint16_t index);
    void open_refused(OfferedDevice& device, std::uint16_t index, std::string_view reason);
    void opening_failed(Channel& channel);
    void request_refused(OfferedDevice& device, std::uint16_t index, std::string_view reason);
    void closed(OfferedDevice& device, std::uint16_t index);
    void fail(OfferedDevice& device, std::uint16_t index, std::string_view reason);

    // gpadls.cpp
    void create_if_complete(const GpadlTable::Key& key);
    void answer_gpadl(const GpadlTable::Key& key, std::uint32_t status);
    void want_end(const GpadlTable::Key& key, bool answer);
    void end_if_unused(const GpadlTable::Key& key);
    void finish_gpadl(const GpadlTable::Key& key);
    [[nodiscard]] bool is_ring_of_channel(const GpadlTable::Key& key) const;
    void gpadl_created(OfferedDevice& device, std::uint16_t index, std::uint32_t id, bool accepted);
    void gpadl_torn_down(OfferedDevice& device, std::uint16_t index, std::uint32_t id);

    // save.cpp
    [[nodiscard]] ServerState state() const;
    void check(const ServerState& state) const;
    void apply(const ServerState& state);
    void apply_channels(const ServerState& state);
    void apply_gpadls(const ServerState& state);
    void reopen_restored();
    [[nodiscard]] OfferedDevice& device_for_saved(const Offer& offer, bool rescinded);

    Host& host_;
    const ServerLimits limits_;
    std::vector<std::unique_ptr<OfferedDevice>> devices_;
    DeviceId next_device_ = 1;
    std::array<Channel*, protocol::relid_count> by_relid_{};
    GpadlTable gpadls_;
    Outbox outbox_;
    /// It has had its line: what more comes of it is passed over.
    std::optional<std::uint32_t> refused_gpadl_;
    /// Answers that the guest has still to get and that aren't in the outbox yet.
    std::size_t owed_ = 0;

    Connection connection_ = Connection::disconnected;
    Next next_ = Next::nothing;
    protocol::InitiateContact contact_{};
    protocol::Version version_ = 0;
    std::uint32_t feature_flags_ = 0;
    std::uint32_t message_vp_ = 0;
    bool offers_requested_ = false;

    bool stopped_ = true;
    bool stop_wanted_ = false;
    bool stop_asked_ = false;
    std::function<void()> stop_done_;
    std::function<void()> reset_done_;

    /// Calls that are under way, and whether one came while settling.
    unsigned depth_ = 0;
    bool settle_again_ = false;
    unsigned reports_left_;
};

} // namespace croft::vmbus
