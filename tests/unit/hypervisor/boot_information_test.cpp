// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/boot/boot_information.hpp"

#include <gtest/gtest.h>

namespace hypervisor {
namespace {

/// A string of the loader's, that lies at an address.
std::string_view text_at(std::uint64_t address, std::size_t size) {
    return {reinterpret_cast<const char*>(address), size};
}

TEST(BootInformation, FreeMemoryHasNoModulesAndNoStrings) {
    BootInformation boot;
    ASSERT_TRUE(boot.memory.add(0, 0x100000, MemoryType::usable));
    boot.modules[0] = {0x20100, 0x28001, text_at(0x50ffe, 3)};
    boot.modules[1] = {0x60000, 0x61000, {}};
    boot.modules[2] = {0x70000, 0x71000, {}};
    boot.module_count = 2;
    MemoryMap free;
    ASSERT_TRUE(boot.free_memory(free));
    // Whole pages are missing.
    constexpr std::uint64_t expected[][2] = {
        {0x0, 0x20000}, {0x29000, 0x50000}, {0x52000, 0x60000}, {0x61000, 0x100000}};
    std::size_t count = 0;
    for (const MemoryRange& range : free.ranges()) {
        if (range.type == MemoryType::usable) {
            ASSERT_LT(count, std::size(expected));
            EXPECT_EQ(range.begin, expected[count][0]);
            EXPECT_EQ(range.end, expected[count++][1]);
        }
    }
    EXPECT_EQ(count, std::size(expected)) << "a third module is not counted, so it is none";
    EXPECT_EQ(boot.memory.usable_bytes(), 0x100000u) << "the machine's map stays as it is";
}

TEST(BootInformation, SaysWhenTheMapHasNoRoomForModules) {
    BootInformation boot;
    for (std::uint64_t i = 0; i < MemoryMap::capacity; ++i) {
        ASSERT_TRUE(boot.memory.add(i * 0x10000, i * 0x10000 + 0x8000, MemoryType::usable));
    }
    MemoryMap free;
    EXPECT_TRUE(boot.free_memory(free)) << "no module, nothing to take out";
    boot.modules[0] = {0x2000, 0x3000, {}};
    boot.module_count = 1;
    EXPECT_FALSE(boot.free_memory(free));
}

} // namespace
} // namespace hypervisor
