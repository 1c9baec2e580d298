// SPDX-License-Identifier: Apache-2.0
// A guest physical address space in the plainest words, and random changes to it and to a real one.
#pragma once

#include "hypervisor/memory/slat.hpp"
#include "tests/unit/hypervisor/host_pages.hpp"

#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <vector>

namespace hypervisor {

/// A machine of 12 MiB, most of it the root's; its pages are never touched, so they need not exist.
struct Machine {
    static constexpr std::uint64_t pages = 6 * 512;
    // In the 2 MiB before the last, one page of each kind that no child may have.
    static constexpr std::uint64_t deposited = 4 * 512 + 3;
    static constexpr std::uint64_t shared = 4 * 512 + 4;
    static constexpr std::uint64_t hypervisor = 4 * 512 + 5;
    static constexpr std::uint64_t device = 5 * 512; ///< from here on

    Machine() : storage((PageRecords::bytes_for(pages) + 7) / 8) {
        records.initialise(storage.data(), pages);
        for (std::uint64_t i = 0; i < device; ++i) {
            records.assign(SpaPage{i}, PageKind::root);
        }
        EXPECT_TRUE(records.try_take(SpaPage{deposited}, 1));
        EXPECT_TRUE(records.try_take(SpaPage{shared}, 1));
        records.set_shared(SpaPage{shared}, true);
        records.assign(SpaPage{hypervisor}, PageKind::hypervisor);
    }
    std::vector<std::uint64_t> storage;
    PageRecords records{};
};

class GuestMemoryModel final {
public:
    struct Page {
        Slat::Access access = Slat::Access::unmapped;
        std::uint64_t spa = 0;
        std::uint32_t flags = 0;
    };

