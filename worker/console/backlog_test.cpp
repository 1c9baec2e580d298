// SPDX-License-Identifier: Apache-2.0
#include "worker/console/backlog.hpp"

#include <gtest/gtest.h>
#include <string>
#include <string_view>

namespace croft::worker {
namespace {

void append(Backlog& backlog, std::string_view text) {
    backlog.append(
        {static_cast<const std::uint8_t*>(static_cast<const void*>(text.data())), text.size()});
}

std::string text_from(const Backlog& backlog, std::uint64_t position) {
    std::string text;
    while (position < backlog.end()) {
        const auto piece = backlog.from(position);
        EXPECT_FALSE(piece.empty());
        text.append(piece.begin(), piece.end());
        position += piece.size();
    }
    return text;
}

TEST(BacklogTest, IsEmptyAtFirst) {
    const Backlog backlog(8);
    EXPECT_EQ(backlog.begin(), 0U);
    EXPECT_EQ(backlog.end(), 0U);
    EXPECT_EQ(backlog.line(), 0U);
    EXPECT_TRUE(backlog.from(0).empty());
}

TEST(BacklogTest, KeepsTheNewest) {
    Backlog backlog(8);
    append(backlog, "abcde");
    EXPECT_EQ(text_from(backlog, backlog.begin()), "abcde");
    append(backlog, "fghij");
    EXPECT_EQ(backlog.begin(), 2U);
    EXPECT_EQ(text_from(backlog, backlog.begin()), "cdefghij");
    EXPECT_EQ(text_from(backlog, 9), "j");
    append(backlog, "0123456789abcdefg");
    EXPECT_EQ(text_from(backlog, backlog.begin()), "9abcdefg");
}

TEST(BacklogTest, KnowsWhereTheLineBegins) {
    Backlog backlog(8);
    append(backlog, "ab\nlog");
    EXPECT_EQ(text_from(backlog, backlog.line()), "log");
    append(backlog, "in: \n");
    EXPECT_EQ(text_from(backlog, backlog.line()), "");
    append(backlog, "longer than eight");
    EXPECT_EQ(backlog.line(), backlog.begin());
}

} // namespace
} // namespace croft::worker
