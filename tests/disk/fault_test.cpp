// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"
#include "tests/disk/images.hpp"

#include <algorithm>
#include <cerrno>
#include <gtest/gtest.h>

// Each call that changes the file fails once, in three ways. What a flush had acknowledged stays.
namespace croft::disk::test {
namespace {

constexpr std::uint64_t disk_size = 8U << 20U;
constexpr std::uint64_t piece = 64U << 10U;
constexpr unsigned pieces = 40;

struct Fault {
    const char* name;
    int error;
    bool part; // of a write: half of it is done
};
constexpr Fault faults[] = {
    {"no space", ENOSPC, false}, {"I/O error", EIO, false}, {"short write", ENOSPC, true}};

class Faults : public testing::TestWithParam<Kind> {
protected:
    static std::uint64_t place(unsigned number) { return number * 7 % 64 * 2 * piece; }

    // Answers how many pieces a successful flush covers.
    static unsigned run(Chain& chain) {
        unsigned acknowledged = 0;
        unsigned written = 0;
        while (written < pieces) {
            const std::vector<std::byte> bytes(piece, static_cast<std::byte>(written + 1));
            if (!chain.write(place(written), bytes))
                break;
            ++written;
            if (written % 3 == 0 && chain.flush())
                acknowledged = written;
        }
        if (chain.close())
            acknowledged = written;
        return acknowledged;
    }
};

TEST_P(Faults, NothingAcknowledgedIsLost) {
    for (const Fault& fault : faults) {
        bool reached = true;
        for (std::size_t target = 0; reached; ++target) {
            MemoryFolder folder;
            folder.create(GetParam(), disk_size);
            const auto contents = folder.file("disk");
            std::size_t calls = 0;
            reached = false;
            contents->fault = [&](const Event& call, std::size_t& length) {
                if (call.kind == Event::Kind::read || calls++ != target)
                    return 0;
                reached = true;
                length = fault.part ? length / 2 : 0;
                return fault.error;
            };
            unsigned acknowledged = 0;
            {
                const auto chain = folder.open();
                ASSERT_NE(chain, nullptr);
                acknowledged = run(*chain);
            }
            contents->fault = nullptr;
            contents->flush_failed = 0;
            const auto chain = folder.open();
            ASSERT_NE(chain, nullptr) << fault.name << " at call " << target;
            const auto report = check(chain->top());
            ASSERT_TRUE(report) << report.error().text();
            for (const Finding& finding : report->findings)
                ASSERT_NE(finding.severity, Finding::Severity::loss) << finding.what;
            std::vector<std::byte> bytes(piece);
            for (unsigned i = 0; i < acknowledged; ++i) {
                ASSERT_TRUE(chain->read(place(i), bytes));
                ASSERT_TRUE(std::ranges::all_of(
                    bytes, [i](std::byte b) { return b == static_cast<std::byte>(i + 1); }))
                    << fault.name << " at call " << target << ", piece " << i;
            }
        }
    }
}

constexpr Kind kinds[] = {
    {"vhd_dynamic", Format::vhd, Allocation::dynamic},
    {"vhd_differencing", Format::vhd, Allocation::differencing},
    {"vhdx_dynamic", Format::vhdx, Allocation::dynamic},
    {"vhdx_differencing", Format::vhdx, Allocation::differencing},
};
INSTANTIATE_TEST_SUITE_P(
    , Faults, testing::ValuesIn(kinds), [](const auto& kind) { return kind.param.name; });

} // namespace
} // namespace croft::disk::test