    [[nodiscard]] Page at(std::uint64_t gpa) const {
        const auto found = pages_.find(gpa);
        return found != pages_.end() ? found->second : Page{};
    }
    void set(std::uint64_t gpa, Page page) {
        Page& old = pages_[gpa];
        if (old.access == Slat::Access::mapped) {
            waiting_.push_back(old.spa);
            --mapped_;
        }
        if (page.access == Slat::Access::mapped) {
            ++held_[page.spa];
            ++mapped_;
        }
        old = page;
    }
    /// All TLBs have been flushed.
    void flush() {
        for (const std::uint64_t spa : waiting_) {
            if (--held_[spa] == 0) {
                held_.erase(spa);
            }
        }
        waiting_.clear();
    }
    [[nodiscard]] bool is_held(std::uint64_t spa) const { return held_.contains(spa); }
    [[nodiscard]] std::uint64_t mapped() const { return mapped_; }

private:
    std::map<std::uint64_t, Page> pages_{};
    std::map<std::uint64_t, unsigned> held_{};
    std::vector<std::uint64_t> waiting_{}; ///< for a flush; in held_ as well
    std::uint64_t mapped_ = 0;
};

struct ModelRun {
    std::uint64_t seed;
    int steps;
    std::size_t pool_pages;
    std::uint64_t keep_free; ///< pages that each step finds in the pool; the rest is out of reach
};

/// Does the same at random to a `Space` and to the model, and compares what can be seen.
template <class Space>
void run_against_model(const ModelRun& run) {
    // Neighbours, another GiB, another 512 GiB, and the end of what there is.
    constexpr std::array<std::uint64_t, 5> regions{
        0, 512, 3ull << 18, 5ull << 27, (Slat::address_limit >> page_shift) - 512};
    const HostPages pages{run.pool_pages};
    PagePool pool;
    pages.add_to(pool);
    Machine machine;
    Space space{machine, pool};
    GuestMemoryModel model;
    ReleaseList released;
    std::mt19937_64 random{run.seed};

    const auto check_region = [&](std::uint64_t region) {
        for (std::uint64_t gpa = region; gpa < region + 512; ++gpa) {
            const Slat::Mapping mapping = space.lookup(GpaPage{gpa});
            const GuestMemoryModel::Page expected = model.at(gpa);
            ASSERT_EQ(mapping.access, expected.access) << std::hex << gpa;
            if (expected.access == Slat::Access::mapped) {
                ASSERT_EQ(mapping.page.number(), expected.spa) << std::hex << gpa;
                ASSERT_EQ(mapping.map_flags, expected.flags) << std::hex << gpa;
            }
        }
    };
    const auto check_held = [&](std::uint64_t spa) {
        const bool is_free = machine.records.try_take(SpaPage{spa}, 9);
        if (is_free) {
            machine.records.give_back(SpaPage{spa});
        }
        ASSERT_EQ(is_free, !model.is_held(spa)) << spa;
    };
    const auto check_all = [&] {
        for (const std::uint64_t region : regions) {
            check_region(region);
        }
        for (std::uint64_t spa = 0; spa < 4 * 512; ++spa) {
            check_held(spa);
        }
    };

    int refused = 0;
    for (int step = 0; step < run.steps; ++step) {
        const std::uint64_t region = regions[random() % regions.size()];
        // Often at the edges of what is there already.
        const std::uint64_t gpa = region + (random() % 3 != 0 ? random() % 8 : random() % 512);
        const std::uint64_t large_spa = random() % 6 * 512;
        const std::uint64_t spa =
            random() % 20 == 0 ? Machine::deposited + random() % 3 : random() % 40 * 60;
        const auto flags = static_cast<std::uint32_t>(HV_MAP_GPA_READABLE |
            (random() % 2 != 0 ? HV_MAP_GPA_WRITABLE : 0) |
            (random() % 2 != 0 ? HV_MAP_GPA_EXECUTABLE : 0) |
            (random() % 4 == 0 ? HV_MAP_GPA_NOT_CACHED : 0));
        const bool spa_denied = spa >= Machine::deposited && spa <= Machine::hypervisor;
        const unsigned what = static_cast<unsigned>(random() % 16);
        const bool was_empty = released.empty();

        bool denied = false;
        bool large = false;
        GuestMemoryModel::Page page;
        Status status = Status::success;
        {
            const Shortage shortage{pool, run.keep_free};
            if (what < 6) {
                page = {Slat::Access::mapped, spa, flags};
                denied = spa_denied;
                status = space.map(GpaPage{gpa}, SpaPage{spa}, flags, released);
            } else if (what < 8) {
                page = {Slat::Access::mapped, large_spa, flags};
                large = true;
                denied = large_spa >= 4 * 512; // not all of it is the root's memory
                status = space.map_large(GpaPage{region}, SpaPage{large_spa}, flags, released);
            } else if (what < 11) {
                page = {Slat::Access::no_access, 0, 0};
                status = space.map_no_access(GpaPage{gpa}, released);
            } else if (what < 12) {
                page = {Slat::Access::no_access, 0, 0};
                large = true;
                status = space.map_no_access_large(GpaPage{region}, released);
            } else if (what < 15) {
                status = space.unmap(GpaPage{gpa}, released);
            } else {
                large = true;
                status = space.unmap_large(GpaPage{region}, released);
            }
        }
        if (status == Status::insufficient_memory) {
            ASSERT_NE(run.keep_free, ~0ull);
            ++refused;
        } else {
            ASSERT_EQ(status, denied ? Status::access_denied : Status::success) << what;
        }
        if (status == Status::success) {
            for (std::uint64_t i = 0; i < (large ? 512u : 1u); ++i) {
                GuestMemoryModel::Page one = page;
                one.spa += page.access == Slat::Access::mapped ? i : 0;
                model.set(large ? region + i : gpa, one);
            }
        } else {
            ASSERT_EQ(released.empty(), was_empty) << "nothing has changed, so nothing is released";
        }
        ASSERT_EQ(space.mapped_pages(), model.mapped());
        check_region(region);
        check_held(spa_denied ? 0 : spa);
        if (!released.has_room() || random() % 4 == 0) {
            released.release(machine.records, pool);
            model.flush();
            check_held(spa_denied ? 0 : spa);
        }
        if (step % 100 == 99) {
            check_all();
        }
        if (testing::Test::HasFatalFailure()) {
            FAIL() << "at step " << step;
        }
    }
    if (run.keep_free == 0) {
        EXPECT_GT(refused, 0) << "the run was to meet an empty pool";
    }
    released.release(machine.records, pool);
    model.flush();
    check_all();
    space.destroy();
    EXPECT_EQ(pool.balance().free, run.pool_pages) << "a table is lost";
    for (std::uint64_t spa = 0; spa < 4 * 512; ++spa) {
        EXPECT_TRUE(machine.records.try_take(SpaPage{spa}, 1)) << spa;
    }
}

} // namespace hypervisor
