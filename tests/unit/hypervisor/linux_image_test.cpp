// SPDX-License-Identifier: Apache-2.0
// Offsets as the kernel's Documentation/arch/x86/boot.rst and zero-page.rst give them.
#include "hypervisor/boot/linux_image.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <vector>

namespace hypervisor {
namespace {

using File = std::vector<std::uint8_t>;

template <class T>
void put(std::span<std::uint8_t> bytes, std::size_t at, T value) {
    std::memcpy(&bytes[at], &value, sizeof value);
}
template <class T>
T get(std::span<const std::uint8_t> bytes, std::size_t at) {
    T value;
    std::memcpy(&value, &bytes[at], sizeof value);
    return value;
}

/// A file as a kernel's build makes it: protocol 2.15, 27 sectors of real-mode code.
File bzimage(std::size_t protected_mode_size = 100'000) {
    File file(28 * 512 + protected_mode_size);
    file[0x1f1] = 27;
    put<std::uint16_t>(file, 0x1fe, 0xaa55);
    file[0x200] = 0xeb;
    file[0x201] = 0x6a;
    put<std::uint32_t>(file, 0x202, 0x53726448);
    put<std::uint16_t>(file, 0x206, 0x020f);
    file[0x211] = 1;
    put<std::uint32_t>(file, 0x22c, 0x7fffffff);
    put<std::uint32_t>(file, 0x230, 0x200000);
    file[0x234] = 1;
    put<std::uint32_t>(file, 0x238, 2047);
    put<std::uint64_t>(file, 0x258, 0x1000000);
    put<std::uint32_t>(file, 0x260, 0x3000000);
    return file;
}

/// On the heap to the byte, so that reading too far is seen.
std::expected<LinuxImage, std::string_view> parse(const File& file, std::size_t size) {
    const auto exact = std::make_unique<std::uint8_t[]>(size);
    std::copy_n(file.begin(), size, exact.get());
    return parse_linux_image({exact.get(), size});
}

TEST(LinuxImage, IsRead) {
    const File file = bzimage();
    const auto image = parse(file, file.size());
    ASSERT_TRUE(image) << image.error();
    EXPECT_EQ(image->protected_mode_offset, 28u * 512);
    EXPECT_EQ(image->protected_mode_size, 100'000u);
    EXPECT_EQ(image->init_size, 0x3000000u);
    EXPECT_EQ(image->alignment, 0x200000u);
    EXPECT_EQ(image->preferred, 0x1000000u);
    EXPECT_TRUE(image->relocatable);
    EXPECT_EQ(image->command_line_size, 2047u);
    EXPECT_EQ(image->initrd_address_max, 0x7fffffffu);
}

TEST(LinuxImage, ZeroSectorsAreFour) {
    File file = bzimage();
    file[0x1f1] = 0;
    EXPECT_EQ(parse(file, file.size())->protected_mode_offset, 5u * 512);
}

TEST(LinuxImage, CutOffAnywhereIsAnError) {
    const File file = bzimage(1000);
    for (std::size_t size = 0; size <= 28 * 512; size += size < 0x300 ? 1 : 97) {
        const auto image = parse(file, size);
        ASSERT_FALSE(image) << size;
        EXPECT_FALSE(image.error().empty());
    }
    EXPECT_FALSE(parse(file, 28 * 512));
    EXPECT_TRUE(parse(file, 28 * 512 + 1));
}

TEST(LinuxImage, WhatIsNoKernelIsSaidSo) {
    const auto refused = [](auto&& change) {
        File file = bzimage();
        change(file);
        const auto image = parse(file, file.size());
        return !image && !image.error().empty();
    };
    EXPECT_TRUE(refused([](File& f) { f[0x202] = 'h'; }));
    EXPECT_TRUE(refused([](File& f) { put<std::uint16_t>(f, 0x206, 0x020b); }))
        << "older than 2.12";
    EXPECT_FALSE(refused([](File& f) { put<std::uint16_t>(f, 0x206, 0x020c); }));
    EXPECT_TRUE(refused([](File& f) { f[0x211] = 0; })) << "a zImage is loaded elsewhere";
    EXPECT_TRUE(refused([](File& f) { put<std::uint32_t>(f, 0x230, 0); }));
    EXPECT_TRUE(refused([](File& f) { put<std::uint32_t>(f, 0x230, 0x300000); }));
    EXPECT_TRUE(refused([](File& f) { put<std::uint32_t>(f, 0x260, 99'999); }));
    EXPECT_FALSE(refused([](File& f) { put<std::uint32_t>(f, 0x260, 100'000); }));
    const File elf{0x7f, 'E', 'L', 'F'};
    EXPECT_FALSE(parse(elf, elf.size()));
}

TEST(LinuxImage, RubbishNeverLeadsBeyondTheFile) {
    std::mt19937 random{6};
    for (int run = 0; run < 3000; ++run) {
        File file = bzimage(512 + random() % 2000);
        for (int i = 0; i < 6; ++i) {
            file[0x1f1 + random() % 0x80] = static_cast<std::uint8_t>(random());
        }
        const std::size_t size = random() % 4 != 0 ? file.size() : random() % file.size();
        const auto image = parse(file, size);
        if (!image) {
            continue;
        }
        ASSERT_LT(image->protected_mode_offset, size);
        ASSERT_EQ(std::size_t{image->protected_mode_offset} + image->protected_mode_size, size);
        ASSERT_GE(image->init_size, image->protected_mode_size);
        ASSERT_NE(image->alignment, 0u);
        // What was found good can be started from, however odd the rest of its header.
        const auto exact = std::make_unique<std::uint8_t[]>(size);
        std::copy_n(file.begin(), size, exact.get());
        const auto page = std::make_unique<std::array<std::uint8_t, 4096>>();
        fill_boot_parameters(*page, {exact.get(), size}, LinuxStart{}, MemoryMap{});
        ASSERT_EQ((*page)[0x1e8], 0);
    }
}

TEST(LinuxBootParameters, SayWhatTheKernelNeeds) {
    const File file = bzimage();
    std::array<std::uint8_t, 4096> page;
    page.fill(0xee);
    MemoryMap memory;
    ASSERT_TRUE(memory.add(0, 0x9fc00, MemoryType::usable));
    ASSERT_TRUE(memory.add(0x9fc00, 0xa0000, MemoryType::reserved));
    ASSERT_TRUE(memory.add(0x100000000, 0x180000000, MemoryType::usable));
    ASSERT_TRUE(memory.add(0x7ffe0000, 0x80000000, MemoryType::acpi));
    fill_boot_parameters(page, file,
        {.load_address = 0x1200000,
            .initrd_begin = 0x7000000,
            .initrd_size = 0x123456,
            .command_line = 0x90000,
            .rsdp = 0x7ffe1234},
        memory);
    // The header comes along, as long as it says it is.
    EXPECT_EQ(get<std::uint32_t>(page, 0x202), 0x53726448u);
    EXPECT_EQ(page[0x1f1], 27);
    EXPECT_EQ(get<std::uint32_t>(page, 0x260), 0x3000000u);
    EXPECT_EQ(page[0x202 + 0x6a], 0) << "behind the header there is nothing of the file";
    EXPECT_EQ(page[0x210], 0xff) << "a loader without a number of its own";
    EXPECT_EQ(get<std::uint32_t>(page, 0x214), 0x1200000u);
    EXPECT_EQ(get<std::uint32_t>(page, 0x218), 0x7000000u);
    EXPECT_EQ(get<std::uint32_t>(page, 0x21c), 0x123456u);
    EXPECT_EQ(get<std::uint32_t>(page, 0x228), 0x90000u);
    EXPECT_EQ(get<std::uint64_t>(page, 0x070), 0x7ffe1234u);
    EXPECT_EQ(page[0x06], 3) << "the BIOS's text mode";
    EXPECT_EQ(page[0x0f], 1);
    EXPECT_EQ(get<std::uint32_t>(page, 0x1c0), 0u) << "no signature of EFI's";
    EXPECT_EQ(page[0x1ef], 0) << "the sentinel: who fills the page clears it";
    ASSERT_EQ(page[0x1e8], 4);
    const auto entry = [&](std::size_t i) {
        return MemoryRange{.begin = get<std::uint64_t>(page, 0x2d0 + 20 * i),
            .end =
                get<std::uint64_t>(page, 0x2d0 + 20 * i) + get<std::uint64_t>(page, 0x2d8 + 20 * i),
            .type = static_cast<MemoryType>(get<std::uint32_t>(page, 0x2e0 + 20 * i))};
    };
    for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_EQ(entry(i).begin, memory.ranges()[i].begin);
        EXPECT_EQ(entry(i).end, memory.ranges()[i].end);
        EXPECT_EQ(entry(i).type, memory.ranges()[i].type);
    }
    EXPECT_EQ(page[0x2d0 + 80], 0);
}

TEST(LinuxBootParameters, KnowNoScreenWithoutABios) {
    std::array<std::uint8_t, 4096> page;
    page.fill(0xee);
    fill_boot_parameters(page, bzimage(), {.text_screen = false}, MemoryMap{});
    for (std::size_t at = 0; at < 0x40; ++at) {
        EXPECT_EQ(page[at], 0) << at;
    }
}

TEST(LinuxBootParameters, HoldAMapOfTheGreatestSize) {
    MemoryMap memory;
    for (std::uint64_t i = 0; i < MemoryMap::capacity; ++i) {
        ASSERT_TRUE(memory.add(i * 0x1000, i * 0x1000 + 0x800, MemoryType::usable));
    }
    const auto page = std::make_unique<std::array<std::uint8_t, 4096>>();
    fill_boot_parameters(*page, bzimage(), LinuxStart{}, memory);
    EXPECT_EQ((*page)[0x1e8], 128);
    EXPECT_EQ(get<std::uint64_t>(*page, 0x2d0 + 20 * 127), 127u * 0x1000);
    EXPECT_EQ(get<std::uint32_t>(*page, 0x2d0 + 20 * 127 + 16), 1u);
}

} // namespace
} // namespace hypervisor
