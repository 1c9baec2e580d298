// SPDX-License-Identifier: Apache-2.0
#include "disk/mount_list.hpp"

#include <algorithm>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

namespace croft::disk {
namespace {

TEST(MountList, AWholeNameLeadsIntoAMount) {
    const std::vector<Mount> mounts = {
        {1, 10, "/", "ext4", ""}, {2, 20, "/mnt/disk", "fuse", ""}, {3, 30, "/mnt/a b", "xfs", ""}};
    EXPECT_EQ(mount_of(mounts, "/mnt/disk")->id, 2);
    EXPECT_EQ(mount_of(mounts, "/mnt/disk/folder/file")->id, 2);
    EXPECT_EQ(mount_of(mounts, "/mnt/disks/file")->id, 1);
    EXPECT_EQ(mount_of(mounts, "/mnt/a b/file")->id, 3);
    EXPECT_EQ(mount_of(mounts, "/mnt")->id, 1);
    EXPECT_EQ(mount_of({}, "/mnt"), nullptr);
}

TEST(MountList, TheLastOfOnePointIsSeen) {
    const std::vector<Mount> mounts = {
        {1, 10, "/", "ext4", ""}, {2, 20, "/mnt", "fuse", ""}, {3, 30, "/mnt", "ext4", ""}};
    EXPECT_EQ(mount_of(mounts, "/mnt/file")->id, 3);
}

TEST(MountList, AnOpenFileIsOnTheMountOfItsPath) {
    const auto mounts = read_mounts();
    const int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ASSERT_GE(file, 0);
    const Mount* const found = mount_of(mounts, file);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found, mount_of(mounts, "/proc/self/status"));
    EXPECT_EQ(found->type, "proc");
    struct stat status {};
    EXPECT_EQ(fstat(file, &status), 0);
    EXPECT_EQ(found->device, status.st_dev);
    close(file);
}

} // namespace
} // namespace croft::disk
