// SPDX-License-Identifier: Apache-2.0
#include "worker/loader/boot_image.hpp"

#include "worker/error.hpp"

#include <cstring>
#include <elf.h>
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace croft::worker {
namespace {

using Bytes = std::vector<std::uint8_t>;

template <typename T>
void set(Bytes& bytes, std::size_t offset, T value) {
    std::memcpy(bytes.data() + offset, &value, sizeof(value));
}

/// A bzImage with four sectors of setup and one page of code.
Bytes make_bzimage() {
    Bytes file(5 * 512 + 4096, 0x90);
    std::fill_n(file.begin(), 5 * 512, std::uint8_t{0});
    set<std::uint8_t>(file, 0x1f1, 4);
    set<std::uint16_t>(file, 0x1fe, 0xaa55);
    set<std::uint8_t>(file, 0x201, 0x6a);
    set<std::uint32_t>(file, 0x202, 0x53726448);
    set<std::uint16_t>(file, 0x206, 0x020f);
    set<std::uint8_t>(file, 0x211, 1);
    set<std::uint32_t>(file, 0x22c, 0x7fffffff);
    set<std::uint32_t>(file, 0x230, 0x200000);
    set<std::uint8_t>(file, 0x234, 1);
    set<std::uint16_t>(file, 0x236, 1);
    set<std::uint32_t>(file, 0x238, 2047);
    set<std::uint64_t>(file, 0x258, 0x1000000);
    set<std::uint32_t>(file, 0x260, 0x200000);
    return file;
}

constexpr std::size_t segment_offset = 64;
constexpr std::size_t note_offset = 0x100;

/// An ELF file with one segment at 16 MiB and the note of the PVH entry.
Bytes make_pvh() {
    Bytes file(0x1000 + 4096, 0);
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_machine = EM_X86_64;
    header.e_phoff = segment_offset;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 2;
    set(file, 0, header);
    Elf64_Phdr segment{};
    segment.p_type = PT_LOAD;
    segment.p_offset = 0x1000;
    segment.p_filesz = 4096;
    segment.p_memsz = 8192;
    segment.p_paddr = 0x1000000;
    set(file, segment_offset, segment);
    Elf64_Phdr note{};
    note.p_type = PT_NOTE;
    note.p_offset = note_offset;
    note.p_filesz = 20;
    set(file, segment_offset + sizeof(segment), note);
    set(file, note_offset, Elf64_Nhdr{4, 4, 18});
    std::memcpy(file.data() + note_offset + 12, "Xen", 4);
    set<std::uint32_t>(file, note_offset + 16, 0x1000100);
    std::fill(file.begin() + 0x1000, file.end(), std::uint8_t{0xcc});
    return file;
}

class LoaderTest : public testing::Test {
protected:
    BootEntry load(const Bytes& file) {
        return load_kernel({.kernel_name = "test",
                               .kernel = file,
                               .initial_ram_disk = ram_disk,
                               .command_line = command_line,
                               .layout = layout,
                               .rsdp = 0xe0000},
            memory);
    }
    void expect_refused(const Bytes& file, const std::string& word) {
        try {
            (void)load(file);
            FAIL() << "loaded it; expected a message with '" << word << "'";
        } catch (const LoadError& error) {
            const std::string text = error.what();
            EXPECT_NE(text.find(word), std::string::npos) << text;
            EXPECT_EQ(text.find('\n'), std::string::npos) << text;
        }
    }
    template <typename T>
    T at(std::uint64_t gpa) {
        std::array<std::uint8_t, sizeof(T)> bytes{};
        EXPECT_TRUE(memory.read(gpa, bytes));
        T value;
        std::memcpy(&value, bytes.data(), sizeof(T));
        return value;
    }

    MemoryLayout layout{64 * mebibyte};
    GuestMemory memory{layout.ranges()};
    Bytes ram_disk;
    std::string command_line = "console=ttyS0";
};

TEST_F(LoaderTest, LoadsABzImageAtItsPlace) {
    ram_disk.assign(5000, 0x42);
    const BootEntry entry = load(make_bzimage());
    EXPECT_EQ(entry.mode, BootEntry::Mode::long_64);
    EXPECT_EQ(entry.address, 0x1000200U);
    EXPECT_EQ(entry.rsi, BootArea::zero_page);
    EXPECT_EQ(at<std::uint8_t>(0x1000000), 0x90U);
    EXPECT_EQ(at<std::uint8_t>(0x1000fff), 0x90U);
    EXPECT_EQ(at<std::uint8_t>(0x1001000), 0U);

    const std::uint64_t zero = BootArea::zero_page;
    EXPECT_EQ(at<std::uint32_t>(zero + 0x202), 0x53726448U);
    EXPECT_EQ(at<std::uint8_t>(zero + 0x210), 0xffU);
    EXPECT_EQ(at<std::uint64_t>(zero + 0x70), 0xe0000U);
    const auto disk = at<std::uint32_t>(zero + 0x218);
    EXPECT_EQ(disk % 4096, 0U);
    EXPECT_EQ(at<std::uint32_t>(zero + 0x21c), 5000U);
    EXPECT_EQ(at<std::uint8_t>(disk + 4999), 0x42U);
    EXPECT_LE(disk + 5000, layout.low_memory_end());
    const auto text = at<std::array<char, 14>>(at<std::uint32_t>(zero + 0x228));
    EXPECT_STREQ(text.data(), "console=ttyS0");
    ASSERT_EQ(at<std::uint8_t>(zero + 0x1e8), 3U);
    EXPECT_EQ(at<std::uint64_t>(zero + 0x2d0), 0U);
    EXPECT_EQ(at<std::uint32_t>(zero + 0x2d0 + 20 + 16), 2U);
    EXPECT_EQ(at<std::uint64_t>(zero + 0x2d0 + 40), 0x100000U);
    EXPECT_EQ(at<std::uint64_t>(zero + 0x2d0 + 48), 63 * mebibyte);
    // The page tables: everything maps to itself.
    const std::uint64_t pointers = at<std::uint64_t>(BootArea::page_tables) & ~0xfffULL;
    const std::uint64_t last = at<std::uint64_t>(pointers + 24) & ~0xfffULL;
    EXPECT_EQ(at<std::uint64_t>(last + 511 * 8), 0xffe0'0083U);
}

TEST_F(LoaderTest, UsesTheOldEntryOfAKernelWithoutThe64BitOne) {
    Bytes file = make_bzimage();
    set<std::uint16_t>(file, 0x236, 0);
    const BootEntry entry = load(file);
    EXPECT_EQ(entry.mode, BootEntry::Mode::protected_32);
    EXPECT_EQ(entry.address, 0x1000000U);
}

TEST_F(LoaderTest, RefusesWhatIsNoKernel) {
    expect_refused({}, "0 bytes");
    expect_refused(Bytes(100, 0), "100 bytes");
    expect_refused(Bytes(100000, 0), "boot signature");
    Bytes file = make_bzimage();
    set<std::uint16_t>(file, 0x206, 0x0200);
    expect_refused(file, "2.00");
    file = make_bzimage();
    set<std::uint8_t>(file, 0x211, 0);
    expect_refused(file, "zImage");
}

TEST_F(LoaderTest, RefusesFieldsThatCannotBe) {
    Bytes file = make_bzimage();
    set<std::uint8_t>(file, 0x1f1, 255);
    expect_refused(file, "setup");
    file = make_bzimage();
    set<std::uint8_t>(file, 0x201, 0xff);
    expect_refused(file, "setup header");
    file = make_bzimage();
    set<std::uint64_t>(file, 0x258, 0x1000);
    set<std::uint32_t>(file, 0x230, 0x1000);
    expect_refused(file, "1 MiB");
    file = make_bzimage();
    set<std::uint64_t>(file, 0x258, ~std::uint64_t{0} - 0x1fffff);
    set<std::uint32_t>(file, 0x230, 0x1000);
    expect_refused(file, "--memory");
    file = make_bzimage();
    set<std::uint32_t>(file, 0x230, 0);
    expect_refused(file, "alignment");
    file = make_bzimage();
    set<std::uint32_t>(file, 0x260, 100);
    expect_refused(file, "need");
}

TEST_F(LoaderTest, RefusesEachTruncationOfABzImage) {
    const Bytes whole = make_bzimage();
    for (const std::size_t size :
        {1UL, 0x1f0UL, 0x1ffUL, 0x205UL, 0x240UL, 0x263UL, 0x264UL, 2560UL}) {
        EXPECT_THROW(
            (void)load(Bytes(whole.begin(), whole.begin() + static_cast<long>(size))), LoadError)
            << size;
    }
}

TEST_F(LoaderTest, SaysWhatNeedsMoreMemory) {
    Bytes file = make_bzimage();
    set<std::uint32_t>(file, 0x260, 0x4000000);
    expect_refused(file, "80 MiB");
    file = make_bzimage();
    ram_disk.resize(50 * mebibyte);
    expect_refused(file, "--memory");
}

TEST_F(LoaderTest, RefusesACommandLineThatIsTooLong) {
    command_line.assign(2048, 'x');
    expect_refused(make_bzimage(), "2047");
    command_line.assign(70000, 'x');
    expect_refused(make_pvh(), "65534");
}

TEST_F(LoaderTest, LoadsAPvhKernel) {
    ram_disk.assign(100, 0x42);
    const BootEntry entry = load(make_pvh());
    EXPECT_EQ(entry.mode, BootEntry::Mode::protected_32);
    EXPECT_EQ(entry.address, 0x1000100U);
    EXPECT_EQ(entry.rbx, BootArea::start_info);
    EXPECT_EQ(at<std::uint8_t>(0x1000fff), 0xccU);
    EXPECT_EQ(at<std::uint8_t>(0x1001000), 0U);
    const std::uint64_t info = BootArea::start_info;
    EXPECT_EQ(at<std::uint32_t>(info), 0x336ec578U);
    EXPECT_EQ(at<std::uint32_t>(info + 12), 1U);
    EXPECT_EQ(at<std::uint64_t>(info + 32), 0xe0000U);
    const auto module = at<std::uint64_t>(info + 16);
    EXPECT_EQ(at<std::uint64_t>(module + 8), 100U);
    EXPECT_EQ(at<std::uint8_t>(at<std::uint64_t>(module)), 0x42U);
    EXPECT_EQ(at<std::uint32_t>(info + 48), 3U);
    const auto map = at<std::uint64_t>(info + 40);
    EXPECT_EQ(at<std::uint64_t>(map + 48), 0x100000U);
}

TEST_F(LoaderTest, RefusesElfFilesThatAreDamaged) {
    Bytes file = make_pvh();
    set<std::uint32_t>(file, note_offset + 8, 19);
    expect_refused(file, "PVH entry");
    file = make_pvh();
    set<std::uint32_t>(file, note_offset + 16, 0x5000000);
    expect_refused(file, "outside");
    file = make_pvh();
    file[EI_CLASS] = 7;
    expect_refused(file, "64 bits");
    file = make_pvh();
    set<std::uint16_t>(file, offsetof(Elf64_Ehdr, e_phnum), 0xffff);
    expect_refused(file, "program headers");
    file = make_pvh();
    set<std::uint64_t>(file, offsetof(Elf64_Ehdr, e_phoff), ~std::uint64_t{0} - 10);
    expect_refused(file, "program headers");
}

TEST_F(LoaderTest, RefusesSegmentsThatCannotBe) {
    const auto with = [](std::size_t offset, std::uint64_t value) {
        Bytes file = make_pvh();
        set(file, segment_offset + offset, value);
        return file;
    };
    expect_refused(with(offsetof(Elf64_Phdr, p_offset), ~std::uint64_t{0} - 100), "segment");
    expect_refused(with(offsetof(Elf64_Phdr, p_filesz), 0x100000), "segment");
    expect_refused(with(offsetof(Elf64_Phdr, p_memsz), 1), "segment");
    expect_refused(with(offsetof(Elf64_Phdr, p_memsz), ~std::uint64_t{0}), "--memory");
    expect_refused(with(offsetof(Elf64_Phdr, p_paddr), 0x1000), "1 MiB");
    expect_refused(with(offsetof(Elf64_Phdr, p_paddr), ~std::uint64_t{0} - 0xfff), "--memory");
}

TEST_F(LoaderTest, RefusesSegmentsThatOverlap) {
    Bytes file = make_pvh();
    Elf64_Phdr second{};
    std::memcpy(&second, file.data() + segment_offset, sizeof(second));
    second.p_paddr += 0x1fff;
    set<std::uint16_t>(file, offsetof(Elf64_Ehdr, e_phnum), 3);
    // The note's header moves behind, into the room before the notes.
    Elf64_Phdr note{};
    std::memcpy(&note, file.data() + segment_offset + sizeof(note), sizeof(note));
    note.p_offset = 0x200;
    std::memcpy(file.data() + 0x200, file.data() + note_offset, 20);
    set(file, segment_offset + sizeof(note), second);
    set(file, segment_offset + 2 * sizeof(note), note);
    expect_refused(file, "overlap");
}

TEST_F(LoaderTest, SurvivesEveryChangedByteOfTheHeaders) {
    for (const Bytes& good : {make_bzimage(), make_pvh()}) {
        for (std::size_t at = 0; at < 0x290; ++at) {
            for (const unsigned value : {0x00U, 0x01U, 0x7fU, 0x80U, 0xffU}) {
                Bytes file = good;
                file[at] = static_cast<std::uint8_t>(value);
                try {
                    (void)load(file);
                } catch (const LoadError&) { // as it should be
                }
            }
        }
    }
}

} // namespace
} // namespace croft::worker
