// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"
#include "tests/disk/one_of_many.hpp"
#include "tests/disk/power_cuts.hpp"

#include <gtest/gtest.h>
#include <optional>
#include <random>

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
    std::uint64_t sector_size() const { return GetParam().sector_size; }

    void fill(Chain& chain, std::uint64_t sector, std::uint64_t count, bool zeroes) {
        const Acknowledged::Tag tag = zeroes ? 0 : model_->new_tag();
        model_->begin(sector, count, tag);
        if (zeroes) {
            ASSERT_TRUE(chain.write_zeroes(sector * sector_size(), count * sector_size()));
        } else {
            ASSERT_TRUE(chain.write(sector * sector_size(), model_->bytes_of(tag, count)));
        }
    }

    void run_workload(std::size_t steps) {
        std::mt19937_64 random{11};
        auto chain = folder_.open();
        const std::uint64_t sectors = model_->sectors();
        for (std::size_t step = 0; step < steps && !HasFatalFailure(); ++step) {
            const std::uint64_t sector = random() % sectors;
            const std::uint64_t most = random() % 10 == 0 ? sectors : 64 * 512 / sector_size();
            const std::uint64_t count = std::min(1 + random() % most, sectors - sector);
            fill(*chain, sector, count, random() % 6 == 0);
            if (random() % 4 == 0) {
                ASSERT_TRUE(chain->flush());
                model_->flushed();
            }
            if (random() % 40 == 0) {
                ASSERT_TRUE(chain->close());
                model_->flushed();
                chain = folder_.open();
            }
        }
    }

    MemoryFolder folder_;
    std::optional<Acknowledged> model_;
};

TEST_P(PowerCut, EveryStateHoldsWhatWasFlushed) {
    folder_.create(GetParam(), disk_size);
    PowerCuts cuts{folder_, {"disk"}};
    model_.emplace(first_contents(GetParam(), disk_size / sector_size()), sector_size());
    run_workload(400);
    ASSERT_FALSE(HasFatalFailure());
    cuts.run(states_wanted, [this](MemoryFolder& after, std::uint64_t when) {
        if (GetParam().allocation == Allocation::differencing)
            after.file("parent")->bytes = folder_.file("parent")->bytes;
        const auto chain = after.open();
        ASSERT_NE(chain, nullptr);
        const auto report = check(chain->top());
        ASSERT_TRUE(report) << report.error().text();
        for (const Finding& finding : report->findings)
            ASSERT_NE(finding.severity, Finding::Severity::loss) << finding.what;
        model_->verify(*chain, when);
    });
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
