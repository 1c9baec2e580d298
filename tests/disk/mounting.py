# SPDX-License-Identifier: Apache-2.0
"""Disks with file systems, and their mounts, for tests of `croft disk mount`, `umount` and `cp`."""

import contextlib
import json
import os
import pathlib
import random
import select
import tempfile

from command import CROFT, MIB, Case, checksum, croft, croft_json, needs, run

NOBODY = 65534


def kernel_knows(kind):
    with open("/proc/filesystems") as file:
        return kind in file.read().split()


def no_mounts():
    """Why nothing can be mounted here, or nothing."""
    if os.geteuid() != 0:
        return "mounting needs root"
    for device in ("/dev/fuse", "/dev/loop-control"):
        try:
            os.close(os.open(device, os.O_RDWR))
        except OSError as error:
            return f"{device}: {error.strerror}"
    with tempfile.TemporaryDirectory(prefix="croft-mount-") as folder:
        done = run("mount", "-t", "tmpfs", "none", folder, expect=None)
        if done.returncode != 0:
            return f"mount: {done.stderr.strip()}"
        run("umount", folder)
    return None


def abort_connections():
    """Ends all FUSE file systems of this machine, so that nobody waits for one for ever."""
    run("mount", "-t", "fusectl", "none", "/sys/fs/fuse/connections", expect=None)
    for file in pathlib.Path("/sys/fs/fuse/connections").glob("*/abort"):
        file.write_text("1")


class Mounting(Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.unmount_all)
        os.mkdir("m")

    def unmount_all(self):
        for it in self.mounts():
            run(CROFT, "disk", "umount", "--force", it["directory"] or it["file"], expect=None)
        with open("/proc/self/mounts") as file:
            left = [line.split()[1] for line in file if self.folder in line]
        for point in reversed(left):
            run("umount", "--lazy", point, expect=None)

    @contextlib.contextmanager
    def ends(self, process):
        """Waits for the end of a process that is no child of ours."""
        descriptor = os.pidfd_open(process)
        yield
        self.assertTrue(select.select([descriptor], [], [], 60)[0], "the process goes on")
        os.close(descriptor)

    def umount_by_hand(self):
        """As others do it; answers how often it took. Somebody who looks at all the mounts of this
        machine, as its tests do, makes one busy for a moment."""
        for count in range(1, 50):
            done = run("umount", "m", expect=None)
            if done.returncode == 0:
                return count
            self.assertIn("busy", done.stderr)
        raise AssertionError(done.stderr)

    def mounts(self):
        """Those of this test: others may run beside it."""
        return [it for it in croft_json("mount")["mounts"] if it["file"].startswith(self.folder)]

    def assert_nothing_left(self):
        with open("/proc/self/mounts") as file:
            self.assertNotIn(self.folder, file.read())
        self.assertNotIn(self.folder, run("losetup", "--list", "--noheadings").stdout)
        self.assertEqual(self.mounts(), [])

    def raw_of(self, disk):
        """The disk's contents, read by somebody else."""
        kind = {"vhdx": "vhdx", "vhd": "vpc", "raw": "raw"}[disk.rsplit(".", 1)[1]]
        run("qemu-img", "convert", "-f", kind, "-O", "raw", disk, "contents")
        return "contents"


def make_disk(name, kind, size=320 * MIB):
    """A disk that holds one file system, and no partitions."""
    with open("fresh.raw", "wb") as file:
        file.truncate(size)
    run(*{"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q"],
          "ntfs": ["mkfs.ntfs", "-q", "-f", "-F"], "vfat": ["mkfs.vfat"],
          "exfat": ["mkfs.exfat"]}[kind], "fresh.raw")
    if name.endswith(".raw"):
        os.rename("fresh.raw", name)
    else:
        croft("convert", "fresh.raw", name, "--replace")
        os.unlink("fresh.raw")
    return name


def partitioned(name, script, volumes):
    """A disk with the partitions of an sfdisk script; `volumes`: number to file system."""
    with open("table.raw", "wb") as file:
        file.truncate(400 * MIB)
    run("sfdisk", "--quiet", "table.raw", input=script)
    for part in json.loads(run("sfdisk", "--json", "table.raw").stdout
                           )["partitiontable"]["partitions"]:
        number = int(part["node"].removeprefix("table.raw"))
        if number in volumes:
            make_disk("part.raw", volumes[number], part["size"] * 512)
            run("dd", "if=part.raw", "of=table.raw", "bs=1M", f"seek={part['start'] * 512 // MIB}",
                "conv=notrunc,sparse")
    croft("convert", "table.raw", name, "--replace")
    return name


def fill(folder, seed, count=12):
    rng = random.Random(seed)
    for number in range(count):
        with open(os.path.join(folder, f"file{number}"), "wb") as file:
            file.write(rng.randbytes(rng.randrange(1, 3 * MIB)))


def sums(folder):
    found = {}
    for top, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(top, name)
            if "lost+found" not in path and "System Volume" not in path:
                found[os.path.relpath(path, folder)] = checksum(path)
    return found
