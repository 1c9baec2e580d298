// SPDX-License-Identifier: Apache-2.0
// Offsets as the Multiboot Specification 0.6.96, 3.3, gives them.
#include "hypervisor/boot/multiboot.hpp"

#include "tests/unit/hypervisor/low_memory.hpp"

#include <gtest/gtest.h>
#include <random>

namespace hypervisor {
namespace {

constexpr std::uint32_t has_command_line = 1 << 2;
constexpr std::uint32_t has_modules = 1 << 3;
constexpr std::uint32_t has_map = 1 << 6;

class Multiboot : public testing::Test {
protected:
    // Strings, modules and map in pages of their own; the map ends where the memory does.
    void begin(std::uint32_t flags) { memory_.put(info(), flags); }
    [[nodiscard]] std::uint64_t info() const { return memory_.address(); }
    [[nodiscard]] std::uint64_t strings() const { return memory_.address() + 0x1000; }
    [[nodiscard]] std::uint64_t modules() const { return memory_.address() + 0x2000; }

    std::uint32_t string(std::string_view text) {
        const std::uint64_t at = strings() + used_;
        memory_.put_text(at, text);
        memory_.put(at + text.size(), '\0');
        used_ += text.size() + 1;
        return static_cast<std::uint32_t>(at);
    }
    struct Entry {
        std::uint64_t base;
        std::uint64_t length;
        std::uint32_t type;
        std::uint32_t size = 20;
    };
    void map(std::initializer_list<Entry> entries) {
        std::size_t length = 0;
        for (const Entry& entry : entries) {
            length += entry.size + 4;
        }
        std::uint64_t at = memory_.end() - length;
        memory_.put(info() + 44, static_cast<std::uint32_t>(length));
        memory_.put(info() + 48, static_cast<std::uint32_t>(at));
        for (const Entry& entry : entries) {
            memory_.put(at, entry.size);
            memory_.put(at + 4, entry.base);
            memory_.put(at + 12, entry.length);
            memory_.put(at + 20, entry.type);
            at += entry.size + 4;
        }
    }
    void module(unsigned index, std::uint32_t first, std::uint32_t end, std::uint32_t text) {
        memory_.put(info() + 20, index + 1);
        memory_.put(info() + 24, static_cast<std::uint32_t>(modules()));
        memory_.put(modules() + 16 * index, first);
        memory_.put(modules() + 16 * index + 4, end);
        memory_.put(modules() + 16 * index + 8, text);
    }

