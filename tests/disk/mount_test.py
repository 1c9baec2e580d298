#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`croft disk mount` and `umount`, with real file systems.

Usage: mount_test.py CROFT [unittest options]

Ends with 77 where nothing can be mounted.
"""

import concurrent.futures
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import unittest

from command import (CROFT, MIB, checksum, croft, croft_error, croft_json, manual_examples, needs,
                     run)
from mounting import NOBODY, Mounting, fill, kernel_knows, make_disk, no_mounts, partitioned, sums


class Tables(Mounting):
    """What others have divided; nothing is mounted for it."""

    def assert_as_sfdisk(self, disk):
        shown = croft_json("mount", disk)
        theirs = json.loads(run("sfdisk", "--json", disk).stdout)["partitiontable"]
        ours = {it["number"]: (it["offset"] // 512, it["length"] // 512)
                for it in shown["volumes"]}
        self.assertEqual(ours, {int(it["node"].removeprefix(disk)): (it["start"], it["size"])
                                for it in theirs["partitions"]})
        self.assertEqual([it["problem"] for it in shown["volumes"]], [""] * len(ours))
        self.assertEqual(shown["notes"], [])
        return shown

    def disk(self):
        with open("disk.raw", "wb") as file:
            file.truncate(256 * MIB)
        return "disk.raw"

    @needs("sfdisk")
    def test_sfdisk(self):
        disk = self.disk()
        run("sfdisk", "-q", disk, input="label: gpt\nsize=20M,name=first\nsize=30M\n,\n")
        shown = self.assert_as_sfdisk(disk)
        self.assertEqual(shown["table"]["kind"], "gpt")
        self.assertEqual(shown["volumes"][0]["name"], "first")
        run("sfdisk", "-q", disk,
            input="label: dos\nsize=20M,bootable\nsize=100M,type=5\nsize=10M\nsize=20M\n"
                  "size=9M,type=7\n,\n")
        shown = self.assert_as_sfdisk(disk)
        self.assertEqual(shown["table"]["kind"], "mbr")
        self.assertTrue(shown["volumes"][0]["bootable"])
        self.assertIn(5, [it["number"] for it in shown["volumes"]])

    @needs("sgdisk", "sfdisk")
    def test_sgdisk(self):
        disk = self.disk()
        run("sgdisk", "-n", "3:0:+20M", "-n", "1:0:+9M", "-n", "128:0:0", "-t", "1:ef00", disk)
        shown = self.assert_as_sfdisk(disk)
        self.assertEqual([it["number"] for it in shown["volumes"]], [1, 3, 128])
        self.assertEqual(shown["volumes"][0]["type_name"], "EFI system")
        with open(disk, "r+b") as file:
            file.seek(512)
            file.write(b"broken")
        shown = croft_json("mount", disk)
        self.assertEqual(len(shown["volumes"]), 3)
        self.assertIn("backup stands in", shown["notes"][0])

    @needs("parted", "sfdisk")
    def test_parted(self):
        disk = self.disk()
        run("parted", "-s", disk, "mklabel", "msdos", "mkpart", "primary", "ext2", "1MiB", "50MiB",
            "mkpart", "extended", "60MiB", "200MiB", "mkpart", "logical", "61MiB", "90MiB",
            "mkpart", "logical", "100MiB", "150MiB")
        self.assert_as_sfdisk(disk)
        run("parted", "-s", disk, "mklabel", "gpt", "mkpart", "data", "ext2", "1MiB", "100%")
        self.assert_as_sfdisk(disk)

    def test_a_damaged_table_is_told(self):
        disk = self.disk()
        if shutil.which("sgdisk"):
            run("sgdisk", "-n", "1:0:0", disk)
            with open(disk, "r+b") as file:
                for place in (512, 256 * MIB - 512):
                    file.seek(place)
                    file.write(b"broken")
            self.assertIn("no copy", croft_json("mount", disk)["notes"][0])

    def test_what_cp_does_not_take(self):
        disk = self.disk()
        for words, said in ((["one", "two"], "FILE:/path"), ([f"{disk}:/a"], "no destination"),
                            ([f"{disk}:/a", f"{disk}:/b"], "both sides"),
                            ([f"{disk}:/a", "other:/a", "."], "same disk"),
                            ([f"{disk}:1:/a", f"{disk}:2:/a", "."], "same disk")):
            done = run(CROFT, "disk", "cp", *words, expect=2)
            self.assertIn(said, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)


class Mounts(Mounting):
    def write_and_read(self, disk, kind):
        """A file system is changed through a mount, and looked at by others."""
        croft("mount", disk, "m", "--read-write")
        fill("m", 1)
        os.mkdir("m/folder")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for number in range(4):
                os.mkdir(f"m/folder/{number}")
                pool.submit(fill, f"m/folder/{number}", number, 6)
        os.unlink("m/file3")
        expected = sums("m")
        croft("umount", "m")
        self.assert_nothing_left()
        self.assert_sound(disk)
        check = {"ext4": ["e2fsck", "-fn"], "xfs": ["xfs_repair", "-n"],
                 "vfat": ["fsck.vfat", "-n"], "exfat": ["fsck.exfat", "-n"],
                 "ntfs": ["ntfsfix", "-n"]}[kind]
        run(*check, self.raw_of(disk))
        croft("mount", disk, "m")
        self.assertEqual(sums("m"), expected)
        with self.assertRaises(OSError):
            with open("m/new", "wb"):
                pass
        before = checksum(disk)
        croft("umount", disk)
        self.assertEqual(checksum(disk), before)
        self.assert_nothing_left()

    @needs("mkfs.ext4", "qemu-img")
    def test_ext4(self):
        for name in ("disk.vhdx", "disk.vhd", "disk.raw"):
            with self.subTest(name):
                self.write_and_read(make_disk(name, "ext4"), "ext4")

    @needs("mkfs.xfs", "qemu-img")
    def test_xfs(self):
        if not kernel_knows("xfs"):
            self.skipTest("the kernel has no xfs")
        self.write_and_read(make_disk("disk.vhdx", "xfs", 400 * MIB), "xfs")

    @needs("mkfs.ntfs", "ntfs-3g", "qemu-img")
    def test_ntfs(self):
        self.write_and_read(make_disk("disk.vhdx", "ntfs"), "ntfs")

    @needs("mkfs.exfat", "qemu-img")
    def test_exfat(self):
        if not kernel_knows("exfat") and not shutil.which("mount.exfat-fuse"):
            self.skipTest("neither the kernel nor a program has exfat")
        self.write_and_read(make_disk("disk.vhdx", "exfat"), "exfat")

    @needs("mkfs.vfat", "qemu-img")
    def test_fat(self):
        if not kernel_knows("vfat"):
            self.skipTest("the kernel has no vfat, and fusefat is only used for reading")
        self.write_and_read(make_disk("disk.vhdx", "vfat"), "vfat")

    @needs("mkfs.vfat", "mcopy", "fusefat")
    def test_fat_by_others(self):
        disk = make_disk("disk.vhdx", "vfat")
        croft("mount", disk, "m", "--raw", "--read-write")
        with open("file", "wb") as file:
            file.write(random.Random(5).randbytes(3 * MIB + 17))
        run("mmd", "-i", "m/disk", "::/a long folder name")
        run("mcopy", "-i", "m/disk", "file", "::/a long folder name/and a file")
        croft("umount", "m")
        self.assert_sound(disk)
        croft("mount", disk, "m")
        self.assertEqual(sums("m"), {"a long folder name/and a file": checksum("file")})
        croft("umount", "m")
        if not kernel_knows("vfat"):
            self.assertIn("only used for reading", run(
                CROFT, "disk", "mount", disk, "m", "-w", expect=2).stderr)
        self.assert_nothing_left()

    @needs("sfdisk", "mkfs.ext4", "mkfs.ntfs", "ntfs-3g")
    def test_partitions(self):
        disk = partitioned("disk.vhdx", "label: gpt\nsize=100M\nsize=20M\nsize=100M\n",
                           {1: "ext4", 3: "ntfs"})
        mounted = croft_json("mount", disk, "m", "-w")
        self.assertEqual([it["partition"] for it in mounted["file_systems"]], [1, 3])
        fill("m/p1", 1)
        fill("m/p3", 3)
        expected = sums("m/p1"), sums("m/p3")
        self.assertEqual(sorted(os.listdir("m")), [".raw", "p1", "p3"])
        self.assertEqual(os.path.getsize("m/.raw/p2"), 20 * MIB)
        croft("umount", disk)
        for number in (1, 3):
            croft("mount", disk, "m", "-p", str(number))
            self.assertEqual(sums("m"), expected[number // 2])
            croft("umount", "m")
        done = run(CROFT, "disk", "mount", disk, "m", "-p", "2", expect=2)
        self.assertIn("expected a file system", done.stderr)
        done = run(CROFT, "disk", "mount", disk, "m", "-p", "9", expect=2)
        self.assertIn("found no partition 9", done.stderr)
        self.assert_nothing_left()

    @needs("mkfs.ext4", "qemu-img")
    def test_chains(self):
        for kind in ("vhdx", "vhd"):
            make_disk(f"one.{kind}", "ext4")
            croft("mount", f"one.{kind}", "m", "-w")
            fill("m", 1)
            croft("umount", "m")
            croft("create", f"two.{kind}", "-p", f"one.{kind}")
            croft("create", f"three.{kind}", "-p", f"two.{kind}")
            before = checksum(f"one.{kind}"), checksum(f"two.{kind}")
            croft("mount", f"three.{kind}", "m", "-w")
            fill("m", 2, 8)
            expected = sums("m")
            croft("umount", "m")
            self.assertEqual((checksum(f"one.{kind}"), checksum(f"two.{kind}")), before)
            self.assert_sound(f"three.{kind}")
            croft("merge", f"three.{kind}", "--remove")
            run("e2fsck", "-fn", self.raw_of(f"one.{kind}"))
            croft("mount", f"two.{kind}", "m")
            self.assertEqual(sums("m"), expected)
            croft("umount", "m")

    @needs("mkfs.ext4")
    def test_a_disk_in_use_is_refused(self):
        disk = make_disk("disk.vhdx", "ext4")
        mounted = croft_json("mount", disk, "m", "-w")
        os.mkdir("other")
        for words in (["mount", disk, "other"], ["info", disk], ["cp", f"{disk}:/x", "."]):
            error = croft_error(*words)
            self.assertEqual(error["code"], "in_use")
            self.assertIn(f"process {mounted['process']} (croft disk mount {disk} m -w",
                          error["what"])
        error = croft_error("mount", disk, "m")
        self.assertEqual(error["code"], "in_use")
        if shutil.which("qemu-io"):
            self.assertIn("lock", run("qemu-io", "-f", "vhdx", "-c", "read 0 512", disk,
                                      expect=1).stderr)
        croft("umount", "m")
        # Readers share.
        croft("mount", disk, "m")
        croft("mount", disk, "other")
        error = croft_error("umount", disk)
        self.assertIn("2 times", error["what"])
        croft("umount", "other")
        croft("umount", disk)
        self.assert_nothing_left()

    @needs("mkfs.ext4")
    def test_a_mount_in_use_stays(self):
        disk = make_disk("disk.vhdx", "ext4")
        croft("mount", disk, "m", "-w")
        user = subprocess.Popen(["cat"], cwd="m", stdin=subprocess.PIPE)
        try:
            error = croft_error("umount", "m")
            self.assertEqual(error["code"], "in_use")
            self.assertIn(f"process {user.pid} (cat)", error["what"])
        finally:
            user.communicate(timeout=60)
        croft("umount", "m")
        self.assert_nothing_left()

    @contextlib.contextmanager
    def small_room(self):
        """A mounted disk with more room for its guest than there is for its file; answers its file.
        The file system that it is on is gone afterwards.
        """
        os.mkdir("room")
        run("mount", "-t", "tmpfs", "-o", "size=40m", "none", "room")
        try:
            disk = os.path.join(self.folder, "room/disk.vhdx")
            croft("create", disk, "300M", "--block-size", "1M")
            croft("mount", disk, "m", "--raw", "-w")
            run("mkfs.ext4", "-q", "-F", "m/disk")
            croft("umount", "m")
            croft("mount", disk, "m", "-w")
            yield disk
        finally:
            self.unmount_all()

    def write_too_much(self):
        with open("m/big", "wb") as file:
            for _ in range(80):
                file.write(os.urandom(MIB))

    @needs("mkfs.ext4")
    def test_what_does_not_fit_is_told(self):
        with self.small_room() as disk:
            self.write_too_much()
            for _ in range(2):  # the kernel tells it once
                error = croft_error("umount", "m")
                self.assertIn("No space left", error["what"])
                self.assertIn("umount --force", error["what"])
            self.assertTrue(os.path.ismount("m"))
            self.assertEqual(os.path.getsize("m/big"), 80 * MIB)
            self.assertIn("No space left", self.mounts()[0]["error"])
            self.assertIn("not all is on the disk", croft("mount"))
            error = croft_error("umount", "m", "--force")
            self.assertIn("No space left", error["what"])
            self.assertFalse(os.path.ismount("m"))
            self.assertEqual(self.mounts(), [])
            self.assert_sound(disk)

    @needs("mkfs.ext4")
    def test_a_failure_that_somebody_was_told_of_is_told_again(self):
        with self.small_room(), open("m/big", "wb", buffering=0) as file:
            with self.assertRaises(OSError):
                for _ in range(80):
                    file.write(os.urandom(MIB))
                os.fsync(file.fileno())
            file.close()
            self.assertIn("No space left", croft_error("umount", "m")["what"])
            croft("umount", "m", "--force", expect=2)

    @needs("mkfs.ext4")
    def test_what_others_lose_by_unmounting_stays_known(self):
        with self.small_room() as disk:
            server = self.mounts()[0]["process"]
            self.write_too_much()
            with self.ends(server):
                self.umount_by_hand()
            left = self.mounts()[0]
            self.assertFalse(left["alive"])
            self.assertIn("No space left", left["error"])
            self.assertIn("No space left", croft_error("umount", disk)["what"])
            self.assertEqual(self.mounts(), [])

    @needs("mkfs.ext4")
    def test_a_copy_that_does_not_fit_fails(self):
        with self.small_room() as disk:
            croft("umount", "m")
            with open("big", "wb") as file:
                file.write(os.urandom(80 * MIB))
            croft("cp", "big", f"{disk}:/", expect=2)
            self.assertEqual(self.mounts(), [])
            self.assert_sound(disk)

    @needs("mkfs.ext4")
    def test_a_killed_server_leaves_a_whole_disk(self):
        disk = make_disk("disk.vhdx", "ext4")
        server = croft_json("mount", disk, "m", "-w")["process"]
        fill("m", 1)
        run("sync", "--file-system", "m")
        expected = sums("m")
        fill("m", 2)
        with self.ends(server):
            os.kill(server, signal.SIGKILL)
        self.assertFalse(self.mounts()[0]["alive"])
        error = croft_error("umount", disk)
        self.assertIn("ended early", error["what"])
        self.assert_nothing_left()
        self.assert_sound(disk)
        croft("mount", disk, "m", "-w") # replays the journal
        self.assertEqual(set(sums("m")), set(expected))
        croft("umount", "m")
        run("e2fsck", "-fn", self.raw_of(disk))

    @needs("mkfs.ext4")
    def test_a_server_told_to_end_flushes_first(self):
        disk = make_disk("disk.vhdx", "ext4")
        server = croft_json("mount", disk, "m", "-w")["process"]
        fill("m", 1)
        expected = sums("m")
        with self.ends(server):
            os.kill(server, signal.SIGTERM)
        self.assert_nothing_left()
        croft("mount", disk, "m")
        self.assertEqual(sums("m"), expected)
        croft("umount", "m")

    @needs("mkfs.ext4")
    def test_umount_of_others_ends_it_too(self):
        disk = make_disk("disk.vhdx", "ext4")
        server = croft_json("mount", disk, "m", "-w")["process"]
        fill("m", 1)
        with self.ends(server):
            self.umount_by_hand()
        self.assert_nothing_left()
        self.assert_sound(disk)

    @needs("mkfs.ext4")
    def test_umount_waits_for_who_looks_at_the_loop_device(self):
        disk = make_disk("disk.vhdx", "ext4")
        device = croft_json("mount", disk, "m", "-w")["file_systems"][0]["device"]
        fill("m", 1)
        expected = sums("m")
        looking = os.open(device, os.O_RDONLY)
        with subprocess.Popen([CROFT, "disk", "umount", "m"], stderr=subprocess.PIPE,
                              text=True) as unmounting:
            try:
                words = unmounting.stderr.readline()
                self.assertFalse(os.path.exists("m/file1"))
                self.assertIsNone(unmounting.poll())
            finally:
                os.close(looking)
                words += unmounting.communicate(timeout=60)[1]
            self.assertEqual(unmounting.returncode, 0, words)
            self.assertIn(f"waiting for process {os.getpid()} (", words)
            self.assertIn(f"which has {device} open", words)
        self.assert_nothing_left()
        croft("mount", disk, "m")
        self.assertEqual(sums("m"), expected)
        croft("umount", "m")

    @needs("mkfs.ext4", "sfdisk")
    def test_a_raw_file_in_use_keeps_all_mounted(self):
        disk = partitioned("disk.vhdx", "label: gpt\nsize=100M\nsize=20M\n", {1: "ext4"})
        croft("mount", disk, "m", "-w")
        with open("m/.raw/p2", "rb"):
            self.assertIn(f"process {os.getpid()} (",
                          croft_error("umount", "m")["what"])
        device = run("losetup", "--find", "--show", "m/.raw/p2").stdout.strip()
        try:
            self.assertIn(device, croft_error("umount", "m")["what"])
        finally:
            run("losetup", "--detach", device)
        self.assertTrue(os.path.ismount("m/p1"))
        croft("umount", "m")
        self.assert_nothing_left()

    @needs("mkfs.ext4")
    def test_what_lies_over_a_mount_is_told(self):
        disk = make_disk("disk.vhdx", "ext4")
        croft("mount", disk, "m", "-w")
        run("mount", "-t", "tmpfs", "over", "m")
        self.assertIn("found over mounted over", croft_error("umount", disk)["what"])
        self.umount_by_hand()
        croft("umount", disk)
        self.assert_nothing_left()

    @contextlib.contextmanager
    def somebody_opens_disks(self):
        """Another one, again and again."""
        croft("create", "other.vhdx", "10M")
        goes_on = threading.Event()
        goes_on.set()

        def look():
            while goes_on.is_set():
                croft("info", "other.vhdx")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            looking = pool.submit(look)
            try:
                yield
            finally:
                goes_on.clear()
                looking.result()

    @needs("mkfs.ext4")
    def test_a_mount_ends_at_once(self):
        """Whoever opens other disks meanwhile keeps it from nothing."""
        disk = make_disk("disk.vhdx", "ext4")
        busy = 0
        with self.somebody_opens_disks():
            for _ in range(30):
                server = croft_json("mount", disk, "m", "-w")["process"]
                with contextlib.suppress(ProcessLookupError), self.ends(server):
                    busy += self.umount_by_hand() - 1
                self.assert_nothing_left()
        self.assertLess(busy, 5)

    @needs("mkfs.ext4", "fstrim")
    def test_what_is_discarded_is_given_back(self):
        for name in ("disk.vhdx", "disk.vhd"):
            disk = make_disk(name, "ext4")
            used = [self.blocks_used(disk)]
            for command in (["dd", "if=/dev/urandom", "of=m/big", "bs=1M", "count=128"],
                            ["rm", "m/big"]):
                croft("mount", disk, "m", "-w")
                run(*command)
                run("sync", "--file-system", "m")
                run("fstrim", "m")
                croft("umount", "m")
                croft("check", disk)  # nothing of what was given back takes room
                used.append(self.blocks_used(disk))
            self.assertGreater(used[1], used[0] + 50)
            self.assertLess(used[2], used[1] - 40)
            self.assert_sound(disk)
            run("e2fsck", "-fn", self.raw_of(disk))

    def blocks_used(self, disk):
        return croft_json("check", disk, expect=None)["blocks_used"]

    def test_raw_files(self):
        model = bytearray(random.Random(9).randbytes(8 * MIB))
        with open("disk.raw", "wb") as file:
            file.write(bytes(512) + model[512:])
        croft("convert", "disk.raw", "disk.vhdx", "--block-size", "1M")
        model[:512] = bytes(512)
        run(CROFT, "disk", "mount", "disk.vhdx", "m", expect=2)
        croft("mount", "disk.vhdx", "m", "--raw", "-w")
        self.assertEqual(os.listdir("m"), ["disk"])
        rng = random.Random(4)
        disk = os.open("m/disk", os.O_RDWR)
        for _ in range(300):
            at = rng.randrange(len(model))
            data = rng.randbytes(min(rng.choice([1, 511, 512, 4096, 70001]), len(model) - at))
            if rng.randrange(5) == 0:
                run("fallocate", "-z" if rng.randrange(2) else "-p", "-n", "-o", at, "-l",
                    len(data), "m/disk")
                data = bytes(len(data))
            else:
                os.pwrite(disk, data, at)
            model[at:at + len(data)] = data
            start = max(0, at - rng.randrange(5000))
            self.assertEqual(os.pread(disk, 90000, start), bytes(model[start:start + 90000]))
        with self.assertRaises(OSError):
            os.pwrite(disk, b"beyond", len(model))
        os.close(disk)
        croft("umount", "m")
        with open("expected.raw", "wb") as file:
            file.write(model)
        self.assertIn("identical", croft("compare", "-s", "expected.raw", "disk.vhdx"))
        self.assert_sound("disk.vhdx")

    def test_both_ends_of_the_largest_disk(self):
        size = 64 << 40
        croft("create", "disk.vhdx", size)
        ends = {0: b"first" * 200, size - MIB - 512: b"last one" * (MIB // 8)}
        for disk in ("disk.vhdx", "child.vhdx"):
            if disk == "child.vhdx":
                croft("create", disk, "-p", "disk.vhdx")
            croft("mount", disk, "m", "--raw", "-w")
            with open("m/disk", "r+b", buffering=0) as file:
                self.assertEqual(file.seek(0, os.SEEK_END), size)
                for place, data in ends.items():
                    if disk == "child.vhdx":
                        self.assertEqual(os.pread(file.fileno(), len(data), place), data)
                        data = data.swapcase()
                    os.pwrite(file.fileno(), data, place)
                with self.assertRaises(OSError):
                    os.pwrite(file.fileno(), b"beyond", size)
            croft("umount", "m")
            self.assert_sound(disk)
        croft("merge", "child.vhdx", "--remove")
        croft("mount", "disk.vhdx", "m", "--raw")
        with open("m/disk", "rb", buffering=0) as file:
            for place, data in ends.items():
                self.assertEqual(os.pread(file.fileno(), len(data), place), data.swapcase())
            self.assertEqual(os.pread(file.fileno(), 512, size - 512), bytes(512))
        croft("umount", "m")
        pieces = [it for it in croft_json("map", "disk.vhdx") if it["data"]]
        self.assertEqual(pieces[0]["start"], 0)
        self.assertGreater(pieces[-1]["start"] + pieces[-1]["length"], size - MIB)

    def test_an_iso_is_never_written(self):
        with open("disc.iso", "wb") as file:
            file.write(bytes(32 << 10) + b"\1CD001\1" + os.urandom(MIB - 7 - (32 << 10)))
        before = checksum("disc.iso")
        croft("mount", "disc.iso", "m", "--raw")
        self.assertEqual(checksum("m/disk"), before)
        croft("umount", "m")
        croft("mount", "disc.iso", "m", "--raw", "-w")
        with self.assertRaises(OSError):
            with open("m/disk", "r+b"):
                pass
        croft("umount", "m")
        self.assertEqual(checksum("disc.iso"), before)

    def test_raw_files_know_their_holes(self):
        croft("create", "disk.vhdx", "64M", "--block-size", "1M")
        croft("mount", "disk.vhdx", "m", "--raw", "-w")
        with open("m/disk", "r+b") as file:
            file.seek(8 * MIB)
            file.write(b"x" * MIB)
            file.flush()
            self.assertEqual(os.lseek(file.fileno(), 0, os.SEEK_DATA), 8 * MIB)
            self.assertEqual(os.lseek(file.fileno(), 8 * MIB, os.SEEK_HOLE), 9 * MIB)
            with self.assertRaises(OSError):
                os.lseek(file.fileno(), 9 * MIB, os.SEEK_DATA)
        croft("umount", "m")

    def test_without_rights(self):
        croft("create", "disk.vhdx", "8M")
        os.chmod("disk.vhdx", 0o666)
        os.chmod(".", 0o755)
        done = run("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", CROFT,
                   "disk", "mount", "disk.vhdx", "m", expect=None)
        if done.returncode == 126 or "Permission denied" in done.stderr:
            self.skipTest("others may not run the program under test")
        self.assertEqual(done.returncode, 2)
        self.assertIn("takes root's rights", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)

    def test_raw_files_need_no_rights(self):
        shutil.copy(CROFT, "croft")
        croft("create", "disk.vhdx", "8M")
        os.chmod(".", 0o755)
        for name in (".", "m", "disk.vhdx"):
            os.chown(name, NOBODY, NOBODY)
        # Here /dev/fuse may be root's alone: in a name space of its own it is everybody's.
        script = """set -e
            mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse
            user="setpriv --reuid=65534 --regid=65534 --clear-groups env XDG_RUNTIME_DIR=$PWD/run"
            mkdir -m 700 run && chown 65534:65534 run
            $user ./croft disk mount --raw -w disk.vhdx m
            $user sh -c 'printf hello | dd of=m/disk conv=notrunc status=none'
            $user ./croft disk mount --json
            $user ./croft disk umount disk.vhdx"""
        if not shutil.which("fusermount3"):
            self.skipTest("fusermount3 is not installed")
        done = run("unshare", "--mount", "sh", "-c", script)
        self.assertIn('"raw": true', done.stdout)
        croft("convert", "disk.vhdx", "disk.raw")
        with open("disk.raw", "rb") as file:
            self.assertEqual(file.read(6), b"hello\0")


class Manual(Mounting):
    @needs("sfdisk", "mkfs.ext4")
    def test_examples_run(self):
        partitioned("system.vhdx", "label: gpt\nsize=100M\nsize=100M\n", {1: "ext4", 2: "ext4"})
        with open("hosts", "w") as file:
            file.write("127.0.0.1 localhost\n")
        os.mkdir("mnt")
        ran = 0
        for words in manual_examples():
            if words[2] in ("mount", "umount", "cp"):
                croft(*words[2:])
                ran += 1
        self.assertGreater(ran, 5)
        self.assert_nothing_left()


if __name__ == "__main__":
    why = no_mounts()
    if why:
        print(f"mount tests are skipped: {why}")
        done = unittest.main(argv=[sys.argv[0], "Tables"], exit=False)
        sys.exit(77 if done.result.wasSuccessful() else 1)
    unittest.main()
