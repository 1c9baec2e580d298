#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Conversions on file systems that share blocks: payload is shared, whatever the formats, and the
two files are independent afterwards. XFS and Btrfs, each on a loop device.

Usage: sharing_test.py CROFT [unittest options]
"""

import itertools
import os
import shutil
import unittest

from command import MIB, Case, croft, no_loop_devices, run

SIZE = 160 * MIB + 512 + 4096  # neither whole blocks nor whole pages


def missing(kind):
    if no_loop_devices():
        return no_loop_devices()
    if not shutil.which(f"mkfs.{kind}"):
        return f"mkfs.{kind} is not installed"
    with open("/proc/filesystems") as file:
        if kind not in file.read().split():
            return f"the kernel has no {kind}"
    return None


class Sharing:
    KIND = ""

    def setUp(self):
        super().setUp()
        image = os.path.join(self.folder, "image")
        with open(image, "wb") as file:
            file.truncate(2 << 30)
        run(f"mkfs.{self.KIND}", "-q", image)
        device = run("losetup", "--find", "--show", image).stdout.strip()
        self.addCleanup(run, "losetup", "--detach", device)
        self.mounted = os.path.join(self.folder, "mounted")
        os.mkdir(self.mounted)
        run("mount", device, self.mounted)
        self.addCleanup(run, "umount", self.mounted)

    def path(self, name):
        return os.path.join(self.mounted, name)

    def used(self):
        run("sync", "--file-system", self.mounted)
        status = os.statvfs(self.mounted)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def takes_less(self, _target):
        return True

    def test_payload_is_shared(self):
        with open(self.path("source.raw"), "wb") as file:
            file.write(os.urandom(SIZE))
        kinds = [("raw", []), ("vhdx", []), ("vhdx", ["--fixed"]), ("vhdx", ["--block-size", "1M"]),
                 ("vhd", []), ("vhd", ["--fixed"])]
        for source, target in itertools.product(kinds, kinds):
            with self.subTest(source=source, target=target):
                if os.path.exists(self.path("to")):  # the pair before failed
                    os.unlink(self.path("to"))
                croft("convert", "-q", self.path("source.raw"), self.path("from"),
                      "-f", source[0], "--replace", *source[1])
                before = self.used()
                croft("convert", "-q", "--source-format", source[0],
                      self.path("from"), self.path("to"), "-f", target[0], *target[1])
                if self.takes_less(target):
                    self.assertLess(self.used() - before, SIZE // 8)
                croft("check", self.path("to"))
                # A write to one is none to the other.
                run("qemu-io", "-f", {"vhd": "vpc"}.get(source[0], source[0]), "-c",
                    f"write -P 0x5a 1M {64 * MIB}", self.path("from"))
                croft("compare", "-q", self.path("to"), self.path("source.raw"))
                os.unlink(self.path("to"))


@unittest.skipIf(missing("xfs"), missing("xfs"))
class Xfs(Sharing, Case):
    KIND = "xfs"


@unittest.skipIf(missing("btrfs"), missing("btrfs"))
class Btrfs(Sharing, Case):
    KIND = "btrfs"

    def takes_less(self, target):
        # The room that a fixed disk has set aside stays with its file as long as a part of it is
        # in use.
        return "--fixed" not in target[1]


if __name__ == "__main__":
    unittest.main()
