// SPDX-License-Identifier: Apache-2.0
//
// Guests that don't keep to the protocol: each loses its channel, by one line that says why.
#include "vmbus/testing/rewriter.hpp"
#include "vsp/network/testing/network_fixture.hpp"

#include <array>
#include <cstring>
#include <string>

namespace croft::vsp::network {
namespace {

using namespace testing;
using protocol::MessageType;
using protocol::Oid;
using protocol::RndisType;
using vmbus::testing::GuestPacket;

class HostileTest : public NetworkFixture {
protected:
    void expect_failure(std::string_view words) {
        const std::string line = wait_for_failure();
        EXPECT_NE(line.find(words), std::string::npos) << line;
        EXPECT_NE(line.find("expected"), std::string::npos) << line;
        EXPECT_EQ(line.find('\n'), std::string::npos) << line;
        host_.settle();
        EXPECT_EQ(vm_.reports().size(), 1U);
        // And begins anew if it likes.
        ASSERT_TRUE(guest_.close(*primary_));
        ASSERT_TRUE(driver_.take_back_receive_buffer(*primary_));
        ASSERT_TRUE(driver_.take_back_send_buffer(*primary_));
        primary_ = guest_.open(offers_[0], 16);
        ASSERT_TRUE(primary_);
        ASSERT_TRUE(driver_.initialize(*primary_));
        network_.send({{}, frame_of(60)});
        EXPECT_EQ(driver_.receive(*primary_)->bytes, frame_of(60));
    }
    /// What was refused so far: the starts of the lines. The channel goes on.
    void expect_refused(const std::vector<std::string>& reasons) {
        host_.settle();
        ASSERT_EQ(vm_.reports().size(), reasons.size());
        for (std::size_t i = 0; i < reasons.size(); ++i) {
            const std::string& line = vm_.reports()[i];
            EXPECT_TRUE(line.starts_with("refused a request on channel 1: " + reasons[i])) << line;
            EXPECT_NE(line.find("expected"), std::string::npos) << line;
        }
    }
    void send(const Bytes& message) {
        GuestPacket packet = driver_.packet_by_pages(message);
        packet.transaction_id = 77;
        guest_.send(*primary_, packet);
    }
    static Bytes changed(Bytes message, std::size_t offset, std::uint32_t value) {
        std::memcpy(message.data() + offset, &value, sizeof(value));
        return message;
    }

