// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/memory/address_space.hpp"

#include "tests/unit/hypervisor/guest_memory_model.hpp"

#include <gtest/gtest.h>
#include <vector>

namespace hypervisor {
namespace {

constexpr std::uint32_t rwx = HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE;
constexpr std::uint32_t r = HV_MAP_GPA_READABLE;

class AddressSpaceTest : public testing::Test {
protected:
    void SetUp() override {
        pages_.add_to(pool_);
        ASSERT_TRUE(space_.create());
    }
    void TearDown() override {
        for (Overlay* overlay : {&one_, &two_, &three_}) {
            space_.lift(*overlay);
        }
        flush();
        space_.destroy();
        EXPECT_EQ(pool_.balance().free, pages_.count());
        for (std::uint64_t spa = 0; spa < 4 * 512; ++spa) {
            ASSERT_FALSE(is_held(spa)) << spa;
        }
    }
    void flush() { released_.release(machine_.records, pool_); }
    [[nodiscard]] std::uint64_t shown(std::uint64_t gpa) const {
        const auto mapping = space_.lookup(GpaPage{gpa});
        return mapping.access == Slat::Access::mapped ? mapping.page.number() : 0;
    }
    [[nodiscard]] bool is_held(std::uint64_t spa) {
        if (machine_.records.try_take(SpaPage{spa}, 1)) {
            machine_.records.give_back(SpaPage{spa});
            return false;
        }
        return true;
    }

