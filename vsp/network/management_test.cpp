// SPDX-License-Identifier: Apache-2.0
//
// What is asked of an adapter in another process, from both ends.
#include "vsp/network/management.hpp"

#include "vdev/error.hpp"
#include "vsp/network/testing/network_fixture.hpp"

namespace croft::vsp::network {
namespace {

using namespace testing;
using vdev::DeviceError;
using vdev::Record;
using vdev::RecordError;
using vmbus::remote::Bytes;

/// Both ends, with nothing between them.
class ManagementTest : public NetworkFixture {
protected:
    void stop() {
        bool stopped = false;
        vm_.server().stop([&] { stopped = true; });
        while (!stopped && host_.work()) {
        }
        ASSERT_TRUE(stopped);
    }
    Bytes exchange(ManagedAdapter& managed, const Bytes& question) {
        std::optional<Bytes> answer;
        managed.answer(question, [&](Bytes bytes) { answer = std::move(bytes); });
        while (!answer && host_.work()) {
        }
        return answer.value();
    }
    /// The answer's type, and the reason if it is a refusal.
    std::pair<std::string, std::string> answer_to(const Bytes& question) {
        const Record answer = Record::decode(exchange(managed_, question));
        return {answer.type(), answer.has("reason") ? answer.get_text("reason") : ""};
    }

    ManagedAdapter::Condition condition_;
    ManagedAdapter managed_{*adapter_, [this] {
                                return condition_;
                            }};
    DistantAdapter distant_{[this](const Bytes& question) {
        return exchange(managed_, question);
    }};
};

TEST_F(ManagementTest, ReportsAndPlugs) {
    boot();
    EXPECT_EQ(driver_.send_by_section(*primary_, rndis_packet(frame_of(60, broadcast_address))), 1);
    network_.send({{}, frame_of(70)});
    ASSERT_TRUE(driver_.receive(*primary_));
    AdapterReport report = distant_.report();
    EXPECT_TRUE(report.plugged);
    EXPECT_TRUE(report.connected);
    EXPECT_EQ(report.channels, 1U);
    EXPECT_EQ(report.statistics.sent.frames[2], 1U);
    EXPECT_EQ(report.statistics.sent.bytes[2], 60U);
    EXPECT_EQ(report.statistics.received.frames[0], 1U);
    EXPECT_EQ(report.statistics.received.bytes[0], 70U);
    adapter_->set_working(false);
    report = distant_.report();
    EXPECT_TRUE(report.plugged);
    EXPECT_FALSE(report.connected);
    distant_.set_plugged(false);
    EXPECT_FALSE(network_.is_plugged());
    EXPECT_FALSE(distant_.report().plugged);
}

TEST_F(ManagementTest, TakesLeaveOfTheGuest) {
    boot();
    host_.settle();
    EXPECT_TRUE(distant_.is_idle());
    driver_.set_completes(false);
    network_.send({{}, frame_of(60)});
    ASSERT_TRUE(driver_.receive(*primary_));
    EXPECT_FALSE(distant_.is_idle());
    driver_.complete_all(*primary_);
    host_.settle();
    EXPECT_TRUE(distant_.is_idle());
    distant_.take_leave();
    EXPECT_FALSE(distant_.report().connected);
    EXPECT_TRUE(distant_.report().plugged);
}

TEST_F(ManagementTest, SavesAndRestores) {
    boot();
    stop();
    condition_ = {true, true};
    const Record state = distant_.save();
    EXPECT_EQ(state, adapter_->save());
    EXPECT_THROW(distant_.restore(state), RecordError) << "it has channels";
    EXPECT_THROW(distant_.reset(), DeviceError);

    SocketBackEnd other_network(queues);
    Adapter other(host_.threads(), other_network, guest_address, network_mtu);
    ManagedAdapter managed_other(other, [] { return ManagedAdapter::Condition{true, false}; });
    const DistantAdapter distant_other(
        [&](const Bytes& question) { return exchange(managed_other, question); });
    distant_other.restore(state);
    EXPECT_THROW(distant_other.restore(Record("storvsp", 1)), RecordError);
    distant_other.reset();
    EXPECT_EQ(distant_other.save(), AdapterState({}, {}, guest_address, {}).save());
    vm_.server().start();
}

TEST_F(ManagementTest, TouchesNothingThatIsAtWork) {
    boot();
    condition_ = {false, true};
    EXPECT_THROW((void)distant_.save(), DeviceError);
    EXPECT_THROW(distant_.restore(adapter_->save()), RecordError);
    EXPECT_THROW(distant_.reset(), DeviceError);
}

TEST_F(ManagementTest, RefusesWhatIsNoQuestion) {
    const auto [type, reason] = answer_to(Record("nic-fly", 1).encode());
    EXPECT_EQ(type, "nic-refused");
    EXPECT_NE(reason.find("isn't known"), std::string::npos) << reason;
    EXPECT_EQ(answer_to({}).first, "nic-refused");
    EXPECT_EQ(answer_to({0xff, 1, 2}).first, "nic-refused");
    EXPECT_EQ(answer_to(Record("nic-report", 2).encode()).first, "nic-refused");
    EXPECT_EQ(answer_to(Record("nic-plug", 1).encode()).first, "nic-refused");
    EXPECT_EQ(answer_to(Record("nic-plug", 1).set("plugged", 1).encode()).first, "nic-refused");
    condition_ = {true, false};
    EXPECT_EQ(answer_to(Record("nic-restore", 1).encode()).first, "nic-refused");
    EXPECT_EQ(
        answer_to(Record("nic-restore", 1).set_records("state", {}).encode()).first, "nic-refused");
}

TEST_F(ManagementTest, BelievesNoAnswer) {
    Bytes answer;
    const DistantAdapter lied_to([&](const Bytes&) { return answer; });
    for (const Bytes& lie : {Bytes{}, Bytes{1, 2, 3}, Record("nic-fly", 1).encode(),
             Record("nic-done", 2).encode(), Record("nic-refused", 1).encode()}) {
        answer = lie;
        EXPECT_THROW(lied_to.set_plugged(true), RecordError);
        EXPECT_THROW((void)lied_to.report(), RecordError);
        EXPECT_THROW((void)lied_to.save(), RecordError);
    }
    answer = Record("nic-done", 1).encode();
    lied_to.set_plugged(true);
    EXPECT_THROW((void)lied_to.report(), RecordError);
    EXPECT_THROW((void)lied_to.save(), RecordError);
    answer = Record("nic-done", 1).set_records("state", {Record("netvsp", 1)}).encode();
    EXPECT_THROW((void)lied_to.save(), RecordError) << "nothing in it";
    answer = Record("nic-refused", 1).set_text("reason", std::string("no\x1b[2J\n")).encode();
    try {
        lied_to.reset();
        FAIL();
    } catch (const DeviceError& error) {
        EXPECT_STREQ(error.what(), "no?[2J?");
    }
}

} // namespace
} // namespace croft::vsp::network
