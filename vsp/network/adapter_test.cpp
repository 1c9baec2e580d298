// SPDX-License-Identifier: Apache-2.0
//
// A model guest drives an adapter through VMBus, as Linux does.
#include "vsp/network/checksum.hpp"
#include "vsp/network/testing/network_fixture.hpp"

#include <algorithm>

namespace croft::vsp::network {
namespace {

using namespace testing;
using protocol::MessageType;
using protocol::Oid;
using protocol::RndisType;

class AdapterTest : public NetworkFixture {};

constexpr std::uint32_t success = 1;

TEST_F(AdapterTest, SpeaksAllVersions) {
    open();
    EXPECT_NE(driver_.negotiate(*primary_, 0x70000), success);
    EXPECT_NE(driver_.negotiate(*primary_, 0x30001), success);
    for (const std::uint32_t version : protocol::supported_versions) {
        EXPECT_EQ(driver_.negotiate(*primary_, version), success) << version;
        EXPECT_NE(driver_.negotiate(*primary_, version), success) << "twice";
        ASSERT_TRUE(guest_.close(*primary_));
        primary_ = guest_.open(offers_[0], 16);
        ASSERT_TRUE(primary_);
    }
}

TEST_F(AdapterTest, TellsWhatItIs) {
    boot();
    EXPECT_EQ(driver_.query(*primary_, Oid::permanent_address), concatenate(guest_address));
    EXPECT_EQ(driver_.query(*primary_, Oid::maximum_frame_size), concatenate(std::uint32_t{1500}));
    EXPECT_EQ(driver_.query(*primary_, Oid::media_connect_status), concatenate(std::uint32_t{0}));
    const auto offload = driver_.query(*primary_, Oid::offload_hardware_capabilities);
    ASSERT_TRUE(offload);
    EXPECT_EQ(offload->size(), protocol::offload_size_3);
    EXPECT_EQ(take_from<protocol::Offload>(*offload).rsc_ipv4, 1);
    const auto scaling = driver_.query(*primary_, Oid::receive_scale_capabilities);
    ASSERT_TRUE(scaling);
    EXPECT_EQ(take_from<std::uint32_t>(*scaling, 12), queues);
    EXPECT_EQ(driver_.query_status(*primary_, static_cast<Oid>(0x12345678)),
        protocol::rndis_not_supported);
    EXPECT_EQ(driver_.set(*primary_, Oid::vendor_id, Bytes(4)), protocol::rndis_not_supported);
    const auto list = driver_.query(*primary_, Oid::supported_list);
    ASSERT_TRUE(list);
    for (std::size_t at = 0; at < list->size(); at += 4) {
        const auto oid = take_from<Oid>(*list, at);
        const bool is_set_only = oid == Oid::offload_parameters || oid == Oid::config_parameter ||
            oid == Oid::network_layer_addresses || oid == Oid::receive_scale_parameters;
        EXPECT_EQ(driver_.query_status(*primary_, oid) == 0, !is_set_only)
            << static_cast<std::uint32_t>(oid);
    }
}

TEST_F(AdapterTest, AnswersKeepAliveAndReset) {
    boot();
    const auto alive = driver_.request(*primary_, rndis_message(RndisType::keep_alive, Bytes(4)));
    ASSERT_TRUE(alive);
    EXPECT_EQ(take_from<protocol::RndisHeader>(*alive).type, 0x80000008);
    const auto reset = driver_.request(*primary_, rndis_message(RndisType::reset, Bytes(4)));
    ASSERT_TRUE(reset);
    EXPECT_EQ(take_from<protocol::RndisHeader>(*reset).type, 0x80000006);
    EXPECT_EQ(driver_.query(*primary_, Oid::current_packet_filter), concatenate(std::uint32_t{0}));
}

TEST_F(AdapterTest, SendsFramesFromWhereTheyAre) {
    boot();
    const Bytes frame = frame_of(1514, other_address);
    EXPECT_EQ(driver_.send_by_section(*primary_, rndis_packet(frame), 3), success);
    ASSERT_EQ(from_guest().value_or(Frame()).bytes, frame);
    EXPECT_EQ(driver_.send_by_pages(*primary_, rndis_packet(frame)), success);
    ASSERT_EQ(from_guest().value_or(Frame()).bytes, frame);
    EXPECT_EQ(driver_.send_by_both(*primary_, rndis_packet(frame), 44), success);
    const Frame last = from_guest().value_or(Frame());
    ASSERT_EQ(last.bytes, frame);
    EXPECT_EQ(last.header.flags, 0);
}

TEST_F(AdapterTest, SendsAllFramesOfAMessage) {
    boot();
    Bytes message;
    for (unsigned i = 0; i < 8; ++i) {
        const Bytes packet = rndis_packet(frame_of(60 + 8 * i, other_address, i));
        message.insert(message.end(), packet.begin(), packet.end());
    }
    EXPECT_EQ(driver_.send_by_section(*primary_, message), success);
    for (unsigned i = 0; i < 8; ++i) {
        EXPECT_EQ(from_guest().value_or(Frame()).bytes, frame_of(60 + 8 * i, other_address, i));
    }
}

TEST_F(AdapterTest, PutsAVlansTagIntoTheFrame) {
    boot();
    const Bytes frame = frame_of(100, other_address);
    // Priority 5, CFI, VLAN 0x123
    const std::uint32_t vlan = 5 | 1U << 3 | 0x123U << 4;
    EXPECT_EQ(driver_.send_by_section(*primary_, rndis_packet(frame, {{6, vlan}})), success);
    Bytes tagged = frame;
    const Bytes tag = {0x81, 0x00, 0xb1, 0x23};
    tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
    EXPECT_EQ(from_guest().value_or(Frame()).bytes, tagged);
}

/// A TCP segment over IPv4 as Linux hands it over.
Bytes tcp_frame(std::size_t payload, const MacAddress& to) {
    Bytes frame = frame_of(54 + payload, to);
    frame[12] = 0x08;
    frame[13] = 0x00;
    frame[14] = 0x45;
    frame[23] = 6;
    frame[46] = 0x50;
    frame[47] = 0x10;
    store_big_16(&frame[16], static_cast<std::uint16_t>(40 + payload));
    return frame;
}

TEST_F(AdapterTest, LeavesChecksumsToTheNetwork) {
    boot();
    const Bytes frame = tcp_frame(100, other_address);
    const std::uint32_t info = 1 | 4 | 34U << 16;
    EXPECT_EQ(driver_.send_by_section(*primary_, rndis_packet(frame, {{0, info}})), success);
    const Frame sent = from_guest().value_or(Frame());
    EXPECT_EQ(sent.bytes, frame);
    EXPECT_EQ(sent.header.flags, frame_needs_checksum);
    EXPECT_EQ(sent.header.checksum_start, 34);
    EXPECT_EQ(sent.header.checksum_offset, 16);
}

TEST_F(AdapterTest, ComputesIpsChecksumIfAsked) {
    boot();
    const std::uint32_t info = 1 | 4 | 16 | 34U << 16;
    const Bytes frame = tcp_frame(100, other_address);
    EXPECT_EQ(driver_.send_by_pages(*primary_, rndis_packet(frame, {{0, info}})), success);
    const Frame sent = from_guest().value_or(Frame());
    ASSERT_EQ(sent.bytes.size(), frame.size());
    Checksum checksum;
    checksum.add(std::span(sent.bytes).subspan(14, 20));
    EXPECT_EQ(checksum.result(), 0);
}

TEST_F(AdapterTest, CompletesTheHeadersOfLargeSends) {
    boot();
    Bytes frame = tcp_frame(30000, other_address);
    store_big_16(&frame[16], 0);
    store_big_16(&frame[24], 0);
    const std::uint32_t info = 1448 | 34U << 20 | 1U << 30;
    EXPECT_EQ(driver_.send_by_pages(*primary_, rndis_packet(frame, {{2, info}})), success);
    const Frame sent = from_guest().value_or(Frame());
    ASSERT_EQ(sent.bytes.size(), frame.size());
    EXPECT_EQ(sent.header.segmentation, segments_tcp_ipv4);
    EXPECT_EQ(sent.header.segment_size, 1448);
    EXPECT_EQ(sent.header.header_size, 54);
    EXPECT_EQ(load_big_16(&sent.bytes[16]), 30040);
    Checksum ip;
    ip.add(std::span(sent.bytes).subspan(14, 20));
    EXPECT_EQ(ip.result(), 0);
    Checksum pseudo;
    pseudo.add(std::span(sent.bytes).subspan(26, 8));
    pseudo.add_number(6);
    pseudo.add_number(30020);
    EXPECT_EQ(load_big_16(&sent.bytes[50]), pseudo.partial());
    EXPECT_TRUE(std::equal(frame.begin() + 54, frame.end(), sent.bytes.begin() + 54));
}

/// The same over IPv6, with `options` bytes of a header for the destination in between.
Bytes tcp_frame_ipv6(std::size_t payload, const MacAddress& to, std::size_t options = 0) {
    const std::size_t tcp = 54 + options;
    Bytes frame = frame_of(tcp + 20 + payload, to);
    frame[12] = 0x86;
    frame[13] = 0xdd;
    frame[14] = 0x60;
    store_big_16(&frame[18], static_cast<std::uint16_t>(options + 20 + payload));
    frame[20] = options == 0 ? 6 : 60;
    if (options != 0) {
        frame[54] = 6;
        frame[55] = static_cast<std::uint8_t>(options / 8 - 1);
    }
    frame[tcp + 12] = 0x50;
    frame[tcp + 13] = 0x10;
    return frame;
}

TEST_F(AdapterTest, CompletesTheHeadersOfLargeSendsByIpv6) {
    boot();
    for (const std::size_t options : {0U, 16U}) {
        for (const bool is_tagged : {false, true}) {
            const std::size_t tcp = 54 + options;
            Bytes frame = tcp_frame_ipv6(30000, other_address, options);
            store_big_16(&frame[18], 0);
            const auto info = static_cast<std::uint32_t>(1428 | tcp << 20 | 1U << 30 | 1U << 31);
            std::map<std::uint32_t, std::uint32_t> pieces = {{2, info}};
            if (is_tagged) {
                pieces.emplace(6, 0x123U << 4);
            }
            EXPECT_EQ(driver_.send_by_pages(*primary_, rndis_packet(frame, pieces)), success);
            Frame sent = from_guest().value_or(Frame());
            const std::size_t tag = is_tagged ? 4 : 0;
            ASSERT_EQ(sent.bytes.size(), frame.size() + tag);
            EXPECT_EQ(sent.header.flags, frame_needs_checksum);
            EXPECT_EQ(sent.header.segmentation, segments_tcp_ipv6);
            EXPECT_EQ(sent.header.segment_size, 1428);
            EXPECT_EQ(sent.header.header_size, tcp + 20 + tag);
            EXPECT_EQ(sent.header.checksum_start, tcp + tag);
            EXPECT_EQ(sent.header.checksum_offset, 16);
            sent.bytes.erase(sent.bytes.begin() + 12,
                sent.bytes.begin() + 12 + static_cast<std::ptrdiff_t>(tag));
            Checksum pseudo;
            pseudo.add(std::span(frame).subspan(22, 32));
            pseudo.add_number(6);
            pseudo.add_number(30020);
            store_big_16(&frame[18], static_cast<std::uint16_t>(options + 30020));
            store_big_16(&frame[tcp + 16], pseudo.partial());
            EXPECT_EQ(sent.bytes, frame) << "and nothing else is changed";
        }
    }
}

TEST_F(AdapterTest, ReceivesFrames) {
    boot();
    for (const std::size_t size : {14U, 15U, 16U, 17U, 60U, 1514U}) {
        network_.send({{}, frame_of(size)});
        const auto frame = driver_.receive(*primary_);
        ASSERT_TRUE(frame) << size;
        EXPECT_EQ(frame->bytes, frame_of(size));
        EXPECT_EQ(frame->parts, 1U);
        EXPECT_TRUE(frame->info.empty());
    }
}

TEST_F(AdapterTest, TakesAVlansTagOutOfTheFrame) {
    boot();
    Bytes tagged = frame_of(100);
    const Bytes tag = {0x81, 0x00, 0xb1, 0x23};
    tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
    network_.send({{}, tagged});
    const auto frame = driver_.receive(*primary_);
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->bytes, frame_of(100));
    EXPECT_EQ(frame->info.at(protocol::info_vlan), 5 | 1U << 3 | 0x123U << 4);
}

TEST_F(AdapterTest, CompletesChecksumsThatTheNetworkLeft) {
    boot();
    Bytes frame = tcp_frame(101, guest_address);
    Checksum pseudo;
    pseudo.add(std::span(frame).subspan(26, 8));
    pseudo.add_number(6);
    pseudo.add_number(121);
    store_big_16(&frame[50], pseudo.partial());
    FrameHeader header;
    header.flags = frame_needs_checksum;
    header.checksum_start = 34;
    header.checksum_offset = 16;
    network_.send({header, frame});
    const auto received = driver_.receive(*primary_);
    ASSERT_TRUE(received);
    EXPECT_EQ(received->info.at(protocol::info_checksum), protocol::receive_tcp_succeeded);
    Checksum whole;
    whole.add(std::span(received->bytes).subspan(26, 8));
    whole.add_number(6);
    whole.add_number(121);
    whole.add(std::span(received->bytes).subspan(34));
    EXPECT_EQ(whole.result(), 0);
    EXPECT_TRUE(std::equal(frame.begin() + 54, frame.end(), received->bytes.begin() + 54));
}

TEST_F(AdapterTest, SaysThatAChecksumWasRight) {
    boot();
    Bytes frame = tcp_frame(100, guest_address);
    frame[23] = 17;
    FrameHeader header;
    header.flags = frame_data_valid;
    network_.send({header, frame});
    EXPECT_EQ(driver_.receive(*primary_)->info.at(protocol::info_checksum),
        protocol::receive_udp_succeeded);
}

TEST_F(AdapterTest, GivesLargeFramesInParts) {
    boot();
    protocol::OffloadParameters parameters{};
    parameters.header = {protocol::object_default, 3, sizeof(parameters)};
    parameters.rsc_ipv4 = protocol::offload_enabled;
    parameters.rsc_ipv6 = protocol::offload_enabled;
    ASSERT_EQ(driver_.set(*primary_, Oid::offload_parameters, concatenate(parameters)), 0U);
    EXPECT_EQ(network_.coalescing(), (Coalescing{true, true}));
    FrameHeader header;
    header.flags = frame_needs_checksum;
    header.segmentation = segments_tcp_ipv4;
    header.segment_size = 1448;
    // The first is spilt, the next ones are written in place.
    for (const std::size_t payload : {60000U, 60001U, 1000U, 3000U, 65000U}) {
        const Bytes frame = tcp_frame(payload, guest_address);
        network_.send({header, frame});
        const auto received = driver_.receive(*primary_);
        ASSERT_TRUE(received) << payload;
        EXPECT_EQ(received->bytes, frame);
        EXPECT_EQ(received->parts, (frame.size() - 16 + 1599) / 1600);
        EXPECT_EQ(received->info.at(protocol::info_checksum), protocol::receive_tcp_succeeded);
    }
    // IPv6's headers are longer, and so is what may lie between them.
    header.segmentation = segments_tcp_ipv6;
    header.segment_size = 1428;
    for (const std::size_t options : {0U, 24U}) {
        for (const std::size_t payload : {1U, 1000U, 1601U, 3000U, 65000U}) {
            const Bytes frame = tcp_frame_ipv6(payload, guest_address, options);
            network_.send({header, frame});
            const auto received = driver_.receive(*primary_);
            ASSERT_TRUE(received) << payload;
            EXPECT_EQ(received->bytes, frame);
            EXPECT_EQ(received->parts, (frame.size() - 16 + 1599) / 1600);
            EXPECT_EQ(received->info.at(protocol::info_checksum), protocol::receive_tcp_succeeded);
        }
    }
    parameters.rsc_ipv4 = protocol::offload_disabled;
    parameters.rsc_ipv6 = protocol::offload_disabled;
    ASSERT_EQ(driver_.set(*primary_, Oid::offload_parameters, concatenate(parameters)), 0U);
    EXPECT_EQ(network_.coalescing(), Coalescing());
    network_.send({header, tcp_frame_ipv6(60000, guest_address)});
    network_.send({{}, frame_of(60)});
    EXPECT_EQ(driver_.receive(*primary_)->bytes, frame_of(60));
    EXPECT_EQ(driver_.query(*primary_, Oid::rcv_error), concatenate(std::uint64_t{1}));
}

TEST_F(AdapterTest, FiltersByAddress) {
    boot();
    const auto arrives = [&](std::uint32_t filter, const MacAddress& to) {
        EXPECT_EQ(driver_.set(*primary_, Oid::current_packet_filter, concatenate(filter)), 0U);
        network_.send({{}, frame_of(60, to, 1)});
        network_.send({{}, frame_of(60, guest_address, 2)});
        const auto frame = driver_.receive(*primary_);
        const bool came = frame && frame->bytes == frame_of(60, to, 1);
        if (came) {
            EXPECT_TRUE(driver_.receive(*primary_));
        }
        return came;
    };
    EXPECT_TRUE(arrives(0x01, guest_address));
    EXPECT_FALSE(arrives(0x01, other_address));
    EXPECT_FALSE(arrives(0x01, broadcast_address));
    EXPECT_TRUE(arrives(0x09, broadcast_address));
    EXPECT_FALSE(arrives(0x09, multicast_address));
    EXPECT_TRUE(arrives(0x05, multicast_address));
    EXPECT_FALSE(arrives(0x03, multicast_address));
    EXPECT_EQ(driver_.set(*primary_, Oid::multicast_list, concatenate(multicast_address)), 0U);
    EXPECT_TRUE(arrives(0x03, multicast_address));
    EXPECT_TRUE(arrives(0x20, other_address));
}

TEST_F(AdapterTest, TakesAnotherAddress) {
    boot();
    const std::u16string name = u"NetworkAddress";
    const std::u16string value = u"020000000007";
    Bytes parameter = concatenate(protocol::ConfigParameter{20, 28, 2, 48, 24});
    for (const char16_t letter : name + value) {
        parameter.push_back(static_cast<std::uint8_t>(letter));
        parameter.push_back(0);
    }
    ASSERT_EQ(driver_.set(*primary_, Oid::config_parameter, parameter), 0U);
    const MacAddress mine{{2, 0, 0, 0, 0, 7}};
    EXPECT_EQ(driver_.query(*primary_, Oid::current_address), concatenate(mine));
    network_.send({{}, frame_of(60, guest_address)});
    network_.send({{}, frame_of(60, mine)});
    EXPECT_EQ(driver_.receive(*primary_)->bytes, frame_of(60, mine));
}

TEST_F(AdapterTest, MakesSectionsForTheGuestsMtu) {
    boot(protocol::version_6_1, 9000);
    EXPECT_EQ(driver_.query(*primary_, Oid::maximum_frame_size), concatenate(std::uint32_t{9000}));
    network_.send({{}, frame_of(9014)});
    EXPECT_EQ(driver_.receive(*primary_)->bytes, frame_of(9014));
    EXPECT_EQ(
        driver_.send_by_pages(*primary_, rndis_packet(frame_of(9014, other_address))), success);
    EXPECT_EQ(from_guest().value_or(Frame()).bytes, frame_of(9014, other_address));
}

TEST_F(AdapterTest, GivesNoMoreThanTheNetworksMtu) {
    boot(protocol::version_6_1, 20000);
    EXPECT_EQ(driver_.query(*primary_, Oid::maximum_frame_size), concatenate(network_mtu));
}

TEST_F(AdapterTest, UsesSubChannels) {
    boot();
    const auto answer = driver_.ask(*primary_,
        nvsp_message(MessageType::sub_channel, concatenate(protocol::SubChannelRequest{1, 7})));
    ASSERT_TRUE(answer);
    const auto given = take_from<protocol::SubChannelComplete>(*answer, 4);
    EXPECT_EQ(given.status, success);
    ASSERT_EQ(given.count, queues - 1U);
    for (std::uint16_t i = 1; i < queues; ++i) {
        const auto offer = guest_.wait_for_offer();
        ASSERT_TRUE(offer);
        auto channel = guest_.open(*offer, 16);
        ASSERT_TRUE(channel);
        const std::uint16_t index = offer->sub_channel_index;
        EXPECT_EQ(
            driver_.send_by_section(*channel, rndis_packet(frame_of(60 + index, other_address))),
            success);
        EXPECT_EQ(from_guest(index).value_or(Frame()).bytes, frame_of(60 + index, other_address));
        network_.send({{}, frame_of(70 + index)}, index);
        EXPECT_EQ(driver_.receive(*channel)->bytes, frame_of(70 + index));
    }
    ASSERT_TRUE(driver_.query(*primary_, Oid::link_state)); // comes behind the notice
    ASSERT_EQ(driver_.notices().size(), 1U);
    const auto table = take_from<protocol::SendTableMessage>(driver_.notices()[0]);
    EXPECT_EQ(table.count, 16U);
    EXPECT_EQ(table.table[4], 1U);
    Bytes scaling = concatenate(protocol::ReceiveScaleParameters{
        {protocol::object_rss_parameters, 2, 28}, 0, 0, 0x201, 16, 0, 28, 40, 0, 44});
    for (const std::uint32_t entry : {0U, 1U, 2U, 0U}) {
        const Bytes bytes = concatenate(entry);
        scaling.insert(scaling.end(), bytes.begin(), bytes.end());
    }
    scaling.resize(44 + 40);
    scaling.back() = 9;
    EXPECT_EQ(driver_.set(*primary_, Oid::receive_scale_parameters, scaling), 0U);
    Bytes key(40);
    key.back() = 9;
    const ReceiveScaling wanted{true, protocol::hash_tcp_ipv4, {0, 1, 2, 0}, key};
    EXPECT_EQ(network_.scaling(), wanted);
    scaling[28] = 3; // there is no such channel
    EXPECT_NE(driver_.set(*primary_, Oid::receive_scale_parameters, scaling), 0U);
    EXPECT_EQ(network_.scaling(), wanted);
    scaling[4] = protocol::receive_scale_disabled;
    EXPECT_EQ(driver_.set(*primary_, Oid::receive_scale_parameters, scaling), 0U);
    EXPECT_FALSE(network_.scaling().enabled);
}

TEST_F(AdapterTest, TellsHowTheLinkIs) {
    boot();
    const auto indicated = [&] {
        const auto message = driver_.control(*primary_);
        return message ? take_from<protocol::IndicateStatus>(*message, 8).status : 0;
    };
    adapter_->set_plugged(false);
    EXPECT_EQ(indicated(), protocol::rndis_media_disconnect);
    EXPECT_FALSE(network_.is_plugged());
    EXPECT_EQ(driver_.query(*primary_, Oid::media_connect_status), concatenate(std::uint32_t{1}));
    EXPECT_EQ(
        driver_.send_by_section(*primary_, rndis_packet(frame_of(60, other_address))), success);
    EXPECT_FALSE(from_guest());
    adapter_->set_working(false); // no news for the guest
    adapter_->set_plugged(true);
    adapter_->set_working(true);
    EXPECT_EQ(indicated(), protocol::rndis_media_connect);
    network_.send({{}, frame_of(60)});
    EXPECT_EQ(driver_.receive(*primary_)->bytes, frame_of(60));
}

/// Its driver can't let go of the adapter while it waits for something.
TEST_F(AdapterTest, TellsWhetherTheGuestHasSomethingUnderWay) {
    boot();
    const auto is_idle = [this] {
        std::optional<bool> idle;
        adapter_->ask_idle([&](bool answer) { idle = answer; });
        while (!idle && host_.work()) {
        }
        return idle.value();
    };
    host_.settle();
    EXPECT_TRUE(is_idle());
    driver_.set_completes(false);
    network_.send({{}, frame_of(60)});
    host_.settle();
    EXPECT_FALSE(is_idle()) << "a frame that it hasn't taken";
    ASSERT_TRUE(driver_.receive(*primary_));
    EXPECT_FALSE(is_idle()) << "and hasn't completed";
    driver_.complete_all(*primary_);
    host_.settle();
    EXPECT_TRUE(is_idle());
    adapter_->take_leave();
    EXPECT_FALSE(adapter_->is_connected());
    host_.settle();
    EXPECT_FALSE(is_idle()) << "it hasn't heard of the link";
    const auto message = driver_.control(*primary_);
    ASSERT_TRUE(message);
    EXPECT_EQ(
        take_from<protocol::IndicateStatus>(*message, 8).status, protocol::rndis_media_disconnect);
    driver_.complete_all(*primary_);
    host_.settle();
    EXPECT_TRUE(is_idle());
    network_.send({{}, frame_of(60)});
    host_.settle();
    EXPECT_TRUE(is_idle()) << "nothing comes any more";
}

TEST_F(AdapterTest, TellsAfterwardsHowTheLinkHasBecomeWhileItWasStopped) {
    boot();
    const auto stop = [&] {
        bool stopped = false;
        vm_.server().stop([&] { stopped = true; });
        while (!stopped && host_.work()) {
        }
        ASSERT_TRUE(stopped);
    };
    const auto link_of = [](const vdev::Record& state) {
        const vdev::Record channel = state.get_records("channels").at(0);
        return std::pair(channel.get_flag("indicates"), channel.get_flag("link"));
    };
    stop();
    adapter_->set_working(false);
    EXPECT_EQ(link_of(adapter_->save()), std::pair(true, false));
    adapter_->set_working(true);
    EXPECT_EQ(link_of(adapter_->save()), std::pair(false, false));
    adapter_->set_plugged(false);
    host_.settle();
    EXPECT_EQ(link_of(adapter_->save()), std::pair(true, false)) << "and nothing else has seen it";
    vm_.server().start();
    const auto message = driver_.control(*primary_);
    ASSERT_TRUE(message);
    EXPECT_EQ(
        take_from<protocol::IndicateStatus>(*message, 8).status, protocol::rndis_media_disconnect);
    stop();
    EXPECT_EQ(link_of(adapter_->save()), std::pair(false, false));
    vm_.server().start();
}

TEST_F(AdapterTest, CountsFrames) {
    boot();
    network_.send({{}, frame_of(60)});
    network_.send({{}, frame_of(70, broadcast_address)});
    ASSERT_TRUE(driver_.receive(*primary_) && driver_.receive(*primary_));
    driver_.send_by_section(*primary_, rndis_packet(frame_of(80, other_address)));
    EXPECT_EQ(driver_.query(*primary_, Oid::rcv_ok), concatenate(std::uint64_t{2}));
    EXPECT_EQ(driver_.query(*primary_, Oid::rcv_ok, 4), concatenate(std::uint32_t{2}));
    EXPECT_EQ(driver_.query(*primary_, Oid::broadcast_bytes_rcv), concatenate(std::uint64_t{70}));
    EXPECT_EQ(driver_.query(*primary_, Oid::directed_frames_rcv), concatenate(std::uint64_t{1}));
    EXPECT_EQ(driver_.query(*primary_, Oid::bytes_xmit), concatenate(std::uint64_t{80}));
    EXPECT_EQ(adapter_->statistics().sent.frames[0], 1U);
}

TEST_F(AdapterTest, SurvivesANetworkThatIsGone) {
    boot();
    network_.break_down();
    host_.settle();
    EXPECT_EQ(
        driver_.send_by_section(*primary_, rndis_packet(frame_of(60, other_address))), success);
    EXPECT_EQ(driver_.query(*primary_, Oid::xmit_error), concatenate(std::uint64_t{1}));
}

/// A guest that takes nothing gets as much as its receive buffer holds, and loses the rest.
TEST_F(AdapterTest, WaitsForAGuestThatCompletesNothing) {
    boot();
    driver_.set_completes(false);
    unsigned received = 0;
    for (unsigned i = 0; i < 400; ++i) {
        network_.send({{}, frame_of(60, guest_address, i)});
        host_.settle();
        host_.settle();
    }
    while (received < 150) {
        ASSERT_TRUE(driver_.receive(*primary_));
        ++received;
    }
    driver_.set_completes(true);
    driver_.complete_all(*primary_);
    for (; received < 400; ++received) {
        const auto frame = driver_.receive(*primary_);
        ASSERT_TRUE(frame) << received;
        EXPECT_EQ(frame->bytes, frame_of(60, guest_address, received));
    }
}

TEST_F(AdapterTest, GoesOnWhereItWasSaved) {
    boot();
    driver_.set_completes(false);
    network_.send({{}, frame_of(60)});
    ASSERT_TRUE(driver_.receive(*primary_));
    const auto stop = [&] {
        bool stopped = false;
        vm_.server().stop([&] { stopped = true; });
        while (!stopped && host_.work()) {
        }
        ASSERT_TRUE(stopped);
    };
    stop();
    const auto bus = vdev::Record::decode(vm_.server().save().encode());
    const auto state = vdev::Record::decode(adapter_->save().encode());

    auto restored =
        std::make_unique<Adapter>(host_.threads(), network_, guest_address, network_mtu);
    vm_.replace_server();
    host_.settle();
    std::swap(adapter_, restored);
    restored.reset();
    device_ = vm_.server().add(Adapter::offer(instance), *adapter_);
    adapter_->restore(state);
    vm_.server().restore(bus);
    vm_.server().start();
    // What it had is still its own, and all goes on.
    driver_.complete_all(*primary_);
    driver_.set_completes(true);
    EXPECT_EQ(
        driver_.send_by_section(*primary_, rndis_packet(frame_of(90, other_address))), success);
    EXPECT_EQ(from_guest().value_or(Frame()).bytes, frame_of(90, other_address));
    network_.send({{}, frame_of(61)});
    EXPECT_EQ(driver_.receive(*primary_)->bytes, frame_of(61));
    EXPECT_TRUE(vm_.reports().empty()) << vm_.reports().front();
    stop();
    EXPECT_EQ(vdev::Record::decode(adapter_->save().encode()).type(), state.type());
    vm_.server().start();
}

TEST_F(AdapterTest, RefusesASavedStateThatCannotBe) {
    boot();
    bool stopped = false;
    vm_.server().stop([&] { stopped = true; });
    while (!stopped && host_.work()) {
    }
    vdev::Record record = adapter_->save();
    record.set("mtu", 5);
    EXPECT_THROW(adapter_->restore(record), vdev::RecordError);
    record.set("mtu", 1500).set("sub_channels", 99);
    EXPECT_THROW(adapter_->restore(record), vdev::RecordError);
    EXPECT_THROW(adapter_->restore(vdev::Record("storvsp", 1)), vdev::RecordError);
    vm_.server().start();
}

TEST_F(AdapterTest, IsTakenAwayWhileFramesCome) {
    boot();
    for (unsigned i = 0; i < 20; ++i) {
        network_.send({{}, frame_of(60)});
    }
    vm_.server().remove(device_);
    ASSERT_TRUE(guest_.wait<vmbus::protocol::RescindChannelOffer>(
        vmbus::protocol::MessageType::rescind_channel_offer));
    guest_.post(vmbus::protocol::ChannelMessage{
        {static_cast<std::uint32_t>(vmbus::protocol::MessageType::close_channel), 0},
        primary_->relid});
    while (adapter_->open_channels() != 0 && host_.work()) {
    }
    EXPECT_EQ(adapter_->open_channels(), 0U);
    host_.settle();
}

} // namespace
} // namespace croft::vsp::network
