// SPDX-License-Identifier: Apache-2.0
#include "disk/volume/partition_types.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace croft::disk::volume {

namespace {

constexpr std::array mbr_names = std::to_array<std::pair<std::uint8_t, std::string_view>>({
    {0x01, "FAT12"},
    {0x04, "FAT16, small"},
    {0x05, "extended"},
    {0x06, "FAT16"},
    {0x07, "NTFS or exFAT"},
    {0x0b, "FAT32"},
    {0x0c, "FAT32, LBA"},
    {0x0e, "FAT16, LBA"},
    {0x0f, "extended, LBA"},
    {0x11, "FAT12, hidden"},
    {0x14, "FAT16, small, hidden"},
    {0x16, "FAT16, hidden"},
    {0x17, "NTFS, hidden"},
    {0x1b, "FAT32, hidden"},
    {0x1c, "FAT32, LBA, hidden"},
    {0x27, "Windows recovery"},
    {0x42, "Windows dynamic disk"},
    {0x82, "Linux swap"},
    {0x83, "Linux file system"},
    {0x85, "Linux extended"},
    {0x8e, "Linux LVM"},
    {0xa5, "FreeBSD"},
    {0xa6, "OpenBSD"},
    {0xa9, "NetBSD"},
    {0xaf, "HFS"},
    {0xee, "GPT"},
    {0xef, "EFI system"},
    {0xfd, "Linux RAID"},
});

constexpr std::array gpt_names = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "EFI system"},
    {"21686148-6449-6e6f-744e-656564454649", "BIOS boot"},
    {"e3c9e316-0b5c-4db8-817d-f92df00215ae", "Microsoft reserved"},
    {"ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "Microsoft basic data"},
    {"de94bba4-06d1-4d40-a16a-bfd50179d6ac", "Windows recovery"},
    {"5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "Windows dynamic disk, metadata"},
    {"af9b60a0-1431-4f62-bc68-3311714a69ad", "Windows dynamic disk, data"},
    {"e75caf8f-f680-4cee-afa3-b001e56efc2d", "Windows storage spaces"},
    {"0fc63daf-8483-4772-8e79-3d69d8477de4", "Linux file system"},
    {"0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "Linux swap"},
    {"e6d6d379-f507-44c2-a23c-238f2a3df928", "Linux LVM"},
    {"a19d880f-05fc-4d3b-a006-743f0f84911e", "Linux RAID"},
    {"ca7d7ccb-63ed-4c53-861c-1742536059cc", "Linux LUKS"},
    {"bc13c2ff-59e6-4262-a352-b275fd6f7172", "Linux extended boot"},
    {"4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "Linux root, x86-64"},
    {"933ac7e1-2eb4-4f13-b844-0e14e2aef915", "Linux home"},
    {"516e7cb4-6ecf-11d6-8ff8-00022d09712b", "FreeBSD"},
    {"516e7cb6-6ecf-11d6-8ff8-00022d09712b", "FreeBSD UFS"},
    {"516e7cba-6ecf-11d6-8ff8-00022d09712b", "FreeBSD ZFS"},
    {"48465300-0000-11aa-aa11-00306543ecac", "Apple HFS+"},
    {"7c3457ef-0000-11aa-aa11-00306543ecac", "Apple APFS"},
});

template <class Table, class Key>
std::string_view look_up(const Table& table, const Key& key) {
    const auto found = std::ranges::find(table, key, [](const auto& row) { return row.first; });
    return found == table.end() ? std::string_view{} : found->second;
}

} // namespace

std::string_view mbr_type_name(std::uint8_t type) {
    return look_up(mbr_names, type);
}

std::string_view gpt_type_name(std::string_view guid) {
    return look_up(gpt_names, guid);
}

} // namespace croft::disk::volume
