#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each operation is stopped, by SIGINT and by SIGKILL, at its calls that change files: the first,
the last, and some in between. What is left is the old state or the new one, is sound, and the same
command brings about the new one. strace finds the calls, and sends the signals in the right moment.

Usage: interruption_test.py CROFT [unittest options]
"""

import os
import random
import shutil
import signal
import subprocess
import unittest

from command import CROFT, MIB, Case, croft, croft_json, needs, run

# The C library turns a renameat2() without flags into renameat().
CALLS = "pwrite64,ftruncate,fallocate,fdatasync,fsync,renameat,renameat2,unlink"
POINTS = 9
SIZE = 12 * MIB


def fill(name, seed, size=SIZE, pieces=30):
    rng = random.Random(seed)
    with open(name, "wb") as file:
        file.truncate(size)
        for _ in range(pieces):
            length = rng.randrange(1, 200) * 512
            file.seek(rng.randrange((size - length) // 512) * 512)
            file.write(rng.randbytes(length))
    return name


@needs("strace")
class Interruption(Case):
    KINDS = ("vhdx", "vhd")

    def traced(self, words, *options):
        # SIGINT is what this process's parent may have chosen to ignore.
        return subprocess.run(
            ["strace", "-f", "-qq", "-o", "calls", "-e", f"trace={CALLS}", *options,
             CROFT, "disk", *words], capture_output=True, text=True, timeout=120,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def interrupt(self, kind, words, look):
        """look() answers "old" or "new" of a folder that the command was stopped in."""
        os.mkdir("before")
        for name in os.listdir("."):
            if os.path.isfile(name):
                shutil.move(name, "before")
        self.enter("counting")
        done = self.traced(words)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(look(), "new")
        with open("calls", encoding="utf-8") as file:
            calls = sum("(" in line for line in file)
        self.assertGreater(calls, 3)
        seen = set()
        for number in sorted({1 + (calls - 1) * point // (POINTS - 1) for point in range(POINTS)}):
            for name in ("SIGINT", "SIGKILL"):
                with self.subTest(kind=kind, words=words, call=f"{number} of {calls}", signal=name):
                    self.enter(f"{name}{number}")
                    done = self.traced(words, "-e", f"inject={CALLS}:signal={name}:when={number}")
                    if name == "SIGINT":
                        self.assertIn(done.returncode, (0, 130), done.stderr)
                        self.assertEqual(self.drafts(), [])
                    state = look()
                    self.assertIn(state, ("old", "new"))
                    if done.returncode == 0:
                        self.assertEqual(state, "new")
                    seen.add(state)
                    if state == "old":
                        for draft in self.drafts():
                            os.unlink(draft)
                        croft(*words)
                        self.assertEqual(look(), "new")
        self.assertIn("old", seen)  # or the points are not where they should be

    def drafts(self):
        return [name for name in os.listdir(".") if ".croft-" in name]

    def enter(self, name):
        os.chdir(self.folder)
        shutil.copytree("before", name)
        os.chdir(name)

    def each_kind(self):
        for kind in self.KINDS:
            os.chdir(self.folder)
            for name in os.listdir("."):
                if os.path.isdir(name):
                    shutil.rmtree(name)
                else:
                    os.unlink(name)
            yield kind

    def family(self, kind):
        """A child and its parent, and what they show."""
        croft("convert", fill("one.raw", 1), f"one.{kind}")
        croft("create", f"two.{kind}", "-p", f"one.{kind}")
        croft("convert", "-n", "-f", kind, fill("two.raw", 2), f"two.{kind}")

    def test_compact(self):
        for kind in self.each_kind():
            disk = f"disk.{kind}"
            croft("convert", fill("full.raw", 1, pieces=200), disk)
            croft("convert", "-n", "-f", kind, fill("left.raw", 2, pieces=3), disk)
            size = os.path.getsize(disk)
            identity = croft_json("info", disk)["chain"][0]["identity"]

            def look(disk=disk, size=size, identity=identity):
                self.assert_same("left.raw", disk)
                self.assert_sound(disk)
                self.assertEqual(croft_json("info", disk)["chain"][0]["identity"], identity)
                return "new" if os.path.getsize(disk) < size else "old"

            self.interrupt(kind, ["compact", disk], look)

    def test_create_over_an_old_one(self):
        for kind in self.each_kind():
            disk = f"disk.{kind}"
            croft("convert", fill("old.raw", 1), disk)
            with open("new.raw", "wb") as file:
                file.truncate(20 * MIB)

            def look(disk=disk):
                self.assert_sound(disk)
                new = croft_json("info", disk)["chain"][0]["size"] == 20 * MIB
                self.assert_same("new.raw" if new else "old.raw", disk)
                return "new" if new else "old"

            self.interrupt(kind, ["create", disk, "20M", "--replace", "--fixed"], look)

    def test_convert_over_an_old_one(self):
        for kind in self.each_kind():
            disk = f"disk.{kind}"
            croft("convert", fill("old.raw", 1), disk)
            fill("new.raw", 2, 14 * MIB)

            def look(disk=disk):
                self.assert_sound(disk)
                new = croft_json("info", disk)["chain"][0]["size"] == 14 * MIB
                self.assert_same("new.raw" if new else "old.raw", disk)
                return "new" if new else "old"

            self.interrupt(kind, ["convert", "-j1", "new.raw", disk, "--replace"], look)

    def test_resize(self):
        for larger in (True, False):
            for kind in self.each_kind():
                disk = f"disk.{kind}"
                croft("convert", fill("old.raw", 1), disk, "--block-size", "1M")
                shutil.copy("old.raw", "new.raw")
                # Far enough that the table has to move.
                size = (600 << 30) if larger else 5 * MIB
                if not larger:
                    os.truncate("new.raw", size)

                def look(disk=disk, size=size, larger=larger):
                    self.assert_sound(disk)
                    now = croft_json("info", disk)["chain"][0]["size"]
                    self.assertIn(now, (SIZE, size))
                    if larger:
                        croft("compare", "old.raw", disk)
                    else:
                        # What is beyond the new end may be gone before the end is the new one.
                        run("cmp", "-n", 5 * MIB, "old.raw", self.raw(disk))
                    return "new" if now == size else "old"

                self.interrupt(kind, ["resize", disk, str(size), "--shrink"], look)

    def raw(self, disk):
        croft("convert", disk, "contents.raw", "--replace")
        return "contents.raw"

    def test_rebase(self):
        for kind in self.each_kind():
            self.family(kind)
            croft("convert", fill("other.raw", 3), f"other.{kind}")

            def look(kind=kind):
                self.assert_sound(f"two.{kind}", f"one.{kind}", f"other.{kind}")
                self.assert_same("two.raw", f"two.{kind}")
                self.assert_same("one.raw", f"one.{kind}")
                self.assert_same("other.raw", f"other.{kind}")
                parent = croft_json("info", f"two.{kind}")["chain"][1]["file"]
                return "new" if "other" in parent else "old"

            self.interrupt(kind, ["rebase", f"two.{kind}", f"other.{kind}"], look)

    def test_merge(self):
        for kind in self.each_kind():
            self.family(kind)

            def look(kind=kind):
                self.assert_sound(f"one.{kind}")
                if not os.path.exists(f"two.{kind}"):
                    self.assert_same("two.raw", f"one.{kind}")
                    return "new"
                self.assert_sound(f"two.{kind}")
                self.assert_same("two.raw", f"two.{kind}")
                return "old"

            self.interrupt(kind, ["merge", f"two.{kind}", "--remove"], look)

    def test_what_takes_a_name_is_durable(self):
        """A power cut may take any call back that no flush came after, and keep the new name."""
        for kind in self.each_kind():
            croft("convert", fill("new.raw", 1, pieces=200), f"disk.{kind}")
            for words in (["compact", f"disk.{kind}"],
                          ["create", f"disk.{kind}", "20M", "--replace"],
                          ["convert", "-j1", "new.raw", f"disk.{kind}", "--replace"]):
                with self.subTest(words):
                    done = self.traced(words, "-y")
                    self.assertEqual(done.returncode, 0, done.stderr)
                    with open("calls", encoding="utf-8") as file:
                        lines = file.read().splitlines()
                    name = next(number for number, line in enumerate(lines) if "renameat" in line)
                    before = [line.split(maxsplit=1)[1].split("(")[0] for line in lines[:name]
                              if f"disk.{kind}.croft-" in line]
                    self.assertIn("pwrite64", before)
                    self.assertIn(before[-1], ("fdatasync", "fsync"))


if __name__ == "__main__":
    unittest.main()
