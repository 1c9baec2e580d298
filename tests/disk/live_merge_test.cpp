// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"
#include "disk/tool/live_merge.hpp"
#include "tests/disk/one_of_many.hpp"
#include "tests/disk/power_cuts.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <gtest/gtest.h>
#include <optional>
#include <random>
#include <thread>

// A child is merged into its parent while others use the disk.
namespace croft::disk::test {
namespace {

constexpr std::uint64_t disk_size = 12U << 20U;
// Of tests that go through many states.
constexpr std::uint64_t cut_size = 3U << 20U;

class LiveMerge : public testing::TestWithParam<Kind> {
protected:
    std::uint64_t sector_size() const { return GetParam().sector_size; }

    void expect_sound(Image& image) {
        const auto report = check(image);
        ASSERT_TRUE(report) << report.error().text();
        for (const Finding& finding : report->findings)
            EXPECT_EQ(finding.severity, Finding::Severity::note) << finding.what;
    }

    // All that a chain shows is what the history allows.
    void expect(Chain& chain, History& history) {
        std::vector<std::byte> bytes(disk_size);
        const auto read = chain.read(0, bytes);
        ASSERT_TRUE(read) << read.error().text();
        for (std::uint64_t i = 0; i < history.sectors(); ++i)
            ASSERT_TRUE(
                history.allows(i, load<History::Tag>(bytes, i * sector_size()), history.now()))
                << "sector " << i;
    }

    // Uses the disk from four threads until merge() is over and some time longer.
    void merge_in_use(Disk& disk, History& history, const tool::Progress& progress = {}) {
        std::atomic<bool> merged{false};
        std::atomic<int> bad{0};
        std::vector<std::thread> threads;
        for (unsigned i = 0; i < 4; ++i) {
            threads.emplace_back([&, i] {
                OneOfMany one{disk, history, static_cast<std::uint32_t>(sector_size()), 200 + i};
                do
                    one.run(20);
                while (!merged && one.good());
                one.run(40);
                bad += !one.good();
            });
        }
        const auto child = tool::merge(disk, progress);
        merged = true;
        for (std::thread& thread : threads)
            thread.join();
        EXPECT_TRUE(child) << child.error().text();
        EXPECT_EQ(bad, 0);
    }

