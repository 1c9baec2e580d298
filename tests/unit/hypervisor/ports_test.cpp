// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/ports.hpp"

#include "tests/unit/hypervisor/host_pages.hpp"

#include <array>
#include <gtest/gtest.h>
#include <set>
#include <vector>

namespace hypervisor {
namespace {

constexpr std::uint64_t any_value = HV_DOORBELL_FLAG_TRIGGER_ANY_VALUE;

TEST(Doorbell, RingsOnWritesToItsAddress) {
    const Doorbell bell{.gpa = 0xfe001000, .flags = any_value, .in_use = true};
    EXPECT_TRUE(bell.matches_write(0xfe001000, 4, 0));
    EXPECT_TRUE(bell.matches_write(0xfe001000, 1, 77));
    EXPECT_FALSE(bell.matches_write(0xfe001001, 4, 0));
    EXPECT_FALSE(bell.matches_write(0xfe000fff, 4, 0));
    const Doorbell gone{.gpa = 0xfe001000, .flags = any_value};
    EXPECT_FALSE(gone.matches_write(0xfe001000, 4, 0));
}

TEST(Doorbell, MayAskForASize) {
    const std::array<unsigned, 4> sizes{1, 2, 4, 8};
    for (std::uint64_t wanted = 0; wanted <= 7; ++wanted) {
        const Doorbell bell{.gpa = 64, .flags = any_value | wanted, .in_use = true};
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            const bool expected = wanted == HV_DOORBELL_FLAG_TRIGGER_SIZE_ANY || wanted == i + 1;
            EXPECT_EQ(bell.matches_write(64, sizes[i], 5), expected) << wanted << ", " << sizes[i];
        }
    }
}

TEST(Doorbell, MayAskForAValue) {
    const Doorbell bell{.gpa = 64, .trigger_value = 3, .flags = 0, .in_use = true};
    EXPECT_TRUE(bell.matches_write(64, 2, 3));
    EXPECT_FALSE(bell.matches_write(64, 2, 2));
    const Doorbell both{
        .gpa = 64, .trigger_value = 3, .flags = HV_DOORBELL_FLAG_TRIGGER_SIZE_WORD, .in_use = true};
    EXPECT_TRUE(both.matches_write(64, 2, 3));
    EXPECT_FALSE(both.matches_write(64, 4, 3));
    EXPECT_FALSE(both.matches_write(64, 2, 4));
}

TEST(Doorbell, OnesOfOneAddressAreToldApartByTheirValues) {
    // The queues of a virtio device notify so.
    const HostPages pages{2};
    PagePool pool;
    pages.add_to(pool);
    PortTable table;
    for (std::uint32_t queue = 0; queue < 10; ++queue) {
        Doorbell* const bell = table.doorbells.add(pool);
        ASSERT_NE(bell, nullptr);
        bell->gpa = 0xfe000050;
        bell->trigger_value = queue;
        bell->port_id = 100 + queue;
    }
    for (std::uint32_t queue = 0; queue < 10; ++queue) {
        const Doorbell* const bell = table.doorbells.find(
            [&](const Doorbell& one) { return one.matches_write(0xfe000050, 2, queue); });
        ASSERT_NE(bell, nullptr);
        EXPECT_EQ(bell->port_id, 100 + queue);
    }
    EXPECT_EQ(table.doorbells.find(
                  [](const Doorbell& one) { return one.matches_write(0xfe000050, 2, 10); }),
        nullptr);
}

TEST(PagedTable, GrowsByPagesAndReusesEntries) {
    const HostPages pages{3};
    PagePool pool;
    pages.add_to(pool);
    PortTable table;
    EXPECT_EQ(table.find_port(0), nullptr);
    std::vector<Port*> all;
    while (Port* const port = table.ports.add(pool)) {
        EXPECT_TRUE(port->in_use);
        EXPECT_EQ(port->id, 0u);
        port->id = static_cast<std::uint32_t>(1000 + all.size());
        all.push_back(port);
        ASSERT_LT(all.size(), 3 * page_size);
    }
    EXPECT_EQ(pool.balance().free, 0u);
    EXPECT_GT(all.size(), 3 * 100u) << "a page holds many";
    EXPECT_EQ(std::set<Port*>(all.begin(), all.end()).size(), all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        ASSERT_EQ(table.find_port(static_cast<std::uint32_t>(1000 + i)), all[i]);
    }
    EXPECT_EQ(table.find_port(999), nullptr);

    // One that is given up is found no more, and is the next that is given out, as new.
    Port* const given_up = all[all.size() / 2];
    const std::uint32_t id = given_up->id;
    given_up->target_sint = 9;
    table.ports.remove(*given_up, pool);
    EXPECT_EQ(table.find_port(id), nullptr);
    Port* const again = table.ports.add(pool);
    EXPECT_EQ(again, given_up);
    EXPECT_TRUE(again->in_use);
    EXPECT_EQ(again->id, 0u);
    EXPECT_EQ(again->target_sint, 0);

    table.ports.release(pool);
    EXPECT_EQ(pool.balance().free, 3u);
    EXPECT_EQ(table.find_port(1000), nullptr);
    EXPECT_NE(table.ports.add(pool), nullptr);
    table.ports.release(pool);
}

TEST(PagedTable, GivesBackAPageWithItsLastEntry) {
    const HostPages pages{3};
    PagePool pool;
    pages.add_to(pool);
    PagedTable<Port> table;
    std::vector<std::vector<Port*>> blocks;
    while (Port* const port = table.add(pool)) {
        if (blocks.size() != 3 - pool.balance().free) {
            blocks.emplace_back();
        }
        blocks.back().push_back(port);
    }
    ASSERT_EQ(blocks.size(), 3u);
    // The list's middle, its beginning, its end.
    std::uint64_t given_back = 0;
    for (const std::size_t which : {1u, 2u, 0u}) {
        for (Port* const port : blocks[which]) {
            EXPECT_EQ(pool.balance().free, given_back);
            table.remove(*port, pool);
        }
        EXPECT_EQ(pool.balance().free, ++given_back);
    }
    EXPECT_NE(table.add(pool), nullptr);
    table.release(pool);
}

} // namespace
} // namespace hypervisor
