// SPDX-License-Identifier: Apache-2.0
#include "disk/volume/file_system.hpp"

#include "disk/guid.hpp"
#include "disk/stored.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <fmt/format.h>
#include <span>
#include <string_view>

namespace croft::disk {

namespace {

// Everything that is looked at lies in the first 68 KiB (btrfs keeps its superblock at 64 KiB).
constexpr std::size_t head_size = 68U << 10U;

// The beginning of a volume; what lies beyond its end reads as zeros, which match no mark.
class Head {
public:
    explicit Head(std::vector<std::byte> bytes) : bytes_{std::move(bytes)} {}

    bool has(std::size_t offset, std::string_view mark) const {
        return std::ranges::equal(std::as_bytes(std::span{mark}), at(offset, mark.size()));
    }
    template <class Integer>
    Integer number(std::size_t offset) const {
        return load<Little<Integer>>(bytes_, offset);
    }
    std::string text(std::size_t offset, std::size_t length) const {
        std::string made;
        for (const std::byte byte : at(offset, length)) {
            const auto letter = static_cast<unsigned char>(byte);
            if (letter == 0)
                break;
            made += letter < 0x20 || letter >= 0x7f ? '?' : static_cast<char>(letter);
        }
        made.erase(made.find_last_not_of(' ') + 1);
        return made;
    }
    // A UUID in the order of its text.
    std::string uuid(std::size_t offset) const {
        std::string made;
        for (std::size_t i = 0; i < 16; ++i) {
            if (i == 4 || i == 6 || i == 8 || i == 10)
                made += '-';
            made += fmt::format("{:02x}", static_cast<unsigned>(bytes_[offset + i]));
        }
        return made;
    }

private:
    std::span<const std::byte> at(std::size_t offset, std::size_t length) const {
        return std::span{bytes_}.subspan(offset, length);
    }

    std::vector<std::byte> bytes_;
};

using Found = std::optional<FileSystem>;

Found ext(const Head& head) {
    constexpr std::size_t superblock = 1024;
    if (head.number<std::uint16_t>(superblock + 56) != 0xef53)
        return {};
    const auto compatible = head.number<std::uint32_t>(superblock + 92);
    const auto incompatible = head.number<std::uint32_t>(superblock + 96);
    constexpr std::uint32_t has_journal = 0x4;
    constexpr std::uint32_t journal_device = 0x8;
    // What ext3 already knew: file types, recovery, meta block groups.
    constexpr std::uint32_t of_ext3 = 0x2 | 0x4 | 0x10;
    if ((incompatible & journal_device) != 0)
        return FileSystem{"jbd", false, {}, head.uuid(superblock + 104)};
    const char* type = (incompatible & ~of_ext3) != 0 ? "ext4"
        : (compatible & has_journal) != 0             ? "ext3"
                                                      : "ext2";
    return FileSystem{type, true, head.text(superblock + 120, 16), head.uuid(superblock + 104)};
}

Found xfs(const Head& head) {
    if (!head.has(0, "XFSB"))
        return {};
    return FileSystem{"xfs", true, head.text(108, 12), head.uuid(32)};
}

Found btrfs(const Head& head) {
    constexpr std::size_t superblock = 64U << 10U;
    if (!head.has(superblock + 64, "_BHRfS_M"))
        return {};
    return FileSystem{"btrfs", true, head.text(superblock + 299, 256), head.uuid(superblock + 32)};
}

Found ntfs(const Head& head) {
    if (!head.has(3, "NTFS    "))
        return {};
    return FileSystem{"ntfs", true, {}, fmt::format("{:016X}", head.number<std::uint64_t>(72))};
}

Found exfat(const Head& head) {
    if (!head.has(3, "EXFAT   "))
        return {};
    return FileSystem{"exfat", true, {}, fmt::format("{:08X}", head.number<std::uint32_t>(100))};
}

// FAT has no mark that is required; its parameter block has to make sense.
Found fat(const Head& head) {
    const auto sector_size = head.number<std::uint16_t>(11);
    const auto cluster = head.number<std::uint8_t>(13);
    const auto reserved = head.number<std::uint16_t>(14);
    const auto tables = head.number<std::uint8_t>(16);
    const auto media = head.number<std::uint8_t>(21);
    const bool sound = head.number<std::uint16_t>(510) == 0xaa55 && sector_size >= 512 &&
        sector_size <= 4096 && std::has_single_bit(sector_size) && std::has_single_bit(cluster) &&
        reserved != 0 && (tables == 1 || tables == 2) && media >= 0xf0;
    if (!sound)
        return {};
    const bool is_32 = head.number<std::uint16_t>(22) == 0; // sectors of a table, of 12 and 16 bits
    const std::size_t extension = is_32 ? 64 : 36;
    const auto serial = head.number<std::uint32_t>(extension + 3);
    std::string label = head.text(extension + 7, 11);
    if (label == "NO NAME")
        label.clear();
    return FileSystem{
        "vfat", true, label, fmt::format("{:04X}-{:04X}", serial >> 16U, serial & 0xffffU)};
}

struct Mark {
    std::size_t offset;
    std::string_view bytes;
    std::string_view type;
    bool mountable;
};
constexpr std::array marks = std::to_array<Mark>({
    {32769, "CD001", "iso9660", true},
    {32769, "BEA01", "udf", true},
    {0, "hsqs", "squashfs", true},
    {1024, "\xe2\xe1\xf5\xe0", "erofs", true},
    {1024, "\x10\x20\xf5\xf2", "f2fs", true},
    {1024, "H+", "hfsplus", true},
    {1024, "HX", "hfsplus", true},
    {32, "NXSB", "apfs", false},
    {3, "ReFS", "refs", false},
    {3, "-FVE-FS-", "BitLocker", false},
    {0, "LUKS\xba\xbe", "crypto_LUKS", false},
    {536, "LVM2 001", "LVM2_member", false},
    {4086, "SWAPSPACE2", "swap", false},
    {4096, "\xfc\x4e\x2b\xa9", "linux_raid_member", false},
});

Found by_mark(const Head& head) {
    for (const Mark& mark : marks) {
        if (head.has(mark.offset, mark.bytes))
            return FileSystem{std::string{mark.type}, mark.mountable, {}, {}};
    }
    return {};
}

} // namespace

Result<std::optional<FileSystem>> probe_file_system(
    Chain& disk, std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t sector = disk.top().info().logical_sector_size;
    std::vector<std::byte> bytes(head_size);
    if (offset < disk.size()) {
        const std::uint64_t there =
            std::min<std::uint64_t>({head_size, length / sector * sector, disk.size() - offset});
        CROFT_DISK_TRY(disk.read(offset, std::span{bytes}.first(static_cast<std::size_t>(there))));
    }
    const Head head{std::move(bytes)};
    // Marks that others may leave behind come last: a boot sector survives in front of an ext4.
    for (const auto& probe : {by_mark, xfs, btrfs, ext, ntfs, exfat, fat}) {
        if (auto found = probe(head))
            return found;
    }
    return std::nullopt;
}

bool volume::has_boot_sector(const FileSystem& found) {
    return found.type == "vfat" || found.type == "ntfs" || found.type == "exfat";
}

} // namespace croft::disk