    // Something of its own in the child.
    void fill_child(Chain& chain, History& history) {
        std::mt19937_64 random{3};
        for (int i = 0; i < 60; ++i) {
            const std::uint64_t sector = random() % history.sectors();
            const std::uint64_t count =
                std::min(1 + random() % (1U << 18U) / sector_size(), history.sectors() - sector);
            const History::Tag tag = random() % 4 == 0 ? 0 : history.new_tag();
            std::vector<std::byte> bytes(count * sector_size());
            for (std::size_t at = 0; at < bytes.size(); at += sizeof tag)
                save(bytes, at, tag);
            const auto begun = history.begin(sector, count, tag, true);
            if (tag == 0) {
                ASSERT_TRUE(chain.write_zeroes(sector * sector_size(), bytes.size()));
            } else {
                ASSERT_TRUE(chain.write(sector * sector_size(), bytes));
            }
            history.end(sector, count, begun);
        }
    }
};

TEST_P(LiveMerge, WhileFourThreadsUseTheDisk) {
    MemoryFolder folder;
    folder.create(GetParam(), disk_size);
    History history{first_contents(GetParam(), disk_size / sector_size())};
    auto chain = folder.open();
    fill_child(*chain, history);
    Disk disk{std::move(chain)};
    merge_in_use(disk, history);
    EXPECT_EQ(disk.chain().images().size(), 1U);
    expect(disk.chain(), history);
    expect_sound(disk.chain().top());
    EXPECT_TRUE(disk.close());
    for (const char* name : {"parent", "disk"}) {
        const auto again = folder.open(false, name);
        ASSERT_NE(again, nullptr);
        expect(*again, history);
        expect_sound(again->top());
    }
}

TEST_P(LiveMerge, IntoAParentThatHasOneItself) {
    MemoryFolder folder;
    folder.create(GetParam(), disk_size);
    History history{first_contents(GetParam(), disk_size / sector_size())};
    {
        const auto middle = folder.open();
        fill_child(*middle, history);
        ASSERT_TRUE(middle->close());
    }
    folder.create_one("top", GetParam(), disk_size, "disk");
    auto chain = folder.open(true, "top");
    ASSERT_EQ(chain->images().size(), 3U);
    fill_child(*chain, history);
    Disk disk{std::move(chain)};
    merge_in_use(disk, history);
    EXPECT_EQ(disk.chain().images().size(), 2U);
    EXPECT_TRUE(disk.close());
    const auto again = folder.open(false);
    ASSERT_NE(again, nullptr);
    ASSERT_EQ(again->images().size(), 2U);
    expect(*again, history);
    expect_sound(again->top());
}

TEST_P(LiveMerge, OnFilesAndRefusedWhileSomebodyElseReadsTheParent) {
    MemoryFolder folder;
    folder.create(GetParam(), disk_size);
    const TemporaryFolder files;
    folder.write_files(files);
    History history{first_contents(GetParam(), disk_size / sector_size())};
    auto chain = open_chain(files / "disk", {.write = true});
    ASSERT_TRUE(chain) << chain.error().text();
    auto disk = std::make_unique<Disk>(*std::move(chain));
    {
        const auto reader = open_chain(files / "parent", {});
        ASSERT_TRUE(reader) << reader.error().text();
        const auto refused = tool::merge(*disk, {});
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::in_use);
        EXPECT_EQ(refused.error().file, files / "parent");
    }
    merge_in_use(*disk, history);
    // The parent is the disk now, and nobody else's.
    const auto refused = open_chain(files / "parent", {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::in_use);
    EXPECT_TRUE(disk->close());
    disk.reset();
    const auto again = open_chain(files / "parent", {});
    ASSERT_TRUE(again) << again.error().text();
    expect(**again, history);
}

TEST_P(LiveMerge, StoppedAnywhereItGoesOnLater) {
    for (int stop_after = 0; stop_after < 40; stop_after += 7) {
        MemoryFolder folder;
        folder.create(GetParam(), disk_size);
        History history{first_contents(GetParam(), disk_size / sector_size())};
        auto chain = folder.open();
        fill_child(*chain, history);
        {
            Disk disk{std::move(chain)};
            int calls = 0;
            const auto stopped = tool::merge(
                disk, [&](std::uint64_t, std::uint64_t) { return ++calls <= stop_after; });
            ASSERT_FALSE(stopped);
            EXPECT_EQ(stopped.error().code, ErrorCode::interrupted);
            ASSERT_EQ(disk.chain().images().size(), 2U);
            expect(disk.chain(), history);
            if (stop_after % 2 == 0) {
                merge_in_use(disk, history); // with the same files open
            }
            ASSERT_TRUE(disk.close());
        }
        const auto again = folder.open();
        ASSERT_NE(again, nullptr) << "stopped after " << stop_after;
        expect(*again, history);
        expect_sound(again->top());
        ASSERT_TRUE(again->close());
    }
}

#ifndef __SANITIZE_THREAD__ // one thread each, and long

    // Which calls fail: all of the first ones, then ever fewer.
    #ifdef __SANITIZE_ADDRESS__
std::size_t stride(std::size_t call) {
    return 1 + call / 2;
}
    #else
std::size_t stride(std::size_t call) {
    return 1 + call / 8;
}
    #endif

// Each call that changes a file fails once, during the merge only. The disk stays usable, and holds
// all that was flushed; merging again succeeds.
TEST_P(LiveMerge, AfterAFaultItGoesOnLater) {
    for (const char* name : {"disk", "parent"}) {
        bool reached = true;
        for (std::size_t target = 0; reached; target += stride(target)) {
            MemoryFolder folder;
            folder.create(GetParam(), disk_size);
            History history{first_contents(GetParam(), disk_size / sector_size())};
            auto chain = folder.open();
            fill_child(*chain, history);
            ASSERT_TRUE(chain->flush());
            {
                Disk disk{std::move(chain)};
                std::size_t calls = 0;
                reached = false;
                folder.file(name)->fault = [&](const Event& call, std::size_t& length) {
                    if (call.kind == Event::Kind::read || calls++ != target)
                        return 0;
                    reached = true;
                    length = 0;
                    return ENOSPC;
                };
                const auto merged = tool::merge(disk, {});
                EXPECT_TRUE(merged || reached);
                folder.file(name)->fault = nullptr;
                expect(disk.chain(), history);
                ASSERT_FALSE(HasFatalFailure()) << name << ", call " << target;
            } // what can't be closed, because a flush failed, is replayed
            folder.file(name)->flush_failed = 0;
            auto again = folder.open();
            ASSERT_NE(again, nullptr) << name << ", call " << target;
            expect(*again, history);
            ASSERT_FALSE(HasFatalFailure()) << name << ", call " << target;
            Disk disk{std::move(again)};
            const auto merged = tool::merge(disk, {});
            ASSERT_TRUE(merged) << merged.error().text();
            expect(disk.chain(), history);
        }
    }
}

