// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/steering/steering.hpp"

#include "vsp/network/protocol/ndis.hpp"

#include <array>
#include <gtest/gtest.h>
#include <initializer_list>
#include <memory>
#include <numeric>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

namespace croft::vsp::network::steering {
namespace {

using Bytes = std::vector<std::uint8_t>;

// The key and the packets of "Verifying the RSS Hash Calculation" in the documentation of Windows
// drivers.
const Bytes key = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43,
    0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80,
    0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
const Bytes addresses_4 = {66, 9, 149, 187, 161, 142, 100, 80};
const Bytes addresses_6 = {0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 7,
    0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, 0, 0, 0, 0, 0, 0, 0, 1};
const Bytes ports = {2794 >> 8, 2794 & 0xff, 1766 >> 8, 1766 & 0xff};
constexpr std::uint32_t hash_4 = 0x323e8fc2;
constexpr std::uint32_t hash_tcp_4 = 0x51ccc178;
constexpr std::uint32_t hash_6 = 0x2cc18cd5;
constexpr std::uint32_t hash_tcp_6 = 0x40207d3d;

Bytes joined(std::initializer_list<Bytes> parts) {
    Bytes all;
    for (const Bytes& part : parts) {
        all.insert(all.end(), part.begin(), part.end());
    }
    return all;
}

TEST(Toeplitz, HashesAsItIsDocumented) {
    const auto table = std::make_unique<ToeplitzTable>();
    fill(*table, key);
    EXPECT_EQ(hash(*table, addresses_4), hash_4);
    EXPECT_EQ(hash(*table, joined({addresses_4, ports})), hash_tcp_4);
    EXPECT_EQ(hash(*table, addresses_6), hash_6);
    EXPECT_EQ(hash(*table, joined({addresses_6, ports})), hash_tcp_6);
}

TEST(Toeplitz, AShortKeyEndsInZeros) {
    const auto table = std::make_unique<ToeplitzTable>();
    fill(*table, Bytes{0x80});
    EXPECT_EQ(hash(*table, Bytes{0x80}), 0x80000000U);
    EXPECT_EQ(hash(*table, Bytes(longest_input, 0xff)), 0x80000000U);
    fill(*table, {});
    EXPECT_EQ(hash(*table, Bytes(longest_input, 0xff)), 0U);
}

Bytes ethernet(std::uint16_t type) {
    Bytes header(12, 0x02);
    header.push_back(static_cast<std::uint8_t>(type >> 8U));
    header.push_back(static_cast<std::uint8_t>(type & 0xffU));
    return header;
}

Bytes packet_4(std::uint8_t protocol, std::uint16_t fragment = 0, std::size_t options = 0) {
    Bytes header(12);
    header[0] = static_cast<std::uint8_t>(0x45 + options);
    header[6] = static_cast<std::uint8_t>(fragment >> 8U);
    header[7] = static_cast<std::uint8_t>(fragment & 0xffU);
    header[9] = protocol;
    return joined({header, addresses_4, Bytes(4 * options, 0xee), ports, Bytes(40)});
}

Bytes packet_6(std::uint8_t next) {
    Bytes header(8);
    header[0] = 0x60;
    header[6] = next;
    return joined({header, addresses_6, ports, Bytes(40)});
}

class SteeringTest : public ::testing::Test {
protected:
    SteeringTest() : steering_(Steering::make()) {}

    void SetUp() override {
        if (steering_ == nullptr) {
            GTEST_SKIP() << "no BPF for this process";
        }
        // The lowest bits of a hash are told apart; channel 7 has the device's queue 201.
        std::iota(queues_.begin(), queues_.end(), std::uint8_t{1});
        queues_[7] = 201;
        scaling_.enabled = true;
        scaling_.hashed = protocol::hash_ipv4 | protocol::hash_tcp_ipv4 | protocol::hash_ipv6 |
            protocol::hash_tcp_ipv6;
        scaling_.table.resize(Rules::entries);
        std::iota(scaling_.table.begin(), scaling_.table.end(), 0U);
        scaling_.key = key;
        steering_->set(scaling_, queues_);
    }

