// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/memory/page_records.hpp"

#include <algorithm>
#include <atomic>
#include <gtest/gtest.h>
#include <random>
#include <thread>
#include <vector>

namespace hypervisor {
namespace {

/// Records of pages that need not exist: nothing but their numbers matters.
struct Records {
    explicit Records(std::uint64_t pages)
        : storage((PageRecords::bytes_for(pages) + 7) / 8, 0xdeadbeefdeadbeef) {
        records.initialise(storage.data(), pages);
    }
    void assign(std::uint64_t first, std::uint64_t count, PageKind kind) {
        for (std::uint64_t i = 0; i < count; ++i) {
            records.assign(SpaPage{first + i}, kind);
        }
    }
    std::vector<std::uint64_t> storage;
    PageRecords records{};
};

TEST(PageRecords, StartAsDevices) {
    Records machine{700};
    EXPECT_EQ(machine.records.pages(), 700u);
    for (std::uint64_t page : {0u, 511u, 512u, 699u, 700u, 100'000u}) {
        EXPECT_EQ(machine.records.kind(SpaPage{page}), PageKind::device);
        EXPECT_EQ(machine.records.owner(SpaPage{page}), 0);
        EXPECT_FALSE(machine.records.try_take(SpaPage{page}, 1));
        // Devices are referred to at will: nothing is counted, and nothing is owed.
        EXPECT_TRUE(machine.records.try_reference(SpaPage{page}));
        machine.records.release(SpaPage{page});
        machine.records.release(SpaPage{page});
    }
}

TEST(PageRecords, NeedOnlyTheBytesTheySay) {
    for (const std::uint64_t pages : {1u, 511u, 512u, 513u, 5000u}) {
        // On the heap to the byte: the address sanitizer sees what lies behind.
        const auto storage = std::make_unique<std::byte[]>(PageRecords::bytes_for(pages));
        PageRecords records;
        records.initialise(storage.get(), pages);
        for (std::uint64_t page = 0; page < pages; ++page) {
            records.assign(SpaPage{page}, PageKind::root);
        }
        EXPECT_TRUE(records.try_take(SpaPage{pages - 1}, 3));
    }
}

TEST(PageRecords, LetOnlyTheRootsPagesBeTaken) {
    Records machine{512};
    machine.assign(0, 1, PageKind::root);
    machine.assign(1, 1, PageKind::hypervisor);
    machine.assign(2, 1, PageKind::overlay);
    EXPECT_TRUE(machine.records.try_take(SpaPage{0}, 0x1234));
    EXPECT_EQ(machine.records.kind(SpaPage{0}), PageKind::deposited);
    EXPECT_EQ(machine.records.owner(SpaPage{0}), 0x1234);
    EXPECT_FALSE(machine.records.try_take(SpaPage{0}, 0x1234));
    EXPECT_FALSE(machine.records.try_take(SpaPage{1}, 1));
    EXPECT_FALSE(machine.records.try_take(SpaPage{2}, 1));
    EXPECT_FALSE(machine.records.try_reference(SpaPage{0}));
    EXPECT_FALSE(machine.records.try_reference(SpaPage{1}));
    EXPECT_FALSE(machine.records.try_reference(SpaPage{2}));

    machine.records.give_back(SpaPage{0});
    EXPECT_EQ(machine.records.kind(SpaPage{0}), PageKind::root);
    EXPECT_EQ(machine.records.owner(SpaPage{0}), 0);
    EXPECT_TRUE(machine.records.try_reference(SpaPage{0}));
}

TEST(PageRecords, SharedPagesStayTheirOwners) {
    Records machine{512};
    machine.assign(0, 512, PageKind::root);
    ASSERT_TRUE(machine.records.try_take(SpaPage{7}, 0xffff));
    machine.records.set_shared(SpaPage{7}, true);
    EXPECT_EQ(machine.records.kind(SpaPage{7}), PageKind::shared);
    EXPECT_EQ(machine.records.owner(SpaPage{7}), 0xffff);
    EXPECT_FALSE(machine.records.try_reference(SpaPage{7})) << "no child may map it";
    EXPECT_FALSE(machine.records.try_take(SpaPage{7}, 2));
    machine.records.set_shared(SpaPage{7}, false);
    EXPECT_EQ(machine.records.kind(SpaPage{7}), PageKind::deposited);
    machine.records.give_back(SpaPage{7});
    EXPECT_TRUE(machine.records.try_reference_large(SpaPage{0}));
}

TEST(PageRecords, AReferenceHoldsThePage) {
    Records machine{512};
    machine.assign(0, 512, PageKind::root);
    const SpaPage page{9};
    ASSERT_TRUE(machine.records.try_reference(page));
    ASSERT_TRUE(machine.records.try_reference(page));
    EXPECT_FALSE(machine.records.try_take(page, 1));
    machine.records.release(page);
    EXPECT_FALSE(machine.records.try_take(page, 1));
    machine.records.release(page);
    EXPECT_TRUE(machine.records.try_take(page, 1));
}

TEST(PageRecords, AReferenceToTwoMebibytesHoldsEachPage) {
    Records machine{1024};
    machine.assign(0, 1024, PageKind::root);
    ASSERT_TRUE(machine.records.try_reference_large(SpaPage{512}));
    for (const std::uint64_t page : {512u, 700u, 1023u}) {
        EXPECT_FALSE(machine.records.try_take(SpaPage{page}, 1));
    }
    EXPECT_TRUE(machine.records.try_take(SpaPage{511}, 1));
    // What has failed has changed nothing.
    EXPECT_TRUE(machine.records.try_reference_large(SpaPage{512}));
    machine.records.release_large(SpaPage{512});
    machine.records.release_large(SpaPage{512});
    EXPECT_TRUE(machine.records.try_take(SpaPage{512}, 1));
}

TEST(PageRecords, TwoMebibytesMustBeTheRootsWhole) {
    Records machine{1000};
    machine.assign(0, 1000, PageKind::root);
    EXPECT_TRUE(machine.records.try_reference_large(SpaPage{0}));
    machine.records.release_large(SpaPage{0});
    EXPECT_FALSE(machine.records.try_reference_large(SpaPage{512})) << "they end before 2 MiB do";
    EXPECT_FALSE(machine.records.try_reference_large(SpaPage{1u << 20}));
    EXPECT_FALSE(machine.records.try_reference_large(SpaPage{~0ull >> 12 << 9}));

    ASSERT_TRUE(machine.records.try_take(SpaPage{100}, 1));
    EXPECT_FALSE(machine.records.try_reference_large(SpaPage{0}));
    machine.records.give_back(SpaPage{100});
    EXPECT_TRUE(machine.records.try_reference_large(SpaPage{0}));
    machine.records.release_large(SpaPage{0});

    machine.records.assign(SpaPage{3}, PageKind::hypervisor);
    machine.records.assign(SpaPage{3}, PageKind::overlay);
    EXPECT_FALSE(machine.records.try_reference_large(SpaPage{0}));
    machine.records.assign(SpaPage{3}, PageKind::root);
    machine.records.assign(SpaPage{3}, PageKind::root);
    EXPECT_TRUE(machine.records.try_reference_large(SpaPage{0}));
}

TEST(PageRecords, AFailedTakeLeavesTheTwoMebibytesUsable) {
    Records machine{512};
    machine.assign(0, 512, PageKind::root);
    ASSERT_TRUE(machine.records.try_reference(SpaPage{5}));
    for (int i = 0; i < 3; ++i) {
        EXPECT_FALSE(machine.records.try_take(SpaPage{5}, 1));
    }
    EXPECT_TRUE(machine.records.try_reference_large(SpaPage{0}));
}

TEST(PageRecordsDeathTest, SaysWhenTheCountIsWrong) {
    Records machine{512};
    machine.assign(0, 512, PageKind::root);
    EXPECT_DEATH(machine.records.release(SpaPage{1}), "more often");
    EXPECT_DEATH(machine.records.release_large(SpaPage{0}), "more often");
    EXPECT_DEATH(machine.records.give_back(SpaPage{1}), "not deposited");
    EXPECT_DEATH(machine.records.set_shared(SpaPage{1}, true), "neither");
    EXPECT_DEATH(machine.records.assign(SpaPage{512}, PageKind::root), "no record");
    EXPECT_DEATH(machine.records.set_shared(SpaPage{1}, false), "neither");
}

/// The same in the plainest words.
struct Model {
    struct Page {
        PageKind kind = PageKind::root;
        std::uint16_t owner = 0;
        unsigned references = 0;
    };
    std::vector<Page> pages;
    std::vector<unsigned> large;

    [[nodiscard]] bool is_whole(std::uint64_t first) const {
        return first + 512 <= pages.size() &&
            std::all_of(pages.begin() + static_cast<std::ptrdiff_t>(first),
                pages.begin() + static_cast<std::ptrdiff_t>(first) + 512,
                [](const Page& page) { return page.kind == PageKind::root; });
    }
};

TEST(PageRecords, DoAsTheModelDoes) {
    constexpr std::uint64_t count = 3 * 512 - 12;
    Records machine{count};
    machine.assign(0, count, PageKind::root);
    Model model{.pages = std::vector<Model::Page>(count), .large = std::vector<unsigned>(3)};
    std::mt19937_64 random{20260101};
    PageRecords& records = machine.records;
    for (int step = 0; step < 60'000; ++step) {
        // Few pages, so that they meet.
        const std::uint64_t number = random() % 3 * 512 + random() % 6;
        const SpaPage page{number};
        Model::Page& expected = model.pages[number];
        unsigned& large = model.large[number / 512];
        switch (random() % 8) {
        case 0: {
            const bool ok = expected.kind == PageKind::root;
            ASSERT_EQ(records.try_reference(page), ok);
            expected.references += ok ? 1 : 0;
            break;
        }
        case 1:
            if (expected.references > 0) {
                records.release(page);
                --expected.references;
            }
            break;
        case 2: {
            const SpaPage first{number & ~511ull};
            const bool ok = model.is_whole(first.number());
            ASSERT_EQ(records.try_reference_large(first), ok);
            large += ok ? 1 : 0;
            break;
        }
        case 3:
        case 4:
            if (large > 0) {
                records.release_large(SpaPage{number & ~511ull});
                --large;
            }
            break;
        case 5: {
            const auto owner = static_cast<std::uint16_t>(random());
            const bool ok =
                expected.kind == PageKind::root && expected.references == 0 && large == 0;
            ASSERT_EQ(records.try_take(page, owner), ok);
            if (ok) {
                expected = {.kind = PageKind::deposited, .owner = owner};
            }
            break;
        }
        case 6:
            if (expected.kind == PageKind::deposited) {
                records.give_back(page);
                expected = {};
            }
            break;
        default:
            if (expected.kind == PageKind::deposited || expected.kind == PageKind::shared) {
                const bool share = expected.kind == PageKind::deposited;
                records.set_shared(page, share);
                expected.kind = share ? PageKind::shared : PageKind::deposited;
            }
        }
        ASSERT_EQ(records.kind(page), expected.kind);
        ASSERT_EQ(records.owner(page), expected.owner);
    }
}

TEST(PageRecords, NeverGiveOnePageToTwo) {
    constexpr std::uint64_t pages = 4;
    constexpr int rounds = 30'000;
    Records machine{512};
    machine.assign(0, 512, PageKind::root);
    PageRecords& records = machine.records;
    std::array<std::atomic<int>, pages> users{}; // by reference; a taker makes it negative
    std::atomic<bool> wrong = false;
    const auto mapper = [&](unsigned seed, bool large) {
        std::mt19937 random{seed};
        for (int i = 0; i < rounds; ++i) {
            const std::uint64_t number = random() % pages;
            if (large) {
                if (records.try_reference_large(SpaPage{0})) {
                    for (auto& user : users) {
                        wrong = wrong || user.fetch_add(1) < 0;
                    }
                    for (auto& user : users) {
                        user.fetch_sub(1);
                    }
                    records.release_large(SpaPage{0});
                }
            } else if (records.try_reference(SpaPage{number})) {
                wrong = wrong || users[number].fetch_add(1) < 0;
                users[number].fetch_sub(1);
                records.release(SpaPage{number});
            }
        }
    };
    const auto taker = [&](unsigned seed) {
        std::mt19937 random{seed};
        for (int i = 0; i < rounds; ++i) {
            const std::uint64_t number = random() % pages;
            if (records.try_take(SpaPage{number}, static_cast<std::uint16_t>(seed))) {
                wrong = wrong || users[number].fetch_sub(1000) != 0 ||
                    records.owner(SpaPage{number}) != seed;
                users[number].fetch_add(1000);
                records.give_back(SpaPage{number});
            }
        }
    };
    std::thread one{mapper, 1, false};
    std::thread two{mapper, 2, true};
    std::thread three{taker, 3};
    taker(4);
    one.join();
    two.join();
    three.join();
    EXPECT_FALSE(wrong);
    // All that was taken or referred to has come back.
    EXPECT_TRUE(records.try_reference_large(SpaPage{0}));
    records.release_large(SpaPage{0});
    for (std::uint64_t i = 0; i < pages; ++i) {
        EXPECT_TRUE(records.try_take(SpaPage{i}, 1));
    }
}

} // namespace
} // namespace hypervisor
