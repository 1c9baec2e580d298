// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/boot/options.hpp"

#include <gtest/gtest.h>

namespace hypervisor {
namespace {

TEST(BootOptions, HaveDefaults) {
    for (const std::string_view line : {"", " ", "     "}) {
        const BootOptions options = parse_options(line);
        EXPECT_EQ(options.log_level, LogLevel::info);
        EXPECT_EQ(options.console_port, 0x3f8);
        EXPECT_FALSE(options.root_schedules);
        EXPECT_TRUE(options.unknown.empty());
    }
}

TEST(BootOptions, AreRead) {
    const BootOptions options = parse_options("loglevel=5 console=com2");
    EXPECT_EQ(options.log_level, LogLevel::trace);
    EXPECT_EQ(options.console_port, 0x2f8);
    EXPECT_TRUE(options.unknown.empty());
    EXPECT_TRUE(parse_options("scheduler=root").root_schedules);
    EXPECT_FALSE(parse_options("scheduler=root scheduler=classic").root_schedules);
    EXPECT_EQ(parse_options("console=none").console_port, 0);
    EXPECT_EQ(parse_options("console=com1").console_port, 0x3f8);
    EXPECT_EQ(parse_options("  loglevel=1  ").log_level, LogLevel::error);
    EXPECT_EQ(parse_options("loglevel=1 loglevel=4").log_level, LogLevel::debug) << "the last one";
}

TEST(BootOptions, TheFirstUnknownWordIsTold) {
    for (const std::string_view word :
        {"loglevel", "loglevel=", "loglevel=0", "loglevel=6", "loglevel=33", "loglevel=x", "=",
            "=5", "console", "console=", "console=com3", "consol=com1", "LOGLEVEL=1",
            "loglevel=1=1", "quiet", "scheduler", "scheduler=", "scheduler=core"}) {
        const BootOptions options = parse_options(word);
        EXPECT_EQ(options.unknown, word);
        EXPECT_EQ(options.log_level, LogLevel::info);
        EXPECT_EQ(options.console_port, 0x3f8);
    }
    const BootOptions options = parse_options("console=com2 what ever loglevel=2");
    EXPECT_EQ(options.unknown, "what");
    EXPECT_EQ(options.console_port, 0x2f8) << "the rest is read all the same";
    EXPECT_EQ(options.log_level, LogLevel::warning);
}

} // namespace
} // namespace hypervisor
