#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the sub-commands of `croft disk` tell of disks and chains, and where they look for parents.

Usage: facts_test.py CROFT [unittest options]
"""

import contextlib
import os
import pty
import random
import re
import shutil
import subprocess
import unittest

from command import CROFT, MIB, SANITIZED, checksum, croft, croft_error, croft_json, needs, run
from sources import Tools, contents


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


if __name__ == "__main__":
    unittest.main()
