#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Conversions on file systems that share blocks: payload is shared, whatever the formats, and the
two files are independent afterwards. XFS and Btrfs, each on a loop device.

Usage: sharing_test.py CROFT [unittest options]
"""

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

CROFT = os.path.abspath(sys.argv.pop(1))
MIB = 1 << 20
SIZE = 160 * MIB + 512 + 4096  # neither whole blocks nor whole pages


def run(*words):
    done = subprocess.run([str(word) for word in words],
                          capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise AssertionError(f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def missing(kind):
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        return "loop devices need root and a kernel that has them"
    if not shutil.which(f"mkfs.{kind}"):
        return f"mkfs.{kind} is not installed"
    with open("/proc/filesystems") as file:
        if kind not in file.read().split():
            return f"the kernel has no {kind}"
    return None


class Sharing:
    KIND = ""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="croft-sharing-")
        self.addCleanup(shutil.rmtree, self.folder)
        image = os.path.join(self.folder, "image")
        with open(image, "wb") as file:
            file.truncate(2 << 30)
        run(f"mkfs.{self.KIND}", "-q", image)
        device = run("losetup", "--find", "--show", image).strip()
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
                run(CROFT, "disk", "convert", "-q", self.path("source.raw"), self.path("from"),
                    "-f", source[0], "--replace", *source[1])
                before = self.used()
                run(CROFT, "disk", "convert", "-q", "--source-format", source[0],
                    self.path("from"), self.path("to"), "-f", target[0], *target[1])
                if self.takes_less(target):
                    self.assertLess(self.used() - before, SIZE // 8)
                run(CROFT, "disk", "check", self.path("to"))
                # A write to one is none to the other.
                run("qemu-io", "-f", {"vhd": "vpc"}.get(source[0], source[0]), "-c",
                    f"write -P 0x5a 1M {64 * MIB}", self.path("from"))
                run(CROFT, "disk", "compare", "-q", self.path("to"), self.path("source.raw"))
                os.unlink(self.path("to"))


@unittest.skipIf(missing("xfs"), missing("xfs"))
class Xfs(Sharing, unittest.TestCase):
    KIND = "xfs"


@unittest.skipIf(missing("btrfs"), missing("btrfs"))
class Btrfs(Sharing, unittest.TestCase):
    KIND = "btrfs"

    def takes_less(self, target):
        # The room that a fixed disk has set aside stays with its file as long as a part of it is
        # in use.
        return "--fixed" not in target[1]


if __name__ == "__main__":
    unittest.main()