    #ifdef __SANITIZE_ADDRESS__
constexpr std::size_t states_wanted = 300;
    #else
constexpr std::size_t states_wanted = 3000;
    #endif

// The user writes and flushes between any two steps of the merge, and goes on after it.
TEST_P(LiveMerge, EveryPowerCutLeavesWhatWasFlushed) {
    MemoryFolder folder;
    folder.create(GetParam(), cut_size);
    Acknowledged model{first_contents(GetParam(), cut_size / sector_size()), sector_size()};
    auto chain = folder.open();
    for (std::uint64_t i = 0; i < model.sectors(); i += model.sectors() / 5) {
        const auto tag = model.new_tag();
        const std::uint64_t count = model.sectors() / 9;
        model.begin(i, std::min(count, model.sectors() - i), tag);
        ASSERT_TRUE(chain->write(
            i * sector_size(), model.bytes_of(tag, std::min(count, model.sectors() - i))));
    }
    ASSERT_TRUE(chain->flush());
    PowerCuts cuts{folder, {"disk", "parent"}};
    model.flushed();
    std::uint64_t merged_at = 0;
    {
        Disk disk{std::move(chain)};
        QueueDriver driver{disk};
        std::mt19937_64 random{17};
        const auto use = [&] {
            const std::uint64_t sector = random() % model.sectors();
            const std::uint64_t most = random() % 6 == 0 ? model.sectors() : 16;
            const std::uint64_t count = std::min(1 + random() % most, model.sectors() - sector);
            const auto tag = random() % 5 == 0 ? 0 : model.new_tag();
            model.begin(sector, count, tag);
            auto bytes = model.bytes_of(tag, count);
            const Status status = tag == 0
                ? driver.simple(Operation::write_zeroes, sector * sector_size(), bytes.size())
                : driver.write(sector * sector_size(), bytes);
            ASSERT_TRUE(status.ok());
            if (random() % 3 == 0) {
                ASSERT_TRUE(driver.simple(Operation::flush).ok());
                model.flushed();
            }
        };
        const auto merged = tool::merge(disk, [&](std::uint64_t, std::uint64_t) {
            use();
            return true;
        });
        ASSERT_TRUE(merged) << merged.error().text();
        merged_at = events_so_far();
        for (int step = 0; step < 30; ++step)
            use();
    }
    cuts.run(states_wanted, [&](MemoryFolder& after, std::uint64_t when) {
        std::vector<const char*> names{"disk"};
        if (when >= merged_at)
            names.push_back("parent");
        for (const char* name : names) {
            const auto opened = after.open(true, name);
            ASSERT_NE(opened, nullptr) << name;
            for (const auto& image : opened->images())
                expect_sound(*image);
            model.verify(*opened, when);
        }
    });
}

#endif

TEST_P(LiveMerge, RequestsThatAreCancelledWhileTheyWaitEndOnce) {
    MemoryFolder folder;
    folder.create(GetParam(), cut_size);
    Disk disk{folder.open()};
    QueueDriver driver{disk};
    auto maintenance = Disk::Maintenance::begin(disk);
    ASSERT_TRUE(maintenance);
    EXPECT_FALSE(Disk::Maintenance::begin(disk));
    EXPECT_FALSE(disk.resize(2 * cut_size));
    std::vector<std::byte> bytes(sector_size());
    const std::array segments{iovec{bytes.data(), bytes.size()}};
    int ended = 0;
    std::array<Request, 3> requests;
    {
        const Disk::Maintenance::Pause pause{*maintenance};
        for (Request& request : requests) {
            request.length = bytes.size();
            request.segments = segments;
            request.context = &ended;
            request.done = [](Request& over) noexcept {
                ++*static_cast<int*>(over.context);
            };
            driver.queue().submit(request);
        }
        driver.queue().cancel(requests[1]);
        driver.ring().run(false);
        EXPECT_EQ(ended, 0);
    }
    while (driver.queue().in_flight() > 0)
        driver.ring().run(true);
    EXPECT_EQ(ended, 3);
    EXPECT_TRUE(requests[0].status.ok());
    EXPECT_EQ(requests[1].status.code, ErrorCode::cancelled);
    EXPECT_TRUE(requests[2].status.ok());
}

constexpr Kind kinds[] = {
    {"vhd_differencing", Format::vhd, Allocation::differencing},
    {"vhdx_differencing", Format::vhdx, Allocation::differencing},
    {"vhdx_differencing_4096", Format::vhdx, Allocation::differencing, 4096},
};
INSTANTIATE_TEST_SUITE_P(
    , LiveMerge, testing::ValuesIn(kinds), [](const auto& kind) { return kind.param.name; });

} // namespace
} // namespace croft::disk::test