    HostPages pages_{64};
    PagePool pool_{};
    Machine machine_{};
    AddressSpace space_{machine_.records, pool_, true};
    ReleaseList released_{};
    Overlay one_{.page = SpaPage{90'001}};
    Overlay two_{.page = SpaPage{90'002}};
    Overlay three_{.page = SpaPage{90'003}};
};

TEST_F(AddressSpaceTest, AnOverlayMoves) {
    ASSERT_EQ(space_.map(GpaPage{5}, SpaPage{10}, r, released_), Status::success);
    ASSERT_EQ(space_.lay(one_, GpaPage{5}), Status::success);
    ASSERT_EQ(space_.lay(one_, GpaPage{6}), Status::success);
    EXPECT_EQ(shown(5), 10u);
    EXPECT_EQ(shown(6), 90'001u);
    ASSERT_EQ(space_.lay(one_, GpaPage{6}), Status::success);
    EXPECT_EQ(shown(6), 90'001u);
    space_.lift(one_);
    EXPECT_EQ(shown(6), 0u);
}

TEST_F(AddressSpaceTest, AnOverlayThatCannotMoveStays) {
    ASSERT_EQ(space_.lay(one_, GpaPage{5}), Status::success);
    std::vector<SpaPage> taken;
    while (const auto page = pool_.allocate()) {
        taken.push_back(*page);
    }
    EXPECT_EQ(space_.lay(one_, GpaPage{1ull << 30}), Status::insufficient_memory);
    EXPECT_EQ(shown(5), 90'001u);
    EXPECT_TRUE(one_.active);
    EXPECT_EQ(one_.gpa, GpaPage{5});
    for (const SpaPage page : taken) {
        pool_.free(page);
    }
}

TEST_F(AddressSpaceTest, AnOverlayHidesWhatIsBelow) {
    ASSERT_EQ(space_.map(GpaPage{5}, SpaPage{10}, r, released_), Status::success);
    ASSERT_EQ(space_.lay(one_, GpaPage{5}), Status::success);
    EXPECT_EQ(shown(5), 90'001u);
    EXPECT_EQ(space_.lookup(GpaPage{5}).map_flags, rwx);
    EXPECT_TRUE(is_held(10)) << "it comes back";
    space_.lift(one_);
    EXPECT_EQ(shown(5), 10u);
    EXPECT_EQ(space_.lookup(GpaPage{5}).map_flags, r);
    EXPECT_FALSE(one_.active);
    space_.lift(one_); // it isn't there any more: nothing happens
    EXPECT_EQ(shown(5), 10u);
    EXPECT_TRUE(released_.empty());
}

TEST_F(AddressSpaceTest, AnOverlayIsWritableOrNot) {
    ASSERT_EQ(space_.map(GpaPage{5}, SpaPage{10}, rwx, released_), Status::success);
    Overlay code{.is_writable = false, .page = SpaPage{90'004}};
    ASSERT_EQ(space_.lay(code, GpaPage{5}), Status::success);
    EXPECT_TRUE(space_.lookup(GpaPage{5}).overlay);
    EXPECT_EQ(space_.lookup(GpaPage{5}).map_flags, HV_MAP_GPA_READABLE | HV_MAP_GPA_EXECUTABLE);
    ASSERT_EQ(space_.lay(one_, GpaPage{6}), Status::success);
    EXPECT_EQ(space_.lookup(GpaPage{6}).map_flags, rwx);
    space_.lift(code);
    EXPECT_FALSE(space_.lookup(GpaPage{5}).overlay);
    EXPECT_EQ(space_.lookup(GpaPage{5}).map_flags, rwx);
}

TEST_F(AddressSpaceTest, AnOverlayNeedsNothingBelow) {
    ASSERT_EQ(space_.lay(one_, GpaPage{5}), Status::success);
    EXPECT_EQ(shown(5), 90'001u);
    EXPECT_EQ(space_.mapped_pages(), 0u);
    space_.lift(one_);
    EXPECT_EQ(space_.lookup(GpaPage{5}).access, Slat::Access::unmapped);
    ASSERT_EQ(space_.map_no_access(GpaPage{5}, released_), Status::success);
    ASSERT_EQ(space_.lay(one_, GpaPage{5}), Status::success);
    space_.lift(one_);
    EXPECT_EQ(space_.lookup(GpaPage{5}).access, Slat::Access::no_access);
}

TEST_F(AddressSpaceTest, ChangesBelowShowWhenTheOverlayGoes) {
    ASSERT_EQ(space_.lay(one_, GpaPage{5}), Status::success);
    ASSERT_EQ(space_.map(GpaPage{5}, SpaPage{10}, r, released_), Status::success);
    EXPECT_EQ(shown(5), 90'001u);
    EXPECT_TRUE(is_held(10));
    ASSERT_EQ(space_.map(GpaPage{5}, SpaPage{11}, rwx, released_), Status::success);
    flush();
    EXPECT_FALSE(is_held(10));
    EXPECT_EQ(space_.mapped_pages(), 1u);
    space_.lift(one_);
    EXPECT_EQ(shown(5), 11u);

    ASSERT_EQ(space_.lay(one_, GpaPage{5}), Status::success);
    ASSERT_EQ(space_.unmap(GpaPage{5}, released_), Status::success);
    EXPECT_EQ(shown(5), 90'001u);
    flush();
    EXPECT_FALSE(is_held(11));
    ASSERT_EQ(space_.map_no_access(GpaPage{5}, released_), Status::success);
    space_.lift(one_);
    EXPECT_EQ(space_.lookup(GpaPage{5}).access, Slat::Access::no_access);
}

TEST_F(AddressSpaceTest, OverlaysLieOnOneAnother) {
    ASSERT_EQ(space_.map(GpaPage{5}, SpaPage{10}, rwx, released_), Status::success);
    ASSERT_EQ(space_.lay(one_, GpaPage{5}), Status::success);
    ASSERT_EQ(space_.lay(two_, GpaPage{5}), Status::success);
    ASSERT_EQ(space_.lay(three_, GpaPage{5}), Status::success);
    EXPECT_EQ(shown(5), 90'003u);
    ASSERT_EQ(space_.map(GpaPage{5}, SpaPage{11}, rwx, released_), Status::success);
    EXPECT_EQ(shown(5), 90'003u);
    space_.lift(two_);
    EXPECT_EQ(shown(5), 90'003u);
    space_.lift(three_);
    EXPECT_EQ(shown(5), 90'001u);
    ASSERT_EQ(space_.lay(two_, GpaPage{5}), Status::success);
    space_.lift(one_);
    EXPECT_EQ(shown(5), 90'002u);
    ASSERT_EQ(space_.map(GpaPage{5}, SpaPage{12}, rwx, released_), Status::success);
    space_.lift(two_);
    EXPECT_EQ(shown(5), 12u);
}

TEST_F(AddressSpaceTest, LargeChangesGoAroundAnOverlay) {
    ASSERT_EQ(space_.map_large(GpaPage{512}, SpaPage{512}, rwx, released_), Status::success);
    ASSERT_EQ(space_.lay(one_, GpaPage{600}), Status::success);
    ASSERT_EQ(space_.map_large(GpaPage{512}, SpaPage{1024}, r, released_), Status::success);
    EXPECT_EQ(shown(599), 1024u + 87);
    EXPECT_EQ(shown(600), 90'001u);
    EXPECT_EQ(shown(601), 1024u + 89);
    space_.lift(one_);
    EXPECT_EQ(shown(600), 1024u + 88);
    EXPECT_EQ(space_.lookup(GpaPage{600}).map_flags, r);
    EXPECT_EQ(space_.mapped_pages(), 512u);

    ASSERT_EQ(space_.lay(one_, GpaPage{600}), Status::success);
    flush();
    ASSERT_EQ(space_.unmap_large(GpaPage{512}, released_), Status::success);
    EXPECT_EQ(shown(600), 90'001u);
    EXPECT_EQ(shown(601), 0u);
    EXPECT_EQ(space_.mapped_pages(), 0u);
    flush();
    ASSERT_EQ(space_.map_no_access_large(GpaPage{512}, released_), Status::success);
    EXPECT_EQ(shown(600), 90'001u);
    space_.lift(one_);
    EXPECT_EQ(space_.lookup(GpaPage{600}).access, Slat::Access::no_access);
    EXPECT_EQ(space_.lookup(GpaPage{1023}).access, Slat::Access::no_access);

    // With the overlay gone, 2 MiB are one entry again.
    ASSERT_EQ(space_.map_large(GpaPage{512}, SpaPage{0}, rwx, released_), Status::success);
    EXPECT_TRUE(space_.lookup(GpaPage{600}).large);
}

TEST_F(AddressSpaceTest, ALargeMappingIsMadeWholeOrNotAtAll) {
    ASSERT_EQ(space_.map(GpaPage{512}, SpaPage{7}, r, released_), Status::success);
    ASSERT_EQ(space_.lay(one_, GpaPage{600}), Status::success);
    EXPECT_EQ(
        space_.map_large(GpaPage{512}, SpaPage{4 * 512}, rwx, released_), Status::access_denied)
        << "one of these pages is deposited";
    EXPECT_TRUE(released_.empty());
    EXPECT_EQ(shown(512), 7u);
    EXPECT_EQ(shown(513), 0u);
    EXPECT_EQ(space_.mapped_pages(), 1u);
    EXPECT_FALSE(is_held(4 * 512));
}

TEST_F(AddressSpaceTest, AnOverlayThatCannotBeLaidChangesNothing) {
    ASSERT_EQ(space_.map_large(GpaPage{512}, SpaPage{512}, rwx, released_), Status::success);
    {
        const Shortage shortage{pool_, 0};
        EXPECT_EQ(space_.lay(one_, GpaPage{600}), Status::insufficient_memory);
    }
    EXPECT_FALSE(one_.active);
    EXPECT_EQ(shown(600), 600u);
    EXPECT_TRUE(space_.lookup(GpaPage{600}).large);
    // And it holds nothing up: the 2 MiB are still changed as one.
    ASSERT_EQ(space_.map_large(GpaPage{512}, SpaPage{1024}, rwx, released_), Status::success);
    EXPECT_TRUE(space_.lookup(GpaPage{600}).large);
}

TEST_F(AddressSpaceTest, OverlaysFarApartDoNotMeet) {
    // 128 MiB apart: whatever sums overlays up by region may take them for one.
    constexpr std::uint64_t far = 64 * 512;
    ASSERT_EQ(space_.lay(one_, GpaPage{5}), Status::success);
    ASSERT_EQ(space_.lay(two_, GpaPage{5 + far}), Status::success);
    ASSERT_EQ(space_.map(GpaPage{6 + far}, SpaPage{10}, rwx, released_), Status::success);
    ASSERT_EQ(space_.map_large(GpaPage{2 * far}, SpaPage{512}, rwx, released_), Status::success);
    EXPECT_TRUE(space_.lookup(GpaPage{2 * far}).large);
    EXPECT_EQ(shown(5), 90'001u);
    EXPECT_EQ(shown(5 + far), 90'002u);
    space_.lift(one_);
    ASSERT_EQ(space_.map(GpaPage{5 + far}, SpaPage{11}, rwx, released_), Status::success);
    EXPECT_EQ(shown(5 + far), 90'002u) << "the other is still there";
    space_.lift(two_);
    EXPECT_EQ(shown(5 + far), 11u);
}

/// Changes to an address space while overlays come and go: what is below must be as without them.
class OverlaidSpace {
public:
    OverlaidSpace(Machine& machine, PagePool& pool) : space_{machine.records, pool, true} {
        EXPECT_TRUE(space_.create());
        for (std::uint64_t i = 0; i < overlays_.size(); ++i) {
            overlays_[i].page = SpaPage{90'000 + i};
        }
    }
    Status map(GpaPage g, SpaPage s, std::uint32_t f, ReleaseList& released) {
        move_one();
        return space_.map(g, s, f, released);
    }
    Status map_large(GpaPage g, SpaPage s, std::uint32_t f, ReleaseList& released) {
        move_one();
        return space_.map_large(g, s, f, released);
    }
    Status map_no_access(GpaPage g, ReleaseList& released) {
        move_one();
        return space_.map_no_access(g, released);
    }
    Status map_no_access_large(GpaPage g, ReleaseList& released) {
        move_one();
        return space_.map_no_access_large(g, released);
    }
    Status unmap(GpaPage g, ReleaseList& released) {
        move_one();
        return space_.unmap(g, released);
    }
    Status unmap_large(GpaPage g, ReleaseList& released) {
        move_one();
        return space_.unmap_large(g, released);
    }
    /// What would be there without overlays; and the latest overlay is what is really there.
    [[nodiscard]] Slat::Mapping lookup(GpaPage gpa) const {
        const Slat::Mapping seen = space_.lookup(gpa);
        const Overlay* lowest = nullptr;
        const Overlay* highest = nullptr;
        for (const std::size_t i : order_) {
            const Overlay& overlay = overlays_[i];
            if (overlay.active && overlay.gpa == gpa) {
                lowest = lowest == nullptr ? &overlay : lowest;
                highest = &overlay;
            }
        }
        if (highest == nullptr) {
            return seen;
        }
        EXPECT_EQ(seen.access, Slat::Access::mapped);
        EXPECT_EQ(seen.page, highest->page);
        const NestedPageEntry below = lowest->below;
        return {.access = below.is_present() ? Slat::Access::mapped
                : below.is_no_access()       ? Slat::Access::no_access
                                             : Slat::Access::unmapped,
            .map_flags = below.map_flags(),
            .page = below.page()};
    }
    [[nodiscard]] std::uint64_t mapped_pages() const { return space_.mapped_pages(); }
    void destroy() {
        for (Overlay& overlay : overlays_) {
            space_.lift(overlay);
        }
        space_.destroy();
    }

protected:
    AddressSpace space_;

private:
    void move_one() {
        const std::size_t which = random_() % overlays_.size();
        constexpr std::array<std::uint64_t, 3> regions{0, 512, 3ull << 18};
        Overlay& overlay = overlays_[which];
        std::erase(order_, which);
        space_.lift(overlay);
        ASSERT_FALSE(overlay.active);
        if (random_() % 3 != 0 &&
            space_.lay(overlay, GpaPage{regions[random_() % 3] + random_() % 4}) ==
                Status::success) {
            order_.push_back(which);
        }
    }

    std::mt19937_64 random_{42};
    std::array<Overlay, 6> overlays_{};
    std::vector<std::size_t> order_{}; ///< the first laid first
};

TEST(AddressSpaceModel, OverlaysComeAndGo) {
    run_against_model<OverlaidSpace>(
        {.seed = 5, .steps = 1500, .pool_pages = 64, .keep_free = ~0ull});
}

/// The same while each page has a state of its own, so that 2 MiB are mapped page by page.
class TrackedSpace : public OverlaidSpace {
public:
    TrackedSpace(Machine& machine, PagePool& pool) : OverlaidSpace{machine, pool} {
        EXPECT_EQ(space_.slat().track_pages(true), Status::success);
    }
};

template <class Space>
void run_with_shortages() {
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
        SCOPED_TRACE(seed);
        run_against_model<Space>(
            {.seed = 50 + seed, .steps = 200, .pool_pages = 64, .keep_free = seed % 4});
    }
}

TEST(AddressSpaceModel, EveryAllocationMayFail) {
    run_with_shortages<OverlaidSpace>();
}

TEST(AddressSpaceModel, EveryAllocationMayFailWhilePagesAreTracked) {
    run_with_shortages<TrackedSpace>();
}

} // namespace
} // namespace hypervisor
