// SPDX-License-Identifier: Apache-2.0
// Tags as the Multiboot2 Specification 2.0, 3.6, gives them.
#include "hypervisor/boot/multiboot2.hpp"

#include "tests/unit/hypervisor/low_memory.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace hypervisor {
namespace {

using Bytes = std::vector<std::uint8_t>;

template <class T>
void append(Bytes& bytes, T value) {
    const auto* const raw = reinterpret_cast<const std::uint8_t*>(&value);
    bytes.insert(bytes.end(), raw, raw + sizeof value);
}
void append_text(Bytes& bytes, std::string_view text) {
    bytes.insert(bytes.end(), text.begin(), text.end());
    bytes.push_back(0);
}

constexpr std::uint32_t end_tag = 0;
constexpr std::uint32_t command_line_tag = 1;
constexpr std::uint32_t module_tag = 3;
constexpr std::uint32_t map_tag = 6;
constexpr std::uint32_t efi32_tag = 11;
constexpr std::uint32_t efi64_tag = 12;
constexpr std::uint32_t old_rsdp_tag = 14;
constexpr std::uint32_t new_rsdp_tag = 15;
constexpr std::uint32_t efi_map_tag = 17;
constexpr std::uint32_t boot_services_tag = 18;

constexpr std::uint64_t write_back = 8;
constexpr std::uint64_t specific_purpose = 1 << 18;

/// The bytes end where the memory does: to read behind them is to crash.
class Multiboot2 : public testing::Test {
protected:
    /// \param size what the tag says of itself, if not what it has.
    void tag(std::uint32_t type, const Bytes& content = {}, std::uint32_t size = 0) {
        append(tags_, type);
        append(tags_, size != 0 ? size : static_cast<std::uint32_t>(content.size() + 8));
        tags_.insert(tags_.end(), content.begin(), content.end());
        tags_.resize((tags_.size() + 7) / 8 * 8);
    }
    void end() { tag(end_tag); }
    void text(std::uint32_t type, std::string_view content) {
        Bytes bytes;
        append_text(bytes, content);
        tag(type, bytes);
    }
    void module(std::uint32_t first, std::uint32_t last, std::string_view arguments) {
        Bytes bytes;
        append(bytes, first);
        append(bytes, last);
        append_text(bytes, arguments);
        tag(module_tag, bytes);
    }
    struct Entry {
        std::uint64_t base;
        std::uint64_t length;
        std::uint32_t type;
        std::uint64_t attributes = write_back; ///< EFI's only
    };
    static Bytes map_content(
        const std::vector<Entry>& entries, bool efi, std::uint32_t entry_size) {
        Bytes bytes;
        append(bytes, entry_size);
        append(bytes, std::uint32_t{efi});
        for (const Entry& entry : entries) {
            const std::size_t begin = bytes.size();
            if (efi) {
                append(bytes, std::uint64_t{entry.type});
                append(bytes, entry.base);
                append(bytes, std::uint64_t{0});
                append(bytes, entry.length >> 12);
                append(bytes, entry.attributes);
            } else {
                append(bytes, entry.base);
                append(bytes, entry.length);
                append(bytes, std::uint64_t{entry.type});
            }
            bytes.resize(begin + entry_size);
        }
        return bytes;
    }
    void map(const std::vector<Entry>& entries, std::uint32_t entry_size = 24) {
        tag(map_tag, map_content(entries, false, entry_size));
    }
    void efi_map(const std::vector<Entry>& entries, std::uint32_t entry_size = 48) {
        tag(efi_map_tag, map_content(entries, true, entry_size));
    }
    static Bytes rsdp(std::uint8_t revision, char oem, std::size_t size) {
        Bytes bytes{'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
        bytes.resize(size);
        bytes[9] = static_cast<std::uint8_t>(oem);
        bytes[15] = revision;
        std::uint8_t sum = 0;
        for (std::size_t i = 0; i < 20; ++i) {
            sum = static_cast<std::uint8_t>(sum + bytes[i]);
        }
        bytes[8] = static_cast<std::uint8_t>(-sum);
        return bytes;
    }

    /// \param missing bytes that the structure says it has not.
    auto read(std::size_t missing = 0) {
        const auto size = static_cast<std::uint32_t>(tags_.size() + 8 - missing);
        const std::uint64_t at = memory_.end() - size;
        memory_.put(at, size);
        memory_.put(at + 4, std::uint32_t{0xdeadbeef});
        std::memcpy(reinterpret_cast<void*>(at + 8), tags_.data(), tags_.size() - missing);
        return read_multiboot2(at);
    }
    auto read_again() {
        const auto result = read();
        tags_.clear();
        return result;
    }
    static std::string_view problem(const auto& result) {
        return result ? std::string_view{} : result.error();
    }

    LowMemory memory_{0x8000};
    Bytes tags_{};
};

TEST_F(Multiboot2, IsReadAsABiosGivesIt) {
    text(command_line_tag, "loglevel=4  console=com2");
    text(2, "GRUB 2.06");
    module(0x1000000, 0x1abcdef, "console=ttyS0 root=/dev/sda1");
    module(0x2000000, 0x2000001, "");
    tag(4, Bytes(8));
    map({{0, 0x9fc00, 1}, {0x9fc00, 0x400, 2}, {0x100000, 0x7fee0000, 1}, {0x7ffe0000, 0x10000, 3},
            {0x7fff0000, 0x10000, 4}, {0xfeffc000, 0x4000, 9}},
        32);
    tag(old_rsdp_tag, rsdp(0, 'o', 20));
    end();
    const auto boot = read();
    ASSERT_TRUE(boot) << boot.error();
    EXPECT_EQ(boot->command_line, "loglevel=4  console=com2");
    ASSERT_EQ(boot->module_count, 2u);
    EXPECT_EQ(boot->modules[0].begin, 0x1000000u);
    EXPECT_EQ(boot->modules[0].end, 0x1abcdefu);
    EXPECT_EQ(boot->modules[0].arguments, "console=ttyS0 root=/dev/sda1");
    EXPECT_EQ(boot->modules[1].arguments, "");
    const auto ranges = boot->memory.ranges();
    ASSERT_EQ(ranges.size(), 6u);
    EXPECT_EQ(boot->memory.usable_bytes(), 0x9fc00u + 0x7fee0000u);
    EXPECT_EQ(ranges[3].type, MemoryType::acpi);
    EXPECT_EQ(ranges[4].type, MemoryType::nvs);
    EXPECT_EQ(ranges[5].type, MemoryType::reserved) << "types not known";
    EXPECT_EQ(boot->rsdp[9], 'o');
    EXPECT_EQ(boot->efi_system_table, 0u);
}

TEST_F(Multiboot2, TheMapOfUefiSaysWhatIsUsableAfterItsBootServices) {
    constexpr std::uint64_t size = 0x10000;
    const std::vector<MemoryType> expected = {MemoryType::reserved, MemoryType::usable,
        MemoryType::usable, MemoryType::usable, MemoryType::usable, MemoryType::reserved,
        MemoryType::reserved, MemoryType::usable, MemoryType::unusable, MemoryType::acpi,
        MemoryType::nvs, MemoryType::reserved, MemoryType::reserved, MemoryType::reserved,
        MemoryType::reserved, MemoryType::reserved};
    std::vector<Entry> entries;
    for (std::uint32_t type = 0; type < expected.size(); ++type) {
        entries.push_back({2 * type * size, size, type});
    }
    efi_map(entries);
    Bytes table;
    append(table, std::uint64_t{0x17fe4c018});
    tag(efi64_tag, table);
    tag(20, Bytes(8)); // EFI's handle of the image
    end();
    const auto boot = read();
    ASSERT_TRUE(boot) << boot.error();
    EXPECT_EQ(boot->efi_system_table, 0x17fe4c018u);
    ASSERT_EQ(boot->memory.ranges().size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(boot->memory.ranges()[i].type, expected[i]) << "EFI type " << i;
        EXPECT_EQ(boot->memory.ranges()[i].end - boot->memory.ranges()[i].begin, size);
    }
}

TEST_F(Multiboot2, MemoryThatIsNotPlainIsNotUsable) {
    efi_map({{0, 0x1000, 7, 0xf}, {0x10000, 0x1000, 7, 1},
                {0x20000, 0x1000, 7, write_back | specific_purpose}},
        40);
    end();
    const auto boot = read();
    ASSERT_TRUE(boot) << boot.error();
    EXPECT_EQ(boot->memory.usable_bytes(), 0x1000u);
    EXPECT_EQ(boot->memory.ranges().size(), 3u);
}

TEST_F(Multiboot2, OfTwoMapsTheLessUsableTypeWins) {
    map({{0, 0x100000, 1}});
    efi_map({{0, 0x40000, 7}, {0x40000, 0x1000, 6}, {0x41000, 0xbf000, 4}});
    end();
    const auto boot = read();
    ASSERT_TRUE(boot) << boot.error();
    ASSERT_EQ(boot->memory.ranges().size(), 3u);
    EXPECT_EQ(boot->memory.ranges()[1].begin, 0x40000u);
    EXPECT_EQ(boot->memory.ranges()[1].end, 0x41000u);
    EXPECT_EQ(boot->memory.ranges()[1].type, MemoryType::reserved);
}

TEST_F(Multiboot2, AMapOfHundredsOfNeighboursFits) {
    std::vector<Entry> entries;
    for (std::uint64_t i = 0; i < 400; ++i) {
        entries.push_back({i * 0x1000, 0x1000, 1 + static_cast<std::uint32_t>(i) % 4});
    }
    efi_map(entries);
    end();
    const auto boot = read();
    ASSERT_TRUE(boot) << boot.error();
    EXPECT_EQ(boot->memory.ranges().size(), 1u);
    EXPECT_EQ(boot->memory.usable_bytes(), 400u * 0x1000);
}

TEST_F(Multiboot2, TheSystemTableOf32BitsIsOneToo) {
    map({{0, 0x1000, 1}});
    Bytes table;
    append(table, std::uint32_t{0x7fe4c018});
    tag(efi32_tag, table);
    end();
    EXPECT_EQ(read()->efi_system_table, 0x7fe4c018u);
}

TEST_F(Multiboot2, TheRsdpOfNewerTablesIsPreferred) {
    for (const bool new_first : {false, true}) {
        tags_.clear();
        map({{0, 0x1000, 1}});
        if (new_first) {
            tag(new_rsdp_tag, rsdp(2, 'n', 36));
        }
        tag(old_rsdp_tag, rsdp(0, 'o', 20));
        if (!new_first) {
            tag(new_rsdp_tag, rsdp(2, 'n', 36));
        }
        end();
        const auto boot = read();
        ASSERT_TRUE(boot);
        EXPECT_EQ(boot->rsdp[9], 'n');
    }
}

TEST_F(Multiboot2, ADamagedRsdpIsNone) {
    Bytes damaged = rsdp(2, 'd', 36);
    damaged[10] ^= 1;
    for (const Bytes& bytes : {damaged, rsdp(2, 's', 35), rsdp(2, 's', 20), Bytes{}}) {
        tags_.clear();
        map({{0, 0x1000, 1}});
        tag(new_rsdp_tag, bytes);
        tag(old_rsdp_tag, Bytes(19));
        end();
        const auto boot = read();
        ASSERT_TRUE(boot);
        EXPECT_TRUE(std::ranges::all_of(boot->rsdp, [](auto byte) { return byte == 0; }));
    }
}

TEST_F(Multiboot2, WithoutAMapThereIsNoStart) {
    text(command_line_tag, "x");
    end();
    EXPECT_NE(problem(read_again()).find("no memory map"), std::string_view::npos);
    map({});
    end();
    EXPECT_NE(problem(read_again()).find("no memory map"), std::string_view::npos);
}

TEST_F(Multiboot2, BootServicesThatStillRunAreSaidSo) {
    map({{0, 0x1000, 1}});
    tag(boot_services_tag);
    end();
    EXPECT_NE(problem(read()).find("boot services"), std::string_view::npos);
}

TEST_F(Multiboot2, CutOffAnywhereIsAnErrorAndStaysInside) {
    text(command_line_tag, "loglevel=4");
    module(0x1000, 0x2000, "words");
    map({{0, 0x9fc00, 1}, {0x100000, 0x7fee0000, 1}});
    efi_map({{0, 0x9f000, 7}});
    tag(new_rsdp_tag, rsdp(2, 'n', 36));
    end();
    ASSERT_TRUE(read());
    for (std::size_t missing = 1; missing <= tags_.size(); ++missing) {
        const auto boot = read(missing);
        ASSERT_FALSE(boot) << missing;
        EXPECT_FALSE(boot.error().empty());
    }
}

TEST_F(Multiboot2, TagsThatSayOddSizesAreAnError) {
    for (const std::uint32_t size : {1u, 7u, 0x7fu, 0x7fffffffu, 0xfffffff8u, 0xffffffffu}) {
        tags_.clear();
        map({{0, 0x1000, 1}});
        tag(2, Bytes(8), size);
        end();
        EXPECT_NE(problem(read()).find("cut off"), std::string_view::npos) << size;
    }
}

TEST_F(Multiboot2, TagsTooShortForWhatTheyAreForAreNotReadFurther) {
    for (const std::uint32_t type : {module_tag, map_tag, efi_map_tag}) {
        for (std::size_t size = 0; size < 8; ++size) {
            tags_.clear();
            tag(type, Bytes(size));
            end();
            EXPECT_FALSE(problem(read()).empty()) << type << ' ' << size;
        }
    }
    tags_.clear();
    map({{0, 0x1000, 1}});
    tag(command_line_tag);
    tag(efi64_tag, Bytes(7, 0xff));
    tag(efi32_tag, Bytes(3, 0xff));
    tag(module_tag, Bytes(8)); // and no string at all
    end();
    const auto boot = read();
    ASSERT_TRUE(boot) << boot.error();
    EXPECT_EQ(boot->command_line, "");
    EXPECT_EQ(boot->efi_system_table, 0u);
    EXPECT_EQ(boot->module_count, 1u);
    EXPECT_EQ(boot->modules[0].arguments, "");
}

TEST_F(Multiboot2, AStringEndsWithItsTagAtTheLatest) {
    map({{0, 0x1000, 1}});
    tag(command_line_tag, Bytes(16, 'x'));
    module(1, 2, "mine");
    tags_[tags_.size() - 4] = 'x'; // the end of its string, and then its padding, are overwritten
    std::fill(tags_.end() - 3, tags_.end(), std::uint8_t{'y'});
    end();
    const auto boot = read();
    ASSERT_TRUE(boot) << boot.error();
    EXPECT_EQ(boot->command_line, std::string(16, 'x'));
    EXPECT_EQ(boot->modules[0].arguments, "minex");
}

TEST_F(Multiboot2, AMapTagThatReachesIntoTheNextTagsIsReadAsItSays) {
    // Its size covers the module's tag, whose bytes then are an entry, and no module.
    Bytes content = map_content({{0, 0x1000, 1}}, false, 24);
    tag(map_tag, content, static_cast<std::uint32_t>(content.size() + 8 + 24));
    module(0x5000, 0x6000, "1234567");
    end();
    const auto boot = read();
    ASSERT_TRUE(boot) << boot.error();
    EXPECT_EQ(boot->module_count, 0u);
    EXPECT_EQ(boot->memory.usable_bytes(), 0x1000u);
}

TEST_F(Multiboot2, EntrySizesThatCannotBeAreAnError) {
    for (const std::uint32_t size : {0u, 1u, 23u}) {
        map({}, size);
        end();
        EXPECT_NE(problem(read_again()).find("too short"), std::string_view::npos) << size;
    }
    for (const std::uint32_t size : {0u, 24u, 39u}) {
        efi_map({}, size);
        end();
        EXPECT_NE(problem(read_again()).find("too short"), std::string_view::npos) << size;
    }
    map({{0, 0x1000, 1}});
    map({}, 0xffffffff); // larger than the map: no entry
    end();
    EXPECT_TRUE(read());
}

TEST_F(Multiboot2, RangesThatWrapAroundAreNone) {
    map({{0, 0x1000, 1}, {~0ull - 0xfff, 0x2000, 1}, {0x5000, 0, 1}});
    Bytes content = map_content({{0x100000, 0, 7}}, true, 40);
    std::fill_n(content.begin() + 8 + 24, 8, std::uint8_t{0xff}); // its number of pages
    tag(efi_map_tag, content);
    efi_map({{~0ull - 0xfff, 0x2000, 7}});
    end();
    const auto boot = read();
    ASSERT_TRUE(boot) << boot.error();
    ASSERT_EQ(boot->memory.ranges().size(), 1u);
    EXPECT_EQ(boot->memory.usable_bytes(), 0x1000u);
}

TEST_F(Multiboot2, AMapWithTooManyRangesIsSaidSo) {
    std::vector<Entry> entries;
    for (std::uint64_t i = 0; i < MemoryMap::capacity + 1; ++i) {
        entries.push_back({i * 0x2000, 0x1000, 1});
    }
    map(entries);
    end();
    EXPECT_NE(problem(read_again()).find("more than 128"), std::string_view::npos);
    entries.pop_back();
    map(entries);
    end();
    EXPECT_TRUE(read());
}

TEST_F(Multiboot2, ModulesAreCheckedAndCounted) {
    map({{0, 0x1000, 1}});
    module(0x2000, 0x1fff, "");
    end();
    EXPECT_NE(problem(read_again()).find("ends before it begins"), std::string_view::npos);
    map({{0, 0x1000, 1}});
    for (unsigned i = 0; i < 9; ++i) {
        module(i, i + 1, "");
    }
    end();
    const auto boot = read();
    ASSERT_TRUE(boot);
    EXPECT_EQ(boot->module_count, boot->modules.size());
    EXPECT_EQ(boot->modules[3].begin, 3u) << "more modules than there are uses are passed over";
}

TEST_F(Multiboot2, RubbishEndsAndStaysInside) {
    std::mt19937 random{12};
    unsigned good = 0;
    for (int run = 0; run < 5000; ++run) {
        tags_.clear();
        map({{0, 0x1000, 1}});
        for (unsigned i = 0; i < 4; ++i) {
            Bytes content(random() % 100);
            std::ranges::generate(content, [&random] {
                return static_cast<std::uint8_t>(random() % 3 == 0 ? random() : random() % 50);
            });
            tag(static_cast<std::uint32_t>(random() % 22), content,
                random() % 4 == 0 ? static_cast<std::uint32_t>(random() % 120) : 0);
        }
        end();
        const auto boot = read();
        if (!boot) {
            ASSERT_FALSE(boot.error().empty());
            continue;
        }
        ++good;
        ASSERT_LE(boot->module_count, boot->modules.size());
        std::uint64_t last = 0;
        for (const MemoryRange& range : boot->memory.ranges()) {
            ASSERT_GE(range.begin, last);
            ASSERT_GT(range.end, range.begin);
            last = range.end;
        }
    }
    EXPECT_GT(good, 100u);
}

} // namespace
} // namespace hypervisor
