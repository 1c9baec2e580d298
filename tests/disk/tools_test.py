#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The sub-commands of `croft disk`, and their files against qemu-img, both ways.

Usage: tools_test.py CROFT [unittest options]
"""

import contextlib
import fcntl
import filecmp
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import time
import unittest

from command import (CROFT, MANUAL, MIB, SANITIZED, Case, checksum, croft, croft_error, croft_json,
                     manual_examples, needs, no_loop_devices, run)

SIZES = [3 * MIB, 37 * MIB, 37 * MIB + 512, 8 * MIB - 4096 - 512]


def contents(size, seed):
    rng = random.Random(seed)
    data = bytearray(size)
    for _ in range(40):
        start = rng.randrange(size)
        length = min(rng.randrange(1, 200000), size - start)
        data[start:start + length] = rng.randbytes(length)
    return bytes(data)


class Tools(Case):
    def source(self, size=37 * MIB, seed=1, name="source.raw"):
        with open(name, "wb") as file:
            file.write(contents(size, seed))
        return name


@needs("qemu-img")
class Interoperability(Tools):
    OURS = [("vhdx", []), ("vhdx", ["--fixed"]), ("vhdx", ["--block-size", "1M"]),
            ("vhdx", ["--block-size", "256M"]), ("vhd", []), ("vhd", ["--fixed"]), ("raw", [])]
    QEMU = {"vhdx": "vhdx", "vhd": "vpc", "raw": "raw"}
    THEIRS = [("vhdx", ["subformat=dynamic"]), ("vhdx", ["subformat=fixed"]),
              ("vhdx", ["subformat=dynamic,block_size=1M"]),
              ("vhdx", ["subformat=dynamic,log_size=4M"]),
              ("vpc", ["subformat=dynamic,force_size=on"]),
              ("vpc", ["subformat=fixed,force_size=on"])]

    def test_qemu_reads_what_we_write(self):
        for size in SIZES:
            source = self.source(size, size)
            for number, (kind, options) in enumerate(self.OURS):
                with self.subTest(size=size, kind=kind, options=options):
                    target = f"ours{number}.{kind}"
                    croft("convert", source, target, "-f", kind, "--replace", *options)
                    run("qemu-img", "compare", "-f", "raw", "-F", self.QEMU[kind], source, target)
                    if kind == "vhdx":
                        run("qemu-img", "check", "-f", "vhdx", target)
                    self.assert_sound(target)

    def test_we_read_what_qemu_writes(self):
        for size in SIZES:
            source = self.source(size, size)
            for number, (kind, options) in enumerate(self.THEIRS):
                with self.subTest(size=size, kind=kind, options=options):
                    target = f"theirs{number}"
                    run("qemu-img", "convert", "-f", "raw", "-O", kind, "-o", options[0], source,
                        target)
                    self.assert_same(source, target)
                    self.assert_sound(target)

    def test_qemu_goes_on_where_we_stopped_and_we_where_it_stopped(self):
        for kind in ("vhdx", "vhd"):
            with self.subTest(kind=kind):
                disk = f"disk.{kind}"
                source = self.source(16 * MIB, 5)
                croft("convert", source, disk)
                run("qemu-io", "-f", self.QEMU[kind], "-c", "write -P 0x5a 9M 3M", disk)
                with open(source, "r+b") as file:
                    file.seek(9 * MIB)
                    file.write(b"\x5a" * 3 * MIB)
                self.assert_same(source, disk)
                self.assert_sound(disk)
                second = self.source(16 * MIB, 6)
                croft("convert", "-n", second, disk, "-f", kind)
                run("qemu-img", "compare", "-f", "raw", "-F", self.QEMU[kind], second, disk)

    def test_a_log_that_qemu_left_in_use(self):
        run("qemu-img", "create", "-f", "vhdx", "disk.vhdx", "64M")
        run("qemu-io", "-f", "vhdx", "-c", "write -P 7 0 1M", "-c", "write -P 8 40M 1M", "-c",
            "flush", "-c", "sigraise 9", "disk.vhdx", expect=None)
        with open("expected.raw", "wb") as file:
            file.write(b"\x07" * MIB + bytes(39 * MIB) + b"\x08" * MIB + bytes(23 * MIB))
        self.assert_same("expected.raw", "disk.vhdx")

    def test_differencing_vhd(self):
        source = self.source(20 * MIB, 2)
        croft("convert", source, "parent.vhd")
        croft("create", "child.vhd", "-p", "parent.vhd")
        second = self.source(20 * MIB, 3, "second.raw")
        croft("convert", "-n", second, "child.vhd", "-f", "vhd")
        self.assert_same(second, "child.vhd")
        self.assert_same(source, "parent.vhd")


class Operations(Tools):
    def chain(self, kind):
        """A chain of three and what it shows."""
        croft("convert", self.source(24 * MIB, 1, "one.raw"), f"one.{kind}")
        for name, parent, seed in (("two", "one", 2), ("three", "two", 3)):
            croft("create", f"{name}.{kind}", "-p", f"{parent}.{kind}")
            croft("convert", "-n", "-f", kind, self.source(24 * MIB, seed, f"{name}.raw"),
                  f"{name}.{kind}")

    def test_chain_info_and_map(self):
        for kind in ("vhdx", "vhd"):
            self.chain(kind)
            images = croft_json("info", f"three.{kind}")["chain"]
            self.assertEqual([os.path.basename(image["file"]) for image in images],
                             [f"three.{kind}", f"two.{kind}", f"one.{kind}"])
            ranges = croft_json("map", f"three.{kind}")
            self.assertEqual(sum(piece["length"] for piece in ranges), 24 * MIB)
            self.assertEqual(ranges[0]["start"], 0)

    def test_merge(self):
        for kind in ("vhdx", "vhd"):
            self.chain(kind)
            croft("merge", f"three.{kind}", "--remove")
            self.assertFalse(os.path.exists(f"three.{kind}"))
            self.assert_same("three.raw", f"two.{kind}")
            croft("merge", f"two.{kind}")
            self.assert_same("three.raw", f"one.{kind}")
            self.assert_same("three.raw", f"two.{kind}")
            self.assert_sound(f"one.{kind}", f"two.{kind}")

    def test_a_disk_with_children_is_not_removed(self):
        for kind in ("vhdx", "vhd"):
            with self.subTest(kind):
                self.chain(kind)
                before = checksum(f"one.{kind}"), checksum(f"two.{kind}")
                error = croft_error("merge", f"two.{kind}", "--remove")
                self.assertEqual(error["code"], "in_use")
                self.assertIn(f"/three.{kind}", error["what"])
                self.assertNotIn(f"one.{kind}", error["what"])
                self.assertEqual((checksum(f"one.{kind}"), checksum(f"two.{kind}")), before)
                # The way that the message shows.
                croft("merge", f"two.{kind}")
                self.assert_same("three.raw", f"three.{kind}")
                croft("rebase", f"three.{kind}", f"one.{kind}")
                os.remove(f"two.{kind}")
                self.assert_same("three.raw", f"three.{kind}")
                croft("merge", f"three.{kind}", "--remove")
                self.assert_same("three.raw", f"one.{kind}")

    def test_what_killed_commands_left_is_removed(self):
        self.source(3 * MIB)
        croft("convert", "source.raw", "disk.vhdx")
        gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
        stale = f"disk.vhdx.croft-{gone.stdout.strip()}"
        kept = [f"disk.vhdx.croft-{os.getpid()}", f"{stale}x", f"other-{stale}", "disk.vhdx.croft-"]
        for name in (stale, *kept):
            with open(name, "wb"):
                pass
        with open(stale, "rb") as file:  # a process that can't be seen may be at it
            fcntl.flock(file, fcntl.LOCK_EX)
            croft("compact", "disk.vhdx")
            self.assertTrue(os.path.exists(stale))
        croft("compact", "disk.vhdx")
        self.assertEqual(sorted(os.listdir(".")), sorted(["disk.vhdx", "source.raw", *kept]))

    def test_a_stranger_is_no_parent(self):
        self.chain("vhdx")
        croft("create", "other.vhdx", "24M")
        os.replace("other.vhdx", "two.vhdx")
        message = croft_error("info", "three.vhdx")
        self.assertEqual(message["code"], "parent_mismatch")
        os.remove("two.vhdx")
        message = croft_error("info", "three.vhdx")
        self.assertEqual(message["code"], "not_found")

    def test_rebase(self):
        for kind in ("vhdx", "vhd"):
            self.chain(kind)
            croft("rebase", f"three.{kind}", f"one.{kind}")
            os.remove(f"two.{kind}")
            self.assert_same("three.raw", f"three.{kind}")
            os.mkdir(f"moved-{kind}")
            os.rename(f"one.{kind}", f"moved-{kind}/one.{kind}")
            croft("info", f"three.{kind}", expect=2)
            croft("rebase", "-u", f"three.{kind}", f"moved-{kind}/one.{kind}")
            self.assert_same("three.raw", f"three.{kind}")
            self.assert_sound(f"three.{kind}")

    def test_compact(self):
        for kind in ("vhdx", "vhd"):
            with open("empty.raw", "wb") as file:
                file.truncate(24 * MIB)
            croft("convert", self.source(24 * MIB, 8, "full.raw"), f"big.{kind}")
            croft("convert", "-n", "empty.raw", f"big.{kind}", "-f", kind)
            before = os.path.getsize(f"big.{kind}")
            identity = croft_json("info", f"big.{kind}")["chain"][0]["identity"]
            croft("compact", f"big.{kind}")
            self.assertLess(os.path.getsize(f"big.{kind}"), before)
            self.assert_same("empty.raw", f"big.{kind}")
            self.assertEqual(croft_json("info", f"big.{kind}")["chain"][0]["identity"], identity)

    def test_compact_keeps_the_chain(self):
        for kind in ("vhdx", "vhd"):
            self.chain(kind)
            for name in ("one", "two", "three"):
                croft("compact", f"{name}.{kind}")
                self.assert_same("three.raw", f"three.{kind}")

    def test_resize(self):
        large = 40 if SANITIZED else 300
        for kind in ("vhdx", "vhd"):
            for options in ([], ["--fixed"]):
                source = self.source(10 * MIB, 4)
                croft("convert", source, f"disk.{kind}", "--replace", *options)
                croft("resize", f"disk.{kind}", "5M", expect=2)
                croft("resize", f"disk.{kind}", "5M", "--shrink")
                croft("resize", f"disk.{kind}", f"{large}M")
                with open(source, "r+b") as file:
                    file.truncate(5 * MIB)
                    file.truncate(large * MIB)
                self.assert_same(source, f"disk.{kind}")
                self.assert_sound(f"disk.{kind}")

    def test_resize_moves_the_table(self):
        croft("convert", self.source(10 * MIB, 4), "disk.vhdx", "--block-size", "1M")
        croft("resize", "disk.vhdx", "4T")
        croft("resize", "disk.vhdx", "10M", "--shrink")
        self.assert_same("source.raw", "disk.vhdx")
        self.assert_sound("disk.vhdx")

    def test_azure(self):
        croft("convert", self.source(10 * MIB + 512, 4), "disk.vhd", "--azure")
        self.assertEqual(croft_json("check", "disk.vhd", "--azure")["azure"], [])
        self.assertEqual(os.path.getsize("disk.vhd"), 11 * MIB + 512)
        croft("create", "not.vhdx", "10M")
        self.assertNotEqual(croft_json("check", "not.vhdx", "--azure", expect=2)["azure"], [])

    def test_damage_is_found_told_and_mended(self):
        croft("convert", self.source(10 * MIB, 4), "disk.vhdx")
        with open("disk.vhdx", "r+b") as file:
            file.seek(3 * MIB)  # the first entry of the table
            file.write(b"\xff" * 8)
            file.seek(192 * 1024)
            file.write(b"????")
        found = croft_json("check", "disk.vhdx", expect=2)
        self.assertEqual(found["health"], "loss")
        self.assertLessEqual({"loss", "damage"}, {
                             finding["severity"] for finding in found["findings"]})
        report = croft_json("repair", "disk.vhdx")
        self.assertEqual(report["after"]["health"], "good")
        self.assert_sound("disk.vhdx")

    def test_default_size(self):
        croft("create", "disk.vhdx")
        self.assertEqual(croft_json("info", "disk.vhdx")["chain"][0]["size"], 127 << 30)

    def test_a_disk_in_use_is_refused(self):
        croft("create", "disk.vhdx", "10M")
        with open("disk.vhdx", "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            error = croft_error("info", "disk.vhdx")
            self.assertEqual(error["code"], "in_use")
            self.assertIn(f"process {os.getpid()} (", error["what"])
            self.assertIn("tools_test.py", error["what"])

    @needs("qemu-io")
    def test_a_disk_that_qemu_uses_is_refused(self):
        croft("create", "disk.vhdx", "10M")
        qemu_io = subprocess.Popen(["qemu-io", "-f", "vhdx", "disk.vhdx"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
        try:
            qemu_io.stdin.write("length\n")
            qemu_io.stdin.flush()
            qemu_io.stdout.readline()
            error = croft_error("info", "disk.vhdx")
            self.assertEqual(error["code"], "in_use")
            self.assertIn(f"process {qemu_io.pid} (qemu-io -f vhdx disk.vhdx)", error["what"])
        finally:
            qemu_io.communicate("quit\n", timeout=60)

    @unittest.skipIf(no_loop_devices(), no_loop_devices())
    def test_a_file_under_a_loop_device_is_refused(self):
        self.source(3 * MIB)
        loop = run("losetup", "--find", "--show", "source.raw").stdout.strip()
        try:
            error = croft_error("info", "source.raw")
            self.assertEqual(error["code"], "in_use")
            self.assertIn(f"loop device {loop}", error["what"])
        finally:
            run("losetup", "--detach", loop)
        croft("info", "source.raw")

    def test_nothing_is_overwritten_unasked(self):
        self.source(3 * MIB)
        croft("create", "disk.vhdx", "10M")
        croft("create", "disk.vhdx", "20M", expect=2)
        croft("convert", "source.raw", "disk.vhdx", expect=2)
        self.assertEqual(croft_json("info", "disk.vhdx")["chain"][0]["size"], 10 * MIB)

    def test_an_interrupted_conversion_leaves_the_old_file(self):
        self.source(3 * MIB, 1, "old.raw")
        croft("convert", "old.raw", "disk.vhdx")
        with open("large.raw", "wb") as file:
            file.write(os.urandom(MIB) * 600)
        process = subprocess.Popen([CROFT, "disk", "convert", "large.raw",
                                   "disk.vhdx", "--replace"], stderr=subprocess.DEVNULL)
        # It is at work when its draft is there; it may be done before that is seen.
        while process.poll() is None and not any(".croft-" in name for name in os.listdir(".")):
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
        self.assertIn(code, (0, 130))
        self.assert_same("old.raw" if code == 130 else "large.raw", "disk.vhdx")
        self.assertEqual([name for name in os.listdir(".") if ".croft-" in name], [])

    def test_what_can_not_be_made_leaves_the_old_file(self):
        self.source(3 * MIB)
        for kind, words in (("vhdx", ["10M", "--block-size", "3M"]), ("vhdx", ["1000"]),
                            ("vhdx", ["10M", "--block-size", "4G"]), ("vhdx", ["65T"]),
                            ("vhdx", ["10M", "--sector-size", "513"]),
                            ("vhdx", ["10M", "--parent", "none.vhdx"]),
                            ("vhdx", ["--parent", "disk.vhdx"]),
                            ("vhd", ["10M", "--block-size", "3M"]), ("vhd", ["1000"]),
                            ("vhd", ["10M", "--block-size", "2K"]), ("vhd", ["2041G"]),
                            ("vhd", ["10M", "--block-size", "4G"]), ("raw", ["1000"]),
                            ("iso", ["1M"])):
            with self.subTest(kind=kind, words=words):
                disk = f"disk.{kind}"
                croft("convert", "source.raw", disk, "-f", "raw", "--replace")
                if kind == "vhdx":
                    croft("convert", "source.raw", disk, "--replace")
                before = checksum(disk)
                names = sorted(os.listdir("."))
                error = croft_error("create", disk, *words, "--replace")
                self.assertNotIn(".croft-", error["file"])
                self.assertEqual(checksum(disk), before)
                os.unlink(disk)
                croft("create", disk, *words, expect=2)
                self.assertEqual(sorted([*os.listdir("."), disk]), names)

    def test_a_disk_that_somebody_writes_is_not_replaced(self):
        self.source(3 * MIB)
        croft("create", "disk.vhdx", "10M")
        os.chmod("disk.vhdx", 0o640)
        with open("disk.vhdx", "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            for words in (["create", "disk.vhdx", "20M"], ["convert", "source.raw", "disk.vhdx"]):
                error = croft_error(*words, "--replace")
                self.assertEqual(error["code"], "in_use")
        croft("create", "disk.vhdx", "20M", "--replace")
        self.assertEqual(os.stat("disk.vhdx").st_mode & 0o777, 0o640)

    def test_links_are_followed(self):
        self.source(3 * MIB)
        os.mkdir("real")
        os.symlink("real/disk.vhdx", "link.vhdx")
        error = croft_error("create", "link.vhdx", "10M")
        self.assertIn("found a symbolic link", error["what"])
        croft("create", "real/disk.vhdx", "10M")
        for words, size in ((["create", "link.vhdx", "20M", "--replace"], 20 * MIB),
                            (["convert", "source.raw", "link.vhdx", "--replace"], 3 * MIB),
                            (["compact", "link.vhdx"], 3 * MIB)):
            inode = os.stat("real/disk.vhdx").st_ino
            croft(*words)
            self.assertEqual(os.readlink("link.vhdx"), "real/disk.vhdx")
            self.assertEqual(croft_json("info", "real/disk.vhdx")["chain"][0]["size"], size)
            self.assertNotEqual(os.stat("real/disk.vhdx").st_ino, inode)
            self.assertEqual(os.listdir("real"), ["disk.vhdx"])
        self.assert_same("source.raw", "link.vhdx")

    def test_what_is_no_file_is_not_replaced(self):
        self.source(3 * MIB)
        os.mkdir("folder.vhdx")
        os.mkfifo("pipe.vhdx")
        for name, said in (("folder.vhdx", "found a directory"), ("pipe.vhdx", "found something")):
            for words in (["create", name, "10M"], ["convert", "source.raw", name]):
                self.assertIn(said, croft_error(*words, "--replace")["what"])

    def test_larger_sectors(self):
        for size in (37 * MIB + 512, 8 * MIB + 4096 + 3584, 1536):
            source = self.source(size, 5)
            croft("convert", source, "large.vhdx", "--sector-size", "4096", "--replace")
            self.assertEqual(croft_json("info", "large.vhdx")["chain"][0]["size"],
                             (size + 4095) // 4096 * 4096)
            self.assertIn("identical", croft("compare", source, "large.vhdx"))
            self.assert_sound("large.vhdx")

    @unittest.skipUnless(os.access("/dev/fuse", os.W_OK), "a write of one sector takes /dev/fuse")
    def test_pieces_of_small_sectors_into_larger_ones(self):
        for kind in ("vhdx", "vhd"):
            croft("convert", self.source(4 * MIB + 512, 6), f"one.{kind}", "--replace")
            croft("create", f"two.{kind}", "-p", f"one.{kind}", "--replace")
            with open("source.raw", "r+b") as file, contextlib.ExitStack() as mounted:
                # Sectors here and there, so that pages mix the child's and its parent's.
                rng = random.Random(7)
                os.makedirs("m", exist_ok=True)
                croft("mount", f"two.{kind}", "m", "--raw", "-w")
                mounted.callback(croft, "umount", "m")
                with open("m/disk", "r+b", buffering=0) as disk:
                    for _ in range(200):
                        place = rng.randrange(4 * MIB // 512 + 1) * 512
                        data = rng.choice([bytes(512), rng.randbytes(512)])
                        for written in (file, disk):
                            written.seek(place)
                            written.write(data)
            croft("convert", f"two.{kind}", "large.vhdx", "--sector-size", "4096", "--replace")
            self.assertIn("identical", croft("compare", "source.raw", "large.vhdx"))
            # Into one that is there already, what is beyond the source stays.
            with open("full.raw", "wb") as file:
                file.write(b"x" * 5 * MIB)
            croft("convert", "full.raw", "large.vhdx", "--sector-size", "4096", "--replace")
            croft("convert", "-n", "-f", "vhdx", f"two.{kind}", "large.vhdx")
            with open("source.raw", "ab") as file:
                file.write(b"x" * (5 * MIB - file.tell()))
            self.assert_same("source.raw", "large.vhdx")

    def test_json_stays_json(self):
        croft("convert", self.source(10 * MIB, 4), "disk.vhdx", "--block-size", "1M")
        self.assertEqual(sum(piece["length"] for piece in croft_json("map", "disk.vhdx")), 10 * MIB)
        with open("disk.vhdx", "r+b") as file:
            file.seek(3 * MIB + 5 * 8)  # an entry of the table
            file.write(b"\xff" * 8)
        *pieces, last = croft_json("map", "disk.vhdx", expect=2)
        self.assertEqual(last["error"]["code"], "corrupt")
        self.assertEqual([piece["start"] for piece in pieces][0], 0)
        self.assertLessEqual(sum(piece["length"] for piece in pieces), 5 * MIB)
        self.assertIn("error", croft_json("map", "none.vhdx", expect=2))
        for words in (["info"], ["frobnicate"], ["create", "disk.vhdx", "10 apples"],
                      ["create", "disk.vhdx", "0"], ["info", "disk.vhdx", "--wrong"]):
            error = croft_error(*words, expect=64)
            self.assertEqual(error["code"], "usage")
            self.assertTrue(error["what"])

    def test_exit_codes(self):
        croft("frobnicate", expect=64)
        croft("create", "disk.vhdx", "10 apples", expect=64)
        croft("info", "none.vhdx", expect=2)
        self.source(3 * MIB, 1, "one.raw")
        self.source(3 * MIB, 2, "two.raw")
        croft("compare", "one.raw", "two.raw", expect=1)


class Facts(Tools):
    """What the tools say of disks whose every byte is known."""

    def chain_of_known_places(self, kind):
        """One MiB blocks where the format has a choice; answers what is where."""
        block = 1 * MIB if kind == "vhdx" else 2 * MIB
        with open("one.raw", "wb") as file:
            file.truncate(16 * MIB)
            for start, length in ((2 * MIB, 2 * MIB), (8 * MIB, 64 << 10), (14 * MIB, 2 * MIB)):
                file.seek(start)
                file.write(os.urandom(length))
        croft("convert", "one.raw", f"one.{kind}", "--block-size", block)
        croft("create", f"two.{kind}", "-p", f"one.{kind}", "--block-size", block)
        shutil.copy("one.raw", "two.raw")
        return block

    @staticmethod
    def runs_of(pieces):
        """What a map says of the disk. Blocks that are neighbours there need not be in the file."""
        runs = []
        for it in pieces:
            if runs and runs[-1][2:] == [it["data"], it["depth"]]:
                runs[-1][1] += it["length"]
            else:
                runs.append([it["start"], it["length"], it["data"], it["depth"]])
        return runs

    def test_the_map_of_a_chain(self):
        for kind in ("vhdx", "vhd"):
            with self.subTest(kind):
                self.chain_of_known_places(kind)
                pieces = croft_json("map", f"two.{kind}")
                self.assertEqual(
                    self.runs_of(pieces), [[0, 2 * MIB, False, 0], [2 * MIB, 2 * MIB, True, 1],
                           [4 * MIB, 4 * MIB, False, 0], [8 * MIB, 64 << 10, True, 1],
                           [8 * MIB + (64 << 10), 6 * MIB - (64 << 10), False, 0],
                           [14 * MIB, 2 * MIB, True, 1]])
                at = 0
                for it in pieces:  # each begins where the one before ends
                    self.assertEqual(it["start"], at)
                    self.assertEqual(it["zero"], not it["data"])
                    at += it["length"]
                self.assertEqual(at, 16 * MIB)
                with open(f"one.{kind}", "rb") as file, open("one.raw", "rb") as raw:
                    for it in pieces:
                        if it["data"]:
                            file.seek(it["offset"])
                            raw.seek(it["start"])
                            self.assertEqual(file.read(it["length"]), raw.read(it["length"]))
                parent = croft_json("info", f"two.{kind}")["chain"][1]["file"]
                lines = croft("map", f"two.{kind}").splitlines()
                self.assertEqual([line.split() for line in lines],
                                 [["offset", "length", "in", "file", "file"],
                                  *([str(it["start"]), str(it["length"]), str(it["offset"]), parent]
                                    for it in pieces if it["data"])])

    def test_a_child_s_own_pieces_come_first(self):
        for kind in ("vhdx", "vhd"):
            with self.subTest(kind):
                self.chain_of_known_places(kind)
                with open("two.raw", "r+b") as file:
                    file.seek(4 * MIB)
                    file.write(os.urandom(2 * MIB))
                croft("convert", "-n", "-f", kind, "two.raw", f"two.{kind}")
                self.assert_same("two.raw", f"two.{kind}")
                own = [it for it in self.runs_of(croft_json("map", f"two.{kind}"))
                       if it[2:] == [True, 0]]
                self.assertTrue(any(start <= 4 * MIB and start + length >= 6 * MIB
                                    for start, length, *_ in own), own)

    @needs("qemu-io")
    def test_fragments(self):
        croft("create", "disk.vhdx", "16M", "--block-size", "1M")
        # A fragment is a run of the disk's blocks that is one in the file, too.
        for order, fragments in (((1,), 1), ((2, 3), 1), ((9,), 1), ((7,), 3), ((8,), 3)):
            for number in order:
                run("qemu-io", "-f", "vhdx", "-c", f"write -P 7 {number}M 1M", "disk.vhdx")
            top = croft_json("info", "disk.vhdx")["chain"][0]
            self.assertEqual(top["fragments"], fragments, order)
        self.assertEqual(top["blocks_used"], 6)
        self.assertEqual(top["block_size"], MIB)
        self.assertIn("blocks       of 1 MiB, 6 in use, 3 fragments\n", croft("info", "disk.vhdx"))

    def test_info_as_text(self):
        croft("create", "one.vhdx", "40M")
        croft("create", "two.vhdx", "-p", "one.vhdx")
        one, two = reversed(croft_json("info", "two.vhdx")["chain"])

        def lines(image, indent):
            return [f"{indent}{name:12} {value}" for name, value in (
                ("format", f"vhdx, {image['allocation']}"),
                ("size", "40 MiB (41943040 bytes), sectors of 512 / 4096"),
                ("file", f"{image['file_size'] >> 20} MiB, takes "
                         f"{self.size_text(image['file_allocated'])}"),
                ("blocks", "of 2 MiB, 0 in use, 0 fragments"), ("identity", image["identity"]),
                ("creator", "Undercroft"), ("health", "good"))]

        self.assertEqual((one["allocation"], two["allocation"]), ("dynamic", "differencing"))
        self.assertEqual(croft("info", "two.vhdx").splitlines(),
                         [two["file"], *lines(two, "  "), "  └ " + one["file"],
                          *lines(one, "      ")])

    @staticmethod
    def size_text(size):
        for unit in ("B", "KiB", "MiB"):
            if size < 1024 or unit == "MiB":
                return f"{size:.0f} {unit}" if size == int(size) else f"{size:.1f} {unit}"
            size /= 1024

    def test_block_sizes_by_default(self):
        for size, kind, expected in (("2T", "vhdx", 2), ("2049G", "vhdx", 8), ("16T", "vhdx", 8),
                                     ("17T", "vhdx", 32), ("64T", "vhdx", 32), ("1G", "vhd", 2)):
            croft("create", f"disk.{kind}", size, "--replace")
            top = croft_json("info", f"disk.{kind}")["chain"][0]
            self.assertEqual(top["block_size"], expected * MIB, size)
        croft("create", "child.vhdx", "-p", "disk.vhdx")  # of the one of 64 TiB
        self.assertEqual(croft_json("info", "child.vhdx")["chain"][0]["block_size"], 2 * MIB)

    def test_the_largest_disks(self):
        for kind, largest in (("vhdx", 64 << 40), ("vhd", 2040 << 30)):
            croft("create", f"disk.{kind}", largest)
            self.assertEqual(croft_json("info", f"disk.{kind}")["chain"][0]["size"], largest)
            self.assertEqual(croft_json("map", f"disk.{kind}"),
                             [{"start": 0, "length": largest, "data": False, "zero": True,
                               "depth": 0}])
            self.assert_sound(f"disk.{kind}")
            self.assertIn("size: found",
                          croft_error("create", f"more.{kind}", largest + 512)["what"])
            self.assertFalse(os.path.exists(f"more.{kind}"))
            croft("resize", f"disk.{kind}", largest + 512, expect=2)
            croft("resize", f"disk.{kind}", "--shrink", largest - MIB)
            croft("resize", f"disk.{kind}", largest)
            self.assert_sound(f"disk.{kind}")

    def test_what_azure_turns_away(self):
        def reasons(name):
            found = croft_json("check", name, "--azure", expect=2)["azure"]
            text = croft("check", name, "--azure", expect=2)
            for reason in found:
                self.assertIn(f"azure: {reason}\n", text)
            return found

        croft("create", "good.vhd", "10M", "--fixed")
        self.assertEqual(croft_json("check", "good.vhd", "--azure")["azure"], [])
        croft("create", "a.vhdx", "10M", "--fixed")
        self.assertEqual(reasons("a.vhdx"), ["format: found vhdx, expected vhd"])
        croft("create", "b.vhd", "10M")
        self.assertEqual(reasons("b.vhd"), ["allocation: found dynamic, expected fixed"])
        croft("create", "c.vhd", 10 * MIB + 512, "--fixed")
        self.assertEqual(reasons("c.vhd"),
                         [f"size: found {10 * MIB + 512} bytes, expected a multiple of 1 MiB"])
        with open("d.raw", "wb") as file:
            file.truncate(2041 << 30)
        self.assertEqual(reasons("d.raw"), ["format: found raw, expected vhd",
                                            "size: found 2.0 TiB, expected at most 2040 GiB"])
        with open("good.vhd", "rb") as file:
            contents = file.read()
        with open("e.vhd", "wb") as file:
            file.write(contents[:-512] + bytes(512) + contents[-512:])
        self.assertEqual(reasons("e.vhd"), [f"file: found {10 * MIB + 1024} bytes, expected "
                                            f"{10 * MIB} and a footer of 512"])

    def test_looking_changes_nothing(self):
        self.source(10 * MIB)
        croft("convert", "source.raw", "disk.vhdx")
        croft("create", "child.vhdx", "-p", "disk.vhdx")
        croft("convert", "source.raw", "disk.vhd")
        if shutil.which("qemu-io"):  # its log is in use
            run("qemu-img", "create", "-f", "vhdx", "killed.vhdx", "64M")
            run("qemu-io", "-f", "vhdx", "-c", "write -P 7 0 1M", "-c", "flush", "-c", "sigraise 9",
                "killed.vhdx", expect=None)
        shutil.copy("disk.vhdx", "damaged.vhdx")
        with open("damaged.vhdx", "r+b") as file:
            file.seek(192 << 10)
            file.write(b"????")
        for name in sorted(os.listdir(".")):
            status = os.stat(name)
            before = checksum(name), status.st_size, status.st_mtime_ns
            for words in (["check"], ["check", "--azure"], ["info"], ["map"], ["mount"]):
                run(CROFT, "disk", *words, name, expect=None)
            croft("compare", name, name)
            status = os.stat(name)
            self.assertEqual((checksum(name), status.st_size, status.st_mtime_ns), before, name)

    def test_verdicts(self):
        """Statuses are those of qemu-img check."""
        with open("empty.raw", "wb") as file:
            file.truncate(24 * MIB)
        for kind in ("vhdx", "vhd"):
            disk = f"disk.{kind}"
            croft("convert", self.source(24 * MIB), disk)
            croft("check", disk)
            croft("repair", disk)
            # Blocks that are given up become holes, which cost nothing,
            size = os.path.getsize(disk)
            croft("convert", "-n", "-f", kind, "empty.raw", disk)
            found = croft_json("check", disk)
            self.assertIn("belong to nothing", found["findings"][0]["what"])
            self.assertEqual(os.path.getsize(disk), size)
            self.assertLess(os.stat(disk).st_blocks * 512, 6 * MIB)
            # but what takes room is told.
            with open(disk, "r+b") as file:
                file.seek(size // 2)
                file.write(os.urandom(5 * MIB))
            found = croft_json("check", disk, expect=3)
            self.assertEqual(found["health"], "good")
            self.assertGreaterEqual(found["leaked"], 5 * MIB)
            croft("compact", disk)
            croft("check", disk)
            self.assertLess(os.path.getsize(disk), size)
            croft("check", f"none.{kind}", expect=1)
            croft("repair", f"none.{kind}", expect=1)
            croft("info", f"none.{kind}", expect=2)
        croft("convert", "source.raw", "disk.vhdx", "--replace")
        with open("disk.vhdx", "r+b") as file:
            file.seek(192 << 10)
            file.write(b"????")
        croft("check", "disk.vhdx", expect=2)
        croft("repair", "disk.vhdx")
        with open("disk.vhdx", "r+b") as file:
            for header in (64 << 10, 128 << 10):
                file.seek(header)
                file.write(b"????")
        croft("check", "disk.vhdx", expect=2)

    def test_iso(self):
        with open("disc.iso", "wb") as file:
            file.write(contents(3 * MIB, 9))
            file.seek(32 << 10)
            file.write(b"\1CD001\1")
        before = checksum("disc.iso")
        top = croft_json("info", "disc.iso")["chain"][0]
        self.assertEqual((top["format"], top["size"], top["logical_sector_size"]),
                         ("iso", 3 * MIB, 2048))
        for kind in ("vhdx", "vhd", "raw"):
            for options in ([], ["--sector-size", "4096"]) if kind == "vhdx" else ([],):
                croft("convert", "disc.iso", f"copy.{kind}", "-f", kind, "--replace", *options)
                croft("compare", "-s", "disc.iso", f"copy.{kind}")
        self.assertEqual(checksum("copy.raw", 3 * MIB), before)
        for words in (["resize", "disc.iso", "5M"], ["compact", "disc.iso"],
                      ["resize", "disc.iso", "--shrink", "1M"], ["repair", "disc.iso"],
                      ["convert", "-n", "copy.vhdx", "disc.iso"],
                      ["convert", "copy.vhdx", "disc.iso", "--replace"],
                      ["create", "disc.iso", "3M", "--replace"], ["create", "new.iso", "3M"]):
            with self.subTest(words):
                run(CROFT, "disk", *words, expect=1 if words[0] == "repair" else 2)
        self.assertEqual(checksum("disc.iso"), before)
        self.assertFalse(os.path.exists("new.iso"))

    def test_progress_is_for_terminals(self):
        self.source(24 * MIB)
        for options, shown in (([], True), (["--quiet"], False), (["--json"], False)):
            master, slave = pty.openpty()
            process = subprocess.Popen([CROFT, "disk", "convert", "source.raw", "disk.vhdx",
                                        "--replace", *options], stdout=subprocess.DEVNULL,
                                       stderr=slave)
            os.close(slave)
            said = b""
            with contextlib.suppress(OSError):  # the other end is closed
                while piece := os.read(master, 4096):
                    said += piece
            os.close(master)
            self.assertEqual(process.wait(60), 0)
            line = rb"\r\x1b\[K *[0-9.]+ %  [0-9.]+ [KM]?i?B of 24 MiB  [0-9.]+ [KMG]iB/s"
            self.assertEqual(bool(re.search(line, said)), shown, said)
            self.assertTrue(said.endswith(b"\r\x1b[K") or not shown, said)  # nothing is left of it
        self.assertEqual(run(CROFT, "disk", "convert", "source.raw", "disk.vhdx",
                             "--replace").stderr, "")


class Parents(Tools):
    def test_by_the_absolute_path(self):
        for kind in ("vhdx", "vhd"):
            source = self.source(5 * MIB)
            os.makedirs("parents", exist_ok=True)
            os.makedirs("elsewhere/deep", exist_ok=True)
            croft("convert", source, f"parents/one.{kind}")
            croft("create", f"two.{kind}", "-p", f"parents/one.{kind}")
            os.rename(f"two.{kind}", f"elsewhere/deep/two.{kind}")
            self.assert_same(source, f"elsewhere/deep/two.{kind}")
            chain = croft_json("info", f"elsewhere/deep/two.{kind}")["chain"]
            self.assertEqual(chain[1]["file"], os.path.abspath(f"parents/one.{kind}"))

    def test_by_the_relative_path(self):
        for kind in ("vhdx", "vhd"):
            source = self.source(5 * MIB)
            os.makedirs("all/parents")
            croft("convert", source, f"all/parents/one.{kind}")
            croft("create", f"all/two.{kind}", "-p", f"all/parents/one.{kind}")
            os.rename("all", "moved")
            self.assert_same(source, f"moved/two.{kind}")
            shutil.rmtree("moved")

    def test_a_deep_chain(self):
        depths = 20 if SANITIZED else 50
        for kind in ("vhdx", "vhd"):
            croft("convert", self.source(3 * MIB), f"0.{kind}")
            for depth in range(1, depths + 1):
                croft("create", f"{depth}.{kind}", "-p", f"{depth - 1}.{kind}")
                if depth % (depths * 2 // 5) == 0:
                    self.source(3 * MIB, depth)
                    croft("convert", "-n", "-f", kind, "source.raw", f"{depth}.{kind}")
            chain = croft_json("info", f"{depths}.{kind}")["chain"]
            self.assertEqual([os.path.basename(image["file"]) for image in chain],
                             [f"{depth}.{kind}" for depth in range(depths, -1, -1)])
            self.assert_same("source.raw", f"{depths}.{kind}")
            for depth in range(depths, 0, -1):
                croft("merge", f"{depth}.{kind}", "--remove")
            self.assert_same("source.raw", f"0.{kind}")
            self.assert_sound(f"0.{kind}")

    def test_sectors_of_4096_bytes(self):
        names = ["one.vhdx", "two.vhdx", "three.vhdx"]
        croft("convert", self.source(9 * MIB, 1, "one.raw"), "one.vhdx", "--sector-size", "4096")
        for number, name in ((1, "two"), (2, "three")):
            croft("create", f"{name}.vhdx", "-p", names[number - 1])
            # Much of it is the same as before, so that blocks are mixed of all three.
            shutil.copy(f"{names[number - 1][:-5]}.raw", f"{name}.raw")
            rng = random.Random(number)
            with open(f"{name}.raw", "r+b") as file:
                for _ in range(60):
                    file.seek(rng.randrange(9 * MIB // 4096) * 4096)
                    file.write(rng.choice([bytes(4096), rng.randbytes(4096)]))
            self.write_differences(f"{name}.raw", f"{names[number - 1][:-5]}.raw", f"{name}.vhdx")
        self.assertEqual([image["logical_sector_size"]
                          for image in croft_json("info", "three.vhdx")["chain"]], [4096] * 3)
        for name in ("one", "two", "three"):
            self.assert_same(f"{name}.raw", f"{name}.vhdx")
            croft("compact", f"{name}.vhdx")
            self.assert_same(f"{name}.raw", f"{name}.vhdx")
        croft("create", "side.vhdx", "-p", "two.vhdx")
        croft("rebase", "side.vhdx", "one.vhdx")
        self.assert_same("two.raw", "side.vhdx")
        croft("convert", "three.vhdx", "small.vhdx")  # sectors of 512 again
        self.assert_same("three.raw", "small.vhdx")
        croft("merge", "three.vhdx", "--remove")
        self.assert_same("three.raw", "two.vhdx")
        croft("resize", "two.vhdx", "20M")
        croft("merge", "two.vhdx", "--remove")
        croft("compare", "three.raw", "one.vhdx")
        self.assert_sound("one.vhdx")

    def write_differences(self, now, before, disk):
        os.makedirs("m", exist_ok=True)
        with open(now, "rb") as new, open(before, "rb") as old, contextlib.ExitStack() as mounted:
            if not os.access("/dev/fuse", os.W_OK):  # all of it, then
                croft("convert", "-n", "-f", "vhdx", now, disk)
                return
            croft("mount", disk, "m", "--raw", "-w")
            mounted.callback(croft, "umount", "m")
            with open("m/disk", "r+b", buffering=0) as file:
                while sector := new.read(4096):
                    if sector != old.read(4096):
                        file.seek(new.tell() - 4096)
                        file.write(sector)

    def test_parents_with_other_sectors(self):
        for name, size in (("small", 512), ("large", 4096)):
            croft("create", f"{name}.vhdx", "8M", "--sector-size", size)
            croft("create", f"of_{name}.vhdx", "-p", f"{name}.vhdx")
        for words in (["--sector-size", "512"], ["--physical-sector-size", "512"], ["--fixed"],
                      ["--azure"]):
            croft("create", "new.vhdx", "-p", "large.vhdx", *words, expect=64)
        for child, parent in (("small", "large"), ("large", "small")):
            for option in ([], ["-u"]):
                error = croft_error("rebase", *option, f"of_{child}.vhdx", f"{parent}.vhdx")
                self.assertIn("sector size", error["what"])
        # As if somebody had exchanged the parents, identities and all.
        self.replace_text("of_small.vhdx", self.identity("small.vhdx"), self.identity("large.vhdx"))
        os.replace("large.vhdx", "small.vhdx")
        error = croft_error("info", "of_small.vhdx")
        self.assertEqual(error["code"], "unsupported")
        self.assertIn("logical sector size: found 4096, expected the child's 512", error["what"])

    def identity(self, name):
        return croft_json("info", name)["chain"][0]["identity"]

    def replace_text(self, name, old, new):
        with open(name, "r+b") as file:
            changed = file.read().replace(old.encode("utf-16-le"), new.encode("utf-16-le"))
            file.seek(0)
            file.write(changed)

    def test_a_loop(self):
        for kind in ("vhdx", "vhd"):
            with self.subTest(kind):
                for folder in ("first", "second", "loop"):
                    shutil.rmtree(folder, ignore_errors=True)
                    os.mkdir(folder)
                names = [f"first/{name}.{kind}" for name in ("base", "a", "b")]
                croft("create", names[0], "5M")
                for name in names[1:]:
                    croft("create", name, "-p", names[0])
                for name in names:
                    shutil.copy(name, "second")
                # Each is made the other's child, where the other is still the base's.
                croft("rebase", "-u", f"first/a.{kind}", f"first/b.{kind}")
                croft("rebase", "-u", f"second/b.{kind}", f"second/a.{kind}")
                # Rebasing has given them other identities, which have to fit as well.
                is_now = {name: self.identity(f"{name}.{kind}")
                          for name in ("first/a", "first/b", "second/a", "second/b")}
                self.replace_text(f"first/a.{kind}", is_now["first/b"], is_now["second/b"])
                self.replace_text(f"second/b.{kind}", is_now["second/a"], is_now["first/a"])
                os.rename(f"first/a.{kind}", f"loop/a.{kind}")
                os.rename(f"second/b.{kind}", f"loop/b.{kind}")
                shutil.rmtree("first")
                shutil.rmtree("second")
                for name in ("a", "b"):
                    error = croft_error("info", f"loop/{name}.{kind}")
                    self.assertEqual(error["code"], "corrupt")
                    self.assertIn("comes back to an image that is in it", error["what"])


class UntrustedRaw(Case):
    """A raw disk in which a guest has written a child of a file that it should not see."""

    def setUp(self):
        super().setUp()
        with open("secret.raw", "wb") as file:
            file.write(b"secret" * MIB)
        croft("convert", "secret.raw", "secret.vhdx")
        croft("create", "guest.vhdx", "-p", "secret.vhdx")
        os.rename("guest.vhdx", "guest.img")
        self.size = os.path.getsize("guest.img")
        shutil.copy("guest.img", "copy.img")

    def test_commands_believe_what_they_are_told(self):
        self.assertEqual(len(croft_json("info", "guest.img")["chain"]), 2)
        for word in ("-f", "--format"):
            chain = croft_json("info", "guest.img", word, "raw")["chain"]
            self.assertEqual([(it["format"], it["size"]) for it in chain], [("raw", self.size)])
        pieces = croft_json("map", "guest.img", "-f", "raw")
        self.assertEqual(sum(piece["length"] for piece in pieces), self.size)
        self.assertEqual({piece["depth"] for piece in pieces}, {0})
        self.assertEqual(croft_json("check", "guest.img", "-f", "raw")["blocks_used"], 0)
        croft("repair", "guest.img", "-f", "raw")
        self.assert_same_file("guest.img", "copy.img")
        croft("compare", "-s", "guest.img", "-f", "raw", "-F", "raw", "copy.img")
        croft("compare", "-s", "guest.img", "-f", "raw", "copy.img", expect=1)
        croft("compare", "-s", "guest.img", "copy.img", "-F", "raw", expect=1)
        croft("convert", "guest.img", "-F", "raw", "out.raw")
        self.assert_same_file("out.raw", "copy.img")
        for words in (["merge", "guest.img"], ["rebase", "guest.img", "secret.vhdx"],
                      ["compact", "guest.img"]):
            croft(*words, "-f", "raw", expect=2)
        self.assert_same_file("guest.img", "copy.img")
        croft("resize", "guest.img", "-f", "raw", "--shrink", self.size - 512)
        self.assertEqual(os.path.getsize("guest.img"), self.size - 512)
        shown = croft_json("mount", "copy.img", "-f", "raw")
        self.assertEqual(shown["size"], self.size)

    @unittest.skipUnless(os.geteuid() == 0 and os.access("/dev/fuse", os.W_OK), "takes /dev/fuse")
    def test_mounting_believes_what_it_is_told(self):
        os.mkdir("m")
        croft("mount", "-f", "raw", "--raw", "guest.img", "m")
        try:
            self.assert_same_file("m/disk", "copy.img")
        finally:
            croft("umount", "m")
        error = croft_error("cp", "-f", "raw", "guest.img:/x", ".")
        self.assertIn("found these file systems: none", error["what"])

    def assert_same_file(self, first, second):
        self.assertTrue(filecmp.cmp(first, second, shallow=False), f"{first} and {second} differ")


class Completion(unittest.TestCase):
    SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../cli/croft.bash")

    def offered(self, *words):
        done = subprocess.run(
            ["bash", "-c", 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _croft; '
             'printf "%s\\n" "${COMPREPLY[@]}"', self.SCRIPT, *words],
            capture_output=True, text=True, check=True, timeout=60)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def sub_commands(self):
        return [line.split()[0]
                for line in croft("--help").split("Subcommands:")[1].strip().splitlines()]

    def test_sub_commands(self):
        self.assertEqual(self.offered("croft", ""), ["disk", "host", "vm", "-h", "--help"])
        offered = self.offered("croft", "disk", "")
        self.assertEqual(sorted(offered), sorted([*self.sub_commands(), "-h", "--help"]))
        self.assertEqual(self.offered("croft", "disk", "com"), ["compact", "compare"])

    def test_every_option_is_offered(self):
        for command in self.sub_commands():
            with self.subTest(command):
                listed = croft(command, "--help").split("Options:")[1]
                options = {word for line in listed.splitlines() if line.startswith("  -")
                           for word in line[2:].split("  ")[0].split(" ")[0].split(",")}
                self.assertEqual(set(self.offered("croft", "disk", command, "-")), options)

    def test_values(self):
        for option in ("-f", "--format", "-F", "--source-format"):
            self.assertEqual(self.offered("croft", "disk", "convert", option, ""),
                             ["raw", "vhd", "vhdx", "iso"])
        self.assertEqual(self.offered("croft", "disk", "create", "--sector-size", "5"), ["512"])
        self.assertIn("/etc/passwd", self.offered("croft", "disk", "info", "/etc/passw"))


class Manual(Case):
    def test_examples_run(self):
        examples = manual_examples()
        self.assertGreater(len(examples), 5)
        for words in examples:
            self.assertEqual(words[:2], ["croft", "disk"])
            if words[2] not in ("mount", "umount", "cp"):  # mount_test.py runs those
                croft(*words[2:])

    def test_every_sub_command_is_described(self):
        with open(MANUAL, encoding="utf-8") as file:
            page = file.read()
        listing = croft("--help").split("Subcommands:")[1]
        for line in listing.strip().splitlines():
            self.assertIn(f".SS {line.split()[0]}", page)


if __name__ == "__main__":
    unittest.main()