    const Bytes message_ = rndis_packet(frame_of(60, other_address), {{0, 0}});
};

// Offsets in an RNDIS packet.
constexpr std::size_t at_type = 0;
constexpr std::size_t at_length = 4;
constexpr std::size_t at_data_offset = 8;
constexpr std::size_t at_data_length = 12;
constexpr std::size_t at_info_offset = 28;
constexpr std::size_t at_info_length = 32;
constexpr std::size_t at_info = 44;

TEST_F(HostileTest, SectionOutOfRange) {
    boot();
    GuestPacket packet = driver_.packet_by_section(message_, 0);
    packet.payload[1] = 10; // of ten
    guest_.send(*primary_, packet);
    expect_failure("section 10 of the send buffer");
}

TEST_F(HostileTest, MoreBytesThanASectionHas) {
    boot();
    GuestPacket packet = driver_.packet_by_section(message_, 0);
    packet.payload[1] = std::uint64_t{6145} << 32;
    guest_.send(*primary_, packet);
    expect_failure("6145 bytes in section 0");
}

TEST_F(HostileTest, DataThatIsNoMemory) {
    boot();
    GuestPacket packet = driver_.packet_by_pages(message_);
    packet.header[2] = 3;
    guest_.send(*primary_, packet);
    expect_failure("isn't in the guest's memory");
}

TEST_F(HostileTest, CompletionNeverAskedFor) {
    boot();
    driver_.complete(*primary_, 0x1234567800000001);
    expect_failure("completion of transaction");
}

TEST_F(HostileTest, CompletionTwice) {
    boot();
    driver_.set_completes(false);
    network_.send({{}, frame_of(60)});
    ASSERT_TRUE(driver_.receive(*primary_));
    GuestPacket packet;
    packet.type = 11;
    packet.transaction_id = std::uint64_t{2} << 32 | 1;
    driver_.complete_all(*primary_);
    driver_.set_completes(true);
    host_.settle();
    guest_.send(*primary_, packet);
    expect_failure("completion of transaction");
}

TEST_F(HostileTest, FrameOutsideItsMessage) {
    boot();
    send(changed(message_, at_data_offset, 0xfffffff0));
    expect_failure("found a frame of 60 bytes at 4294967280");
}

TEST_F(HostileTest, FrameLongerThanItsMessage) {
    boot();
    send(changed(message_, at_data_length, 0xffffffff));
    expect_failure("found a frame of 4294967295 bytes");
}

TEST_F(HostileTest, FrameWithoutAHeader) {
    boot();
    send(changed(message_, at_data_length, 13));
    expect_failure("found a frame of 13 bytes");
}

TEST_F(HostileTest, MessageOfAnotherType) {
    boot();
    send(changed(message_, at_type, 5));
    expect_failure("type 0x5 with data");
}

TEST_F(HostileTest, MessageLongerThanWhatWasSent) {
    boot();
    send(changed(message_, at_length, 4000));
    expect_failure("found an RNDIS packet of 4000 bytes");
}

TEST_F(HostileTest, MessageOfNoLength) {
    boot();
    send(changed(message_, at_length, 0));
    expect_failure("found an RNDIS packet of 0 bytes");
}

TEST_F(HostileTest, ChainWithoutEnd) {
    boot();
    Bytes chain;
    for (unsigned i = 0; i < 200; ++i) {
        chain.insert(chain.end(), message_.begin(), message_.end());
    }
    send(chain);
    expect_failure("more than 16 packets");
}

TEST_F(HostileTest, InfoOutsideItsMessage) {
    boot();
    send(changed(message_, at_info_offset, 100));
    expect_failure("found per-packet information of 16 bytes at 100");
}

TEST_F(HostileTest, InfoTooLong) {
    boot();
    send(changed(message_, at_info_length, 0x10000));
    expect_failure("found per-packet information of 65536 bytes");
}

TEST_F(HostileTest, InfoOfNoSize) {
    boot();
    send(changed(message_, at_info, 0));
    expect_failure("piece of per-packet information of 0 bytes");
}

TEST_F(HostileTest, InfoWithItsValueOutside) {
    boot();
    send(changed(message_, at_info + 8, 0xfffffffe));
    expect_failure("found a value at 4294967294");
}

TEST_F(HostileTest, ChecksumOutsideItsFrame) {
    boot();
    send(rndis_packet(frame_of(60, other_address), {{0, 1 | 4 | 59U << 16}}));
    expect_failure("header for a checksum at 59");
}

TEST_F(HostileTest, LargeSendWithoutHeaders) {
    boot();
    send(rndis_packet(frame_of(60, other_address), {{2, 1448 | 34U << 20 | 1U << 30}}));
    expect_failure("where an IPv4 header begins");
}

TEST_F(HostileTest, LargeSendWithoutSegments) {
    boot();
    send(rndis_packet(frame_of(60, other_address), {{2, 34U << 20 | 1U << 30}}));
    expect_failure("found a large send");
}

/// What the network gets with a frame is true of that frame, whatever its sender has made of the
/// message meanwhile.
void expect_consistent(const Frame& frame) {
    const FrameHeader& header = frame.header;
    const Bytes& bytes = frame.bytes;
    ASSERT_GE(bytes.size(), ethernet_header_size);
    ASSERT_LE(bytes.size(), largest_frame + vlan_tag_size);
    if ((header.flags & frame_needs_checksum) == 0) {
        return;
    }
    ASSERT_LE(header.checksum_start + header.checksum_offset + 2U, bytes.size());
    if (header.segmentation == segments_none) {
        return;
    }
    const std::size_t tcp = header.checksum_start;
    ASSERT_GT(header.segment_size, 0U);
    ASSERT_LT(tcp + 12, bytes.size());
    ASSERT_EQ(header.header_size, tcp + (bytes[tcp + 12] >> 4U) * 4U);
    ASSERT_LE(header.header_size, bytes.size());
    const std::size_t ip = tcp - 20;
    ASSERT_EQ(bytes[ip], 0x45);
    ASSERT_EQ(std::size_t{bytes[ip + 2]} << 8U | bytes[ip + 3], bytes.size() - ip);
}

TEST_F(HostileTest, MessagesThatChangeWhileTheyAreRead) {
#ifdef __SANITIZE_THREAD__
    GTEST_SKIP() << "the kernel reads a frame where it lies, and the guest may change it meanwhile";
#endif
    boot();
    constexpr std::uint32_t tcp = 34;
    constexpr std::uint32_t checksum = protocol::send_is_ipv4 | protocol::send_tcp_checksum;
    constexpr std::uint32_t large_send = protocol::large_send_version_2 | 100;
    const auto message_with = [](const std::map<std::uint32_t, std::uint32_t>& info,
                                  std::uint8_t tcp_words) {
        Bytes frame = frame_of(600, other_address, tcp_words);
        frame[14] = 0x45;
        frame[tcp + 12] = static_cast<std::uint8_t>(tcp_words << 4U);
        return rndis_packet(frame, info);
    };
    const std::uint32_t sum = checksum | tcp << protocol::send_tcp_offset_shift;
    const std::uint32_t cut = large_send | tcp << protocol::large_send_tcp_offset_shift;
    const Bytes plain = message_with({{protocol::info_checksum, sum}, {protocol::info_vlan, 5}}, 5);
    std::vector<Bytes> contents = {plain,
        message_with({{protocol::info_large_send, cut}, {protocol::info_vlan, 7}}, 6),
        message_with({{protocol::info_checksum, sum}, {protocol::info_large_send, cut}}, 15),
        message_with({{protocol::info_large_send, cut}, {12345, 0}}, 8)};
    for (const Bytes& content : contents) {
        ASSERT_EQ(content.size(), plain.size());
    }
    // And what can't be.
    contents.push_back(changed(plain, at_data_length, 1500));
    contents.push_back(changed(plain, at_info + 12, checksum | 599U << 16U));
    contents.push_back(changed(plain, at_info, 0xffffffff));
    GuestPacket packet = driver_.packet_by_pages(plain);
    packet.transaction_id = 77;
    // A page of its own, as the driver's requests are in the other.
    packet.header[2] = vm_.test_memory().allocate(1).front();
    const std::size_t offset = packet.header[1] >> 32U;
    std::uint8_t* const message = vm_.memory().page(packet.header[2]) + offset;
    std::ranges::copy(plain, message);
    const vmbus::testing::Rewriter guest(message, contents);
    unsigned sent = 0;
    unsigned segmented = 0;
    std::size_t failures = 0;
    // Until there was enough of all, however seldom the guest's thread gets a processor.
    while ((sent < 500 || segmented < 10 || failures < 10) && (failures < 40 || sent == 0)) {
        ASSERT_TRUE(guest_.send(*primary_, packet));
        bool is_answered = false;
        while (!is_answered && vm_.reports().size() == failures) {
            ASSERT_TRUE(host_.work());
            while (const auto answer = primary_->receiver.receive()) {
                is_answered = is_answered || answer->transaction_id == 77;
                if (primary_->receiver.commit()) {
                    vm_.signal(primary_->connection);
                }
            }
        }
        while (const auto frame = network_.receive()) {
            ASSERT_NO_FATAL_FAILURE(expect_consistent(*frame));
            ++sent;
            segmented += frame->header.segmentation != segments_none ? 1U : 0U;
        }
        if (is_answered) {
            continue;
        }
        ASSERT_EQ(vm_.reports().size(), ++failures);
        ASSERT_TRUE(guest_.close(*primary_));
        ASSERT_TRUE(driver_.take_back_receive_buffer(*primary_));
        ASSERT_TRUE(driver_.take_back_send_buffer(*primary_));
        primary_ = guest_.open(offers_[0], 16);
        ASSERT_TRUE(primary_);
        ASSERT_TRUE(driver_.initialize(*primary_));
    }
    EXPECT_GT(sent, 0U);
}

TEST_F(HostileTest, RequestBeforeAVersion) {
    open();
    driver_.configure(*primary_, 1500, 0);
    expect_failure("expected a version first");
}

TEST_F(HostileTest, UnknownMessage) {
    boot();
    driver_.tell(*primary_, nvsp_message(static_cast<MessageType>(999), {}));
    expect_failure("found a message of type 999");
}

TEST_F(HostileTest, MtuThatCannotBe) {
    open();
    ASSERT_EQ(driver_.negotiate(*primary_, protocol::version_5), 1U);
    driver_.configure(*primary_, 0xfffffff0, 0);
    expect_failure("found an MTU of");
}

TEST_F(HostileTest, UnknownRequest) {
    boot();
    Bytes request = rndis_message(static_cast<RndisType>(0x99), Bytes(8));
    GuestPacket packet = driver_.packet_by_pages(request, protocol::rndis_channel_control);
    guest_.send(*primary_, packet);
    expect_failure("found an RNDIS request of type 0x99");
}

TEST_F(HostileTest, RequestLongerThanItsMessage) {
    boot();
    Bytes request = changed(rndis_message(RndisType::query, Bytes(20)), at_length, 5000);
    guest_.send(*primary_, driver_.packet_by_pages(request, protocol::rndis_channel_control));
    expect_failure("says it has 5000 bytes");
}

TEST_F(HostileTest, RingsThatCantBe) {
    connect();
    EXPECT_EQ(guest_.open_spoilt(
                  offers_[0], [](auto& channel) { channel.receiver.ring().store(0, 0x7ffffff8); }),
        vmbus::protocol::status_unsuccessful);
    EXPECT_EQ(vm_.reports(),
        std::vector<std::string>{"refused to open channel 1: the write index is out of range"});
    primary_ = guest_.open(offers_[0], 16);
    ASSERT_TRUE(primary_);
    ASSERT_TRUE(driver_.initialize(*primary_));
    network_.send({{}, frame_of(60)});
    EXPECT_EQ(driver_.receive(*primary_)->bytes, frame_of(60));
}

TEST_F(HostileTest, ClosesAtOnce) {
    boot();
    host_.settle();
    driver_.complete(*primary_, 0x1234567800000001);
    ASSERT_TRUE(host_.work()) << "the channel has seen it, the bus not yet";
    ASSERT_TRUE(vm_.reports().empty());
    ASSERT_TRUE(guest_.close(*primary_));
    ASSERT_EQ(vm_.reports().size(), 1U);
    EXPECT_TRUE(vm_.reports()[0].starts_with("channel 1 has ended: found the completion"))
        << vm_.reports()[0];
}

TEST_F(HostileTest, AsksNonsenseAndClosesAtOnce) {
    boot();
    host_.settle();
    driver_.tell(*primary_, nvsp_message(static_cast<MessageType>(0x7777), Bytes(8)));
    ASSERT_TRUE(host_.work()) << "the channel has seen it, the bus not yet";
    ASSERT_TRUE(vm_.reports().empty());
    ASSERT_TRUE(guest_.close(*primary_));
    ASSERT_EQ(vm_.reports().size(), 1U);
    EXPECT_TRUE(vm_.reports()[0].starts_with("channel 1 has ended: ")) << vm_.reports()[0];
}

/// A guest that has crashed has taken nothing back, which is no offence.
TEST_F(HostileTest, LeavesWithItsBuffersInUse) {
    boot();
    ASSERT_TRUE(guest_.unload());
    host_.settle();
    EXPECT_TRUE(vm_.reports().empty()) << vm_.reports().front();
}

TEST_F(HostileTest, RequestsWhoseAnswersItDoesNotTake) {
    boot();
    driver_.set_completes(false);
    const Bytes request = rndis_message(RndisType::keep_alive, Bytes(4));
    for (unsigned i = 0; i < 1500 && vm_.reports().empty(); ++i) {
        GuestPacket packet = driver_.packet_by_pages(request, protocol::rndis_channel_control);
        packet.flags = 0;
        guest_.send(*primary_, packet);
        host_.settle();
    }
    driver_.set_completes(true);
    expect_failure("requests whose answers it doesn't take");
}

TEST_F(HostileTest, BufferTornDownInUse) {
    boot();
    ASSERT_TRUE(driver_.take_back_receive_buffer(*primary_));
    network_.send({{}, frame_of(60)});
    expect_failure("torn down with a buffer in it");
}

TEST_F(HostileTest, BuffersThatAreNone) {
    open();
    ASSERT_EQ(driver_.negotiate(*primary_, protocol::version_5), 1U);
    driver_.configure(*primary_, 1500, 0);
    const auto answer = driver_.ask(*primary_,
        nvsp_message(MessageType::send_receive_buffer,
            concatenate(protocol::SendBuffer{4711, protocol::receive_buffer_id, 0})));
    ASSERT_TRUE(answer);
    EXPECT_NE(take_from<std::uint32_t>(*answer, 4), 1U);
    EXPECT_EQ(driver_.give_receive_buffer(*primary_).status, 1U);
    EXPECT_NE(driver_.give_receive_buffer(*primary_).status, 1U) << "a second one";
    expect_refused({"found GPADL 0x1267 with id 0xcafe as the receive buffer",
        "found a second receive buffer"});
    const auto sent = driver_.ask(*primary_,
        nvsp_message(MessageType::send_send_buffer, concatenate(protocol::SendBuffer{4712, 0, 0})));
    ASSERT_TRUE(sent);
    EXPECT_EQ(driver_.give_send_buffer(*primary_).status, 1U);
    EXPECT_NE(driver_.give_send_buffer(*primary_).status, 1U) << "a second one";
    const auto channels = driver_.ask(*primary_,
        nvsp_message(MessageType::sub_channel, concatenate(protocol::SubChannelRequest{2, 1})));
    ASSERT_TRUE(channels);
    expect_refused({"found GPADL 0x1267 with id 0xcafe as the receive buffer",
        "found a second receive buffer", "found GPADL 0x1268 with id 0x0 as the send buffer",
        "found a second send buffer", "found operation 2 for 1 sub-channels"});
}

/// Channels that have their sections in a buffer have none in a smaller one.
TEST_F(HostileTest, SmallerBufferUnderSubChannels) {
    boot();
    const Bytes request =
        nvsp_message(MessageType::sub_channel, concatenate(protocol::SubChannelRequest{1, 2}));
    ASSERT_TRUE(driver_.ask(*primary_, request));
    const auto offer = guest_.wait_for_offer();
    ASSERT_TRUE(offer);
    auto channel = guest_.open(*offer, 16);
    ASSERT_TRUE(channel);
    const std::uint16_t index = offer->sub_channel_index;
    driver_.tell(*primary_,
        nvsp_message(MessageType::revoke_receive_buffer, concatenate(protocol::receive_buffer_id)));
    ASSERT_EQ(driver_.give_receive_buffer(*primary_, 16).status, 1U);
    network_.send({{}, frame_of(60)}, index);
    host_.settle();
    EXPECT_FALSE(channel->receiver.receive());
    network_.send({{}, frame_of(60)});
    EXPECT_EQ(driver_.receive(*primary_)->bytes, frame_of(60));
    EXPECT_TRUE(vm_.reports().empty()) << vm_.reports().front();
}

TEST_F(HostileTest, ObjectsOfTheWrongLength) {
    boot();
    EXPECT_EQ(driver_.set(*primary_, Oid::current_packet_filter, Bytes(3)),
        protocol::rndis_invalid_length);
    EXPECT_EQ(
        driver_.set(*primary_, Oid::multicast_list, Bytes(7)), protocol::rndis_invalid_length);
    EXPECT_EQ(driver_.set(*primary_, Oid::multicast_list, Bytes(std::size_t{6} * 33)),
        protocol::rndis_multicast_full);
    EXPECT_EQ(
        driver_.set(*primary_, Oid::offload_parameters, Bytes(3)), protocol::rndis_invalid_length);
    EXPECT_EQ(driver_.set(*primary_, Oid::receive_scale_parameters, Bytes(10)),
        protocol::rndis_invalid_length);
    EXPECT_EQ(driver_.set(*primary_, Oid::receive_scale_parameters,
                  concatenate(protocol::ReceiveScaleParameters{
                      {0x89, 2, 28}, 0, 0, 1, 512, 0, 0xffffff00, 40, 0, 28})),
        protocol::rndis_invalid_data);
    EXPECT_EQ(driver_.set(*primary_, Oid::receive_scale_parameters,
                  concatenate(
                      protocol::ReceiveScaleParameters{{0x89, 2, 28}, 12, 0, 2, 0, 0, 0, 0, 0, 0})),
        protocol::rndis_invalid_data); // another hash
    EXPECT_EQ(driver_.set(*primary_, Oid::config_parameter,
                  concatenate(protocol::ConfigParameter{0xffffffff, 28, 2, 20, 24})),
        protocol::rndis_invalid_data);
    expect_refused({"found 3 bytes", "found 7 bytes", "found 3 bytes", "found 10 bytes",
        "found 28 bytes", "found 28 bytes", "found 20 bytes"});
    // As often as the guest likes, but not as many lines.
    for (unsigned i = 0; i < 20; ++i) {
        EXPECT_EQ(driver_.set(*primary_, Oid::current_packet_filter, Bytes(3)),
            protocol::rndis_invalid_length);
    }
    host_.settle();
    EXPECT_EQ(vm_.reports().size(), vmbus::most_refusals_told);
}

} // namespace
} // namespace croft::vsp::network