    /// What the kernel makes of a frame.
    [[nodiscard]] unsigned queue_of(Bytes frame) const {
        // In a trial the kernel hides an Ethernet header from programs of this kind.
        frame.insert(frame.begin(), 14, 0);
        bpf_attr attributes{};
        attributes.test.prog_fd = static_cast<std::uint32_t>(steering_->program());
        attributes.test.data_in = reinterpret_cast<std::uintptr_t>(frame.data());
        attributes.test.data_size_in = static_cast<std::uint32_t>(frame.size());
        EXPECT_EQ(::syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attributes, sizeof(attributes)), 0);
        return attributes.test.retval;
    }
    [[nodiscard]] unsigned by(std::uint32_t hash) const {
        return queues_.at(hash % Rules::entries);
    }

    static constexpr unsigned other = 1;
    std::array<std::uint8_t, Rules::entries> queues_{};
    ReceiveScaling scaling_;
    std::unique_ptr<Steering> steering_;
};

TEST_F(SteeringTest, SpreadsByTheHash) {
    EXPECT_EQ(queue_of(joined({ethernet(0x0800), packet_4(6)})), by(hash_tcp_4));
    EXPECT_EQ(queue_of(joined({ethernet(0x0800), packet_4(6, 0x4000, 3)})), by(hash_tcp_4));
    EXPECT_EQ(queue_of(joined({ethernet(0x0800), packet_4(17)})), by(hash_4));
    EXPECT_EQ(queue_of(joined({ethernet(0x0800), packet_4(6, 0x2000)})), by(hash_4));
    EXPECT_EQ(queue_of(joined({ethernet(0x0800), packet_4(6, 0x0001)})), by(hash_4));
    EXPECT_EQ(queue_of(joined({ethernet(0x86dd), packet_6(6)})), by(hash_tcp_6));
    EXPECT_EQ(queue_of(joined({ethernet(0x86dd), packet_6(58)})), by(hash_6));
    EXPECT_EQ(queue_of(joined({ethernet(0x8100), {0x00, 0x07, 0x08, 0x00}, packet_4(6)})),
        by(hash_tcp_4));
}

TEST_F(SteeringTest, OthersGoByTheFirstChannel) {
    EXPECT_EQ(queue_of(joined({ethernet(0x0806), Bytes(28)})), other);
    EXPECT_EQ(queue_of(joined({ethernet(0x0800), Bytes(19)})), other);
    EXPECT_EQ(queue_of(joined({ethernet(0x86dd), Bytes(39)})), other);
    EXPECT_EQ(queue_of(joined({ethernet(0x8100), {0x00}})), other);
    EXPECT_EQ(queue_of(ethernet(0x0800)), other);
}

TEST_F(SteeringTest, HashesWhatTheGuestWants) {
    scaling_.hashed = protocol::hash_ipv4 | protocol::hash_tcp_ipv6;
    steering_->set(scaling_, queues_);
    EXPECT_EQ(queue_of(joined({ethernet(0x0800), packet_4(6)})), by(hash_4));
    EXPECT_EQ(queue_of(joined({ethernet(0x86dd), packet_6(6)})), by(hash_tcp_6));
    EXPECT_EQ(queue_of(joined({ethernet(0x86dd), packet_6(17)})), other);
}

TEST_F(SteeringTest, ATableMayBeShortOrEmpty) {
    scaling_.table = {7, 7};
    steering_->set(scaling_, queues_);
    EXPECT_EQ(queue_of(joined({ethernet(0x0800), packet_4(6)})), 201U);
    scaling_.table = {};
    steering_->set(scaling_, queues_);
    EXPECT_EQ(queue_of(joined({ethernet(0x0800), packet_4(6)})), other);
}

} // namespace
} // namespace croft::vsp::network::steering
