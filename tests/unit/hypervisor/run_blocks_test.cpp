// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/run_blocks.hpp"

#include <gtest/gtest.h>
#include <thread>
#include <vector>

namespace hypervisor {
namespace {

TEST(RunBlocks, ForbidAllButWaiting) {
    RunBlocks blocks;
    EXPECT_FALSE(blocks.forbid());
    blocks.set(RunBlocks::waiting);
    EXPECT_FALSE(blocks.forbid()) << "an event ends it";
    for (const RunBlocks::Block block : {RunBlocks::explicit_suspend, RunBlocks::intercept_suspend,
             RunBlocks::dispatch_suspend, RunBlocks::held, RunBlocks::removed}) {
        blocks.set(block);
        EXPECT_TRUE(blocks.forbid()) << block;
        blocks.clear(block);
        EXPECT_FALSE(blocks.forbid()) << block;
    }
    EXPECT_EQ(blocks.all(), RunBlocks::waiting);
}

TEST(RunBlocks, HoldingLeavesOtherReasonsAlone) {
    RunBlocks blocks;
    blocks.set(RunBlocks::explicit_suspend);
    blocks.hold();
    blocks.clear(RunBlocks::explicit_suspend);
    EXPECT_TRUE(blocks.forbid());
    blocks.let_go();
    EXPECT_FALSE(blocks.forbid());
}

/// What a holder edits, nobody else does, and the virtual processor does not run meanwhile.
TEST(RunBlocks, AreHeldByOneAtATimeAndToTheEnd) {
    constexpr int threads = 4;
    constexpr int rounds = 200;
    RunBlocks blocks;
    int state = 0; // the holder's: a second one would be a race
    std::atomic<int> runs_while_held{0};
    std::vector<std::thread> holders;
    for (int i = 0; i < threads; ++i) {
        holders.emplace_back([&] {
            for (int round = 0; round < rounds; ++round) {
                blocks.hold();
                ++state;
                std::this_thread::yield();
                runs_while_held += blocks.forbid() ? 0 : 1;
                ++state;
                blocks.let_go();
            }
        });
    }
    for (std::thread& holder : holders) {
        holder.join();
    }
    EXPECT_EQ(state, 2 * threads * rounds);
    EXPECT_EQ(runs_while_held, 0);
    EXPECT_EQ(blocks.all(), 0u);
}

} // namespace
} // namespace hypervisor
