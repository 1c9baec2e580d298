// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"
#include "disk/vhd/dynamic_image.hpp"
#include "disk/vhdx/image.hpp"
#include "tests/disk/one_of_many.hpp"
#include "tests/disk/power_cuts.hpp"

#include <array>
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
constexpr std::size_t states_wanted = 1500; // of each of the seven kinds
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

    // What is beyond the part of the disk that the model knows comes and goes, with blocks of its
    // own and other pages of the tables, which move when the disk becomes large.
    void resize(Chain& chain, std::mt19937_64& random) {
        constexpr std::uint64_t mebibyte = 1U << 20U;
        const bool tables = GetParam().allocation != Allocation::fixed;
        const std::array<std::uint64_t, 5> sizes{disk_size, disk_size + 5 * mebibyte + 4096,
            disk_size + 64 * mebibyte, tables ? 1200 * mebibyte : disk_size + mebibyte,
            tables ? 140 * 1024 * mebibyte : disk_size + 2 * mebibyte};
        // The largest once: from then on the tables have room.
        const std::uint64_t size = sizes[random() % 8 == 0 ? 4 : random() % 4];
        const auto resized = chain.top().resize(size);
        ASSERT_TRUE(resized) << resized.error().text();
        for (int i = 0; i < 3 && size > disk_size + mebibyte; ++i) {
            const std::uint64_t place = disk_size + random() % ((size - disk_size) / 4096) * 4096;
            if (place + 4096 <= size && place < 4096 * mebibyte) {
                ASSERT_TRUE(chain.write(place, std::vector<std::byte>(4096, std::byte{9})));
            }
        }
    }

    // Whole blocks, which read as zeros then, where the format can say so.
    void discard(Chain& chain, std::mt19937_64& random) {
        const std::uint64_t block = chain.top().info().block_size;
        const bool can = GetParam().allocation == Allocation::dynamic ||
            (GetParam().format == Format::vhdx && GetParam().allocation != Allocation::fixed);
        if (!can)
            return;
        const std::uint64_t offset = random() % (disk_size / block) * block;
        model_->begin(offset / sector_size(), block / sector_size(), 0);
        ASSERT_TRUE(chain.discard(offset, block));
    }

    // The same parent once more.
    void rebase(Chain& chain) {
        if (GetParam().allocation != Allocation::differencing)
            return;
        const std::string identity = chain.top().info().parent_identities.front();
        if (auto* vhdx = dynamic_cast<vhdx::VhdxImage*>(&chain.top())) {
            ASSERT_TRUE(vhdx->set_parent_locator({{"parent_linkage", "{" + identity + "}"},
                {"relative_path", ".\\parent"}, {"absolute_win32_path", "\\else\\parent"}}));
        } else {
            ASSERT_TRUE(
                dynamic_cast<vhd::DynamicImage&>(chain.top())
                    .set_parent(Guid::parse(identity).value(), 0, ".\\parent", "\\else\\parent"));
        }
    }

    void change_shape(Chain& chain, std::mt19937_64& random) {
        switch (random() % 8) {
        case 0:
            rebase(chain);
            break;
        case 1:
            ASSERT_TRUE(repair(chain.top()));
            break;
        case 2:
        case 3:
        case 4:
            discard(chain, random);
            break;
        default:
            resize(chain, random);
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
            if (random() % 6 == 0)
                change_shape(*chain, random);
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
    std::size_t states_ = 0;
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
        if (++states_ % 4 == 0) { // as it is, before a writer puts right what the cut left
            const auto reader = after.open(false);
            ASSERT_NE(reader, nullptr);
            model_->verify(*reader, when);
        }
        const auto chain = after.open();
        ASSERT_NE(chain, nullptr);
        const auto report = check(chain->top());
        ASSERT_TRUE(report) << report.error().text();
        ASSERT_TRUE(report->clean()) << report->findings.front().what;
        model_->verify(*chain, when);
    });
}

constexpr Kind crash_safe_kinds[] = {
    {"vhd_dynamic", Format::vhd, Allocation::dynamic},
    {"vhd_differencing", Format::vhd, Allocation::differencing},
    {"vhdx_dynamic", Format::vhdx, Allocation::dynamic},
    {"vhdx_differencing", Format::vhdx, Allocation::differencing},
    {"vhd_fixed", Format::vhd, Allocation::fixed},
    {"vhdx_dynamic_4096", Format::vhdx, Allocation::dynamic, 4096},
    {"vhdx_differencing_4096", Format::vhdx, Allocation::differencing, 4096},
};
INSTANTIATE_TEST_SUITE_P(, PowerCut, testing::ValuesIn(crash_safe_kinds),
    [](const auto& kind) { return kind.param.name; });

} // namespace
} // namespace croft::disk::test
