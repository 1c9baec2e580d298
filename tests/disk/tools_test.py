#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The sub-commands of `croft disk`, and their files against qemu-img, both ways.

Usage: tools_test.py CROFT [unittest options]
"""

import contextlib
import fcntl
import os
import random
import signal
import subprocess
import time
import unittest

from command import (CROFT, MIB, SANITIZED, checksum, croft, croft_error, croft_json, needs,
                     no_loop_devices, run)
from sources import Tools

SIZES = [3 * MIB, 37 * MIB, 37 * MIB + 512, 8 * MIB - 4096 - 512]


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


if __name__ == "__main__":
    unittest.main()
