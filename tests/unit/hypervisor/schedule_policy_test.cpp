// SPDX-License-Identifier: Apache-2.0
#include "abi/partition.h"
#include "hypervisor/scheduler/policy.hpp"

#include <gtest/gtest.h>
#include <vector>

namespace hypervisor {
namespace {

/// Four LPs, two in domain 0 and two in domain 7.
constexpr ScheduleMachine machine{.lps = 0b1111, .lps_of = [](std::uint32_t domain) {
                                      return domain == 0 ? std::uint64_t{0b0011}
                                          : domain == 7  ? std::uint64_t{0b1100}
                                                         : std::uint64_t{0};
                                  }};
constexpr std::uint64_t is_valid = 1ull << 63;
constexpr std::uint64_t is_preferred = 1ull << 32;

Status status_of(const SchedulePolicy& policy, std::uint32_t code, std::uint64_t value) {
    const auto changed = with_property(policy, code, value, machine);
    return changed ? Status::success : changed.error();
}

TEST(SchedulePolicy, HasTheDefaultsOfTheSpecification) {
    const SchedulePolicy policy;
    EXPECT_EQ(property_of(policy, HV_PARTITION_PROPERTY_CPU_WEIGHT), 100u);
    EXPECT_EQ(property_of(policy, HV_PARTITION_PROPERTY_CPU_CAP), 0x10000u);
    EXPECT_EQ(property_of(policy, HV_PARTITION_PROPERTY_CPU_RESERVE), 0u);
    EXPECT_EQ(property_of(policy, HV_PARTITION_PROPERTY_TIME_FREEZE), std::nullopt);
}

TEST(SchedulePolicy, TakesWhatIsInRange) {
    struct Case {
        std::uint32_t code;
        std::vector<std::uint64_t> good;
        std::vector<std::uint64_t> bad;
    };
    for (const Case& one :
        {Case{HV_PARTITION_PROPERTY_CPU_WEIGHT, {1, 100, 10'000}, {0, 10'001, 1ull << 32, ~0ull}},
            Case{HV_PARTITION_PROPERTY_CPU_CAP, {0, 1, 0x4000, 0x10000},
                {0x10001, 1ull << 32, (1ull << 32) + 5, ~0ull}},
            Case{HV_PARTITION_PROPERTY_CPU_RESERVE, {0, 1, 0x10000}, {0x10001, 1ull << 32, ~0ull}},
            Case{HV_PARTITION_VP_PROPERTY_SCHEDULING_AFFINITY_SET, {1, 8, 15, ~0ull},
                {0, 16, 1ull << 63}},
            Case{HV_PARTITION_PROPERTY_PROXIMITY_DOMAIN,
                {0, is_valid, is_valid | 7, is_valid | is_preferred | 7},
                {7, is_preferred, is_valid | 1, is_valid | (1ull << 33) | 7}}}) {
        for (const std::uint64_t value : one.good) {
            const auto changed = with_property({}, one.code, value, machine);
            ASSERT_TRUE(changed) << one.code << ' ' << value;
            EXPECT_EQ(property_of(*changed, one.code), value);
        }
        for (const std::uint64_t value : one.bad) {
            EXPECT_EQ(status_of({}, one.code, value), Status::property_value_out_of_range)
                << one.code << ' ' << value;
        }
    }
    EXPECT_EQ(status_of({}, HV_PARTITION_PROPERTY_SUSPEND, 0), Status::unknown_property);
}

TEST(SchedulePolicy, AReserveIsNotMoreThanTheCap) {
    SchedulePolicy policy;
    policy.cap = 0x4000;
    EXPECT_EQ(status_of(policy, HV_PARTITION_PROPERTY_CPU_RESERVE, 0x4000), Status::success);
    EXPECT_EQ(status_of(policy, HV_PARTITION_PROPERTY_CPU_RESERVE, 0x4001),
        Status::property_value_out_of_range);
    policy.reserve = 0x4000;
    EXPECT_EQ(status_of(policy, HV_PARTITION_PROPERTY_CPU_CAP, 0x3fff),
        Status::property_value_out_of_range);
}

TEST(SchedulePolicy, ADomainIsPreferredOrAllThatIsAllowed) {
    SchedulePolicy policy;
    policy.proximity = is_valid | 7;
    EXPECT_EQ(placement_of(policy, machine).allowed, 0b1100u);
    EXPECT_EQ(placement_of(policy, machine).preferred, 0b1100u);
    policy.proximity |= is_preferred;
    EXPECT_EQ(placement_of(policy, machine).allowed, Placement::everywhere);
    EXPECT_EQ(placement_of(policy, machine).preferred, 0b1100u);
    policy.affinity = 0b0110;
    EXPECT_EQ(placement_of(policy, machine).allowed, 0b0110u);
    policy.proximity = is_valid | 7;
    EXPECT_EQ(placement_of(policy, machine).allowed, 0b0100u);
    EXPECT_EQ(status_of(policy, HV_PARTITION_VP_PROPERTY_SCHEDULING_AFFINITY_SET, 0b0011),
        Status::property_value_out_of_range)
        << "no LP is both";
}

TEST(Placement, CostsLessWhereItIsPreferred) {
    Placement place;
    EXPECT_LT(place.cost(0, 0), place.cost(0, 1));
    place.set(0b0111, 0b0001);
    EXPECT_EQ(place.cost(3, 0), ~0u);
    EXPECT_LT(place.cost(0, 0), place.cost(1, 0));
    EXPECT_LT(place.cost(0, 1), place.cost(1, 0)) << "one more is better than another node";
    EXPECT_GT(place.cost(0, 2), place.cost(1, 0)) << "two more are not";
}

} // namespace
} // namespace hypervisor