    LowMemory memory_{0x8000};
    std::size_t used_ = 0;
};

TEST_F(Multiboot, IsRead) {
    begin(has_command_line | has_modules | has_map);
    memory_.put(info() + 16, string("/boot/undercroft loglevel=4  console=com2"));
    module(0, 0x1000000, 0x1abcdef, string("vmlinuz console=ttyS0 root=/dev/sda1"));
    module(1, 0x2000000, 0x2000001, string("initrd.img"));
    map({{0, 0x9fc00, 1}, {0x9fc00, 0x400, 2}, {0x100000, 0x7fee0000, 1, 24},
        {0xfeffc000, 0x4000, 9}});
    const auto boot = read_multiboot(info());
    ASSERT_TRUE(boot) << boot.error();
    EXPECT_EQ(boot->command_line, "loglevel=4  console=com2");
    ASSERT_EQ(boot->module_count, 2u);
    EXPECT_EQ(boot->modules[0].begin, 0x1000000u);
    EXPECT_EQ(boot->modules[0].end, 0x1abcdefu);
    EXPECT_EQ(boot->modules[0].arguments, "console=ttyS0 root=/dev/sda1");
    EXPECT_EQ(boot->modules[1].arguments, "");
    ASSERT_EQ(boot->memory.ranges().size(), 4u);
    EXPECT_EQ(boot->memory.usable_bytes(), 0x9fc00u + 0x7fee0000u);
    EXPECT_EQ(boot->memory.ranges()[2].end, 0x7ffe0000u) << "entries may be longer than they were";
    EXPECT_EQ(boot->memory.ranges()[3].type, MemoryType::reserved) << "types not known";
}

TEST_F(Multiboot, WithoutAMapThereIsNoStart) {
    begin(has_command_line | has_modules);
    const auto boot = read_multiboot(info());
    ASSERT_FALSE(boot);
    EXPECT_FALSE(boot.error().empty());
}

TEST_F(Multiboot, WhatIsNotSaidToBeThereIsNotRead) {
    begin(has_map);
    map({{0, 0x1000, 1}});
    memory_.put(info() + 16, std::uint32_t{1});
    memory_.put(info() + 20, ~std::uint32_t{0});
    memory_.put(info() + 24, std::uint32_t{1});
    const auto boot = read_multiboot(info());
    ASSERT_TRUE(boot);
    EXPECT_EQ(boot->command_line, "");
    EXPECT_EQ(boot->module_count, 0u);
}

TEST_F(Multiboot, StringsMayBeMissingOrEndless) {
    begin(has_command_line | has_modules | has_map);
    map({{0, 0x1000, 1}});
    module(0, 1, 2, 0);
    memory_.put(info() + 16, std::uint32_t{0});
    ASSERT_TRUE(read_multiboot(info()));
    EXPECT_EQ(read_multiboot(info())->command_line, "");
    EXPECT_EQ(read_multiboot(info())->modules[0].arguments, "");
    std::memset(reinterpret_cast<void*>(strings()), 'x', 0x1000);
    memory_.put(strings() + 1, ' ');
    memory_.put(info() + 16, static_cast<std::uint32_t>(strings()));
    const auto boot = read_multiboot(info());
    ASSERT_TRUE(boot);
    EXPECT_LE(boot->command_line.size(), 4096u);
    EXPECT_GE(boot->command_line.size(), 4000u);
}

TEST_F(Multiboot, MoreModulesThanThereAreUses) {
    begin(has_modules | has_map);
    map({{0, 0x1000, 1}});
    for (unsigned i = 0; i < 9; ++i) {
        module(i, i, i + 1, 0);
    }
    const auto boot = read_multiboot(info());
    ASSERT_TRUE(boot);
    EXPECT_EQ(boot->module_count, boot->modules.size());
    EXPECT_EQ(boot->modules[3].begin, 3u);
}

TEST_F(Multiboot, AModuleThatEndsBeforeItBeginsIsSaidSo) {
    begin(has_modules | has_map);
    map({{0, 0x1000, 1}});
    module(0, 0x2000, 0x1fff, 0);
    const auto boot = read_multiboot(info());
    ASSERT_FALSE(boot);
    EXPECT_NE(boot.error().find("ends before it begins"), std::string_view::npos);
}

TEST_F(Multiboot, AMapWithTooManyRangesIsSaidSo) {
    begin(has_map);
    const LowMemory many{0x1000};
    constexpr unsigned count = 170;
    memory_.put(info() + 44, count * 24);
    memory_.put(info() + 48, static_cast<std::uint32_t>(many.end() - count * 24));
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t at = many.end() - (count - i) * 24;
        many.put(at, std::uint32_t{20});
        many.put(at + 4, i * 0x2000);
        many.put(at + 12, std::uint64_t{0x1000});
        many.put(at + 20, std::uint32_t{1});
    }
    EXPECT_FALSE(read_multiboot(info()));
}

TEST_F(Multiboot, OddEntriesEndTheWalk) {
    begin(has_map);
    const auto ranges = [this] {
        return read_multiboot(info())->memory.ranges().size();
    };
    map({{0, 0x1000, 1}, {~0ull - 0xfff, 0x2000, 1}, {0x5000, 0, 1}});
    EXPECT_EQ(ranges(), 1u) << "one that wraps around and one that is empty are none";
    map({{0, 0x1000, 1}});
    memory_.put(memory_.end() - 24, ~std::uint32_t{0}); // a size that leads far beyond
    EXPECT_EQ(ranges(), 1u);
    memory_.put(info() + 44, std::uint32_t{23}); // a map that is shorter than an entry
    EXPECT_EQ(ranges(), 0u);
    memory_.put(info() + 44, std::uint32_t{0});
    EXPECT_EQ(ranges(), 0u);
}

TEST_F(Multiboot, RubbishInTheMapEndsAndStaysInside) {
    std::mt19937 random{12};
    begin(has_map);
    for (int run = 0; run < 2000; ++run) {
        const auto length = static_cast<std::uint32_t>(random() % 600);
        const std::uint64_t first = memory_.end() - length;
        memory_.put(info() + 44, length);
        memory_.put(info() + 48, static_cast<std::uint32_t>(first));
        for (std::uint64_t at = first; at < memory_.end(); ++at) {
            memory_.put(at, static_cast<std::uint8_t>(random() % 3 == 0 ? random() : 0));
        }
        // Reading behind the end would be a crash, a walk in place a time-out.
        const auto boot = read_multiboot(info());
        if (boot) {
            std::uint64_t last = 0;
            for (const MemoryRange& range : boot->memory.ranges()) {
                ASSERT_GE(range.begin, last);
                ASSERT_GT(range.end, range.begin);
                last = range.end;
            }
        }
    }
}

} // namespace
} // namespace hypervisor
