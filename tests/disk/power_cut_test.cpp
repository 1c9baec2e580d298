// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"
#include "disk/stored.hpp"
#include "tests/disk/images.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <random>
#include <set>

// A workload's writes and flushes are recorded; then the power is cut at every moment, what was not
// flushed being kept, lost, or kept in part and torn.
namespace croft::disk::test {
namespace {

constexpr std::uint64_t disk_size = 4U << 20U;
#ifdef __SANITIZE_ADDRESS__
constexpr std::size_t states_wanted = 300; // slow, and not about memory
#else
constexpr std::size_t states_wanted = 3000; // of each of the four kinds
#endif

class PowerCut : public testing::TestWithParam<Kind> {
protected:
    using Tag = std::uint64_t; // what a sector holds, repeated

    struct Write {
        std::size_t begun; // events before it
        std::uint64_t sector;
        std::uint64_t count;
        Tag tag;
    };
    struct Flushed {
        std::size_t done; // events when it was acknowledged
        std::size_t writes;
        std::vector<Tag> sectors;
    };

    std::uint64_t sector_size() const { return GetParam().sector_size; }

    void SetUp() override {
        folder_.create(GetParam(), disk_size);
        sectors_.resize(disk_size / sector_size());
        if (GetParam().allocation == Allocation::differencing) {
            for (std::uint64_t i = 0; i < sectors_.size(); ++i)
                sectors_[i] =
                    std::to_integer<Tag>(parent_byte(i * sector_size())) * 0x0101010101010101U;
        }
        contents_ = folder_.file("disk");
        contents_->record = true;
        start_ = contents_->bytes;
        flushes_.push_back({0, 0, sectors_});
    }

    void fill(Chain& chain, std::uint64_t sector, std::uint64_t count, bool zeroes) {
        const Tag tag = zeroes ? 0 : ++last_tag_ << 16U;
        writes_.push_back({contents_->events.size(), sector, count, tag});
        if (zeroes) {
            ASSERT_TRUE(chain.write_zeroes(sector * sector_size(), count * sector_size()));
        } else {
            std::vector<std::byte> bytes(count * sector_size());
            for (std::size_t at = 0; at < bytes.size(); at += sizeof tag)
                save(bytes, at, tag);
            ASSERT_TRUE(chain.write(sector * sector_size(), bytes));
        }
        std::fill_n(sectors_.begin() + static_cast<std::ptrdiff_t>(sector), count, tag);
    }

    void acknowledged() {
        flushes_.push_back({contents_->events.size(), writes_.size(), sectors_});
    }

    void run_workload(std::size_t steps) {
        std::mt19937_64 random{11};
        auto chain = folder_.open();
        for (std::size_t step = 0; step < steps && !HasFatalFailure(); ++step) {
            const std::uint64_t sector = random() % sectors_.size();
            const std::uint64_t most =
                random() % 10 == 0 ? sectors_.size() : 64 * 512 / sector_size();
            const std::uint64_t count = std::min(1 + random() % most, sectors_.size() - sector);
            fill(*chain, sector, count, random() % 6 == 0);
            if (random() % 4 == 0) {
                ASSERT_TRUE(chain->flush());
                acknowledged();
            }
            if (random() % 40 == 0) {
                ASSERT_TRUE(chain->close());
                acknowledged();
                chain = folder_.open();
            }
        }
    }

    // Applies an event that was not flushed: whole, or with some of its sectors missing.
    static void apply_torn(Event event, SparseBytes& bytes, std::mt19937_64& random) {
        if (event.kind != Event::Kind::write || random() % 2 == 0) {
            apply(event, bytes);
            return;
        }
        for (std::size_t at = 0; at < event.bytes.size(); at += 512) {
            const std::size_t length = std::min<std::size_t>(512, event.bytes.size() - at);
            if (random() % 2 == 0)
                bytes.write(event.offset + at, std::span{event.bytes}.subspan(at, length));
        }
    }

    void verify(const SparseBytes& bytes, std::size_t cut) {
        MemoryFolder after;
        after.file("disk")->bytes = bytes;
        if (GetParam().allocation == Allocation::differencing)
            after.file("parent")->bytes = folder_.file("parent")->bytes;
        const auto chain = after.open();
        ASSERT_NE(chain, nullptr);
        const auto report = check(chain->top());
        ASSERT_TRUE(report) << report.error().text();
        for (const Finding& finding : report->findings)
            ASSERT_NE(finding.severity, Finding::Severity::loss) << finding.what;
        std::vector<std::byte> back(disk_size);
        const auto read = chain->read(0, back);
        ASSERT_TRUE(read) << read.error().text();
        const auto flush = std::ranges::upper_bound(flushes_, cut, {}, &Flushed::done) - 1;
        std::vector<std::set<Tag>> later(sectors_.size());
        for (std::size_t i = flush->writes; i < writes_.size() && writes_[i].begun < cut; ++i) {
            for (std::uint64_t k = 0; k < writes_[i].count; ++k)
                later[writes_[i].sector + k].insert(writes_[i].tag);
        }
        for (std::uint64_t i = 0; i < sectors_.size(); ++i) {
            const auto tag = load<Tag>(back, i * sector_size());
            ASSERT_TRUE(tag == flush->sectors[i] || later[i].contains(tag))
                << "sector " << i << ": found " << tag << ", expected " << flush->sectors[i];
        }
    }

    MemoryFolder folder_;
    std::shared_ptr<MemoryStore::Contents> contents_;
    SparseBytes start_;
    std::vector<Tag> sectors_;
    std::vector<Write> writes_;
    std::vector<Flushed> flushes_;
    Tag last_tag_ = 0;
};

TEST_P(PowerCut, EveryStateHoldsWhatWasFlushed) {
    run_workload(400);
    ASSERT_FALSE(HasFatalFailure());
    const std::vector<Event> events = contents_->events;
    std::mt19937_64 random{13};
    SparseBytes flushed = start_;
    std::vector<const Event*> pending;
    std::size_t states = 0;
    const std::size_t each = states_wanted / events.size() + 1;
    for (std::size_t cut = 0; cut <= events.size(); ++cut) {
        for (std::size_t variant = 0; variant < each; ++variant) {
            SparseBytes state = flushed;
            for (const Event* event : pending) {
                if (variant == 0)
                    apply(*event, state);
                else if (random() % 3 != 0)
                    apply_torn(*event, state, random);
            }
            verify(state, cut);
            ASSERT_FALSE(HasFatalFailure())
                << "cut after " << cut << " of " << events.size() << " events, variant " << variant;
            ++states;
        }
        if (cut == events.size())
            break;
        pending.push_back(&events[cut]);
        if (events[cut].kind == Event::Kind::flush) {
            for (const Event* event : pending)
                apply(*event, flushed);
            pending.clear();
        }
    }
    RecordProperty("states", static_cast<int>(states));
    std::cout << GetParam().name << ": " << states << " states\n";
    EXPECT_GE(states, states_wanted);
}

constexpr Kind crash_safe_kinds[] = {
    {"vhd_dynamic", Format::vhd, Allocation::dynamic},
    {"vhd_differencing", Format::vhd, Allocation::differencing},
    {"vhdx_dynamic", Format::vhdx, Allocation::dynamic},
    {"vhdx_differencing", Format::vhdx, Allocation::differencing},
};
INSTANTIATE_TEST_SUITE_P(, PowerCut, testing::ValuesIn(crash_safe_kinds),
    [](const auto& kind) { return kind.param.name; });

} // namespace
} // namespace croft::disk::test
