#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our disks as others see them: libvhdi (vhdiinfo, vhdimount), the kernel's loop devices, and every
way from one format of qemu-img's to one of ours. Contents are compared by checksum.

Usage: peers_test.py CROFT [unittest options]
"""

import contextlib
import itertools
import os
import random
import re
import shutil
import stat
import unittest

from command import CROFT, MIB, Case, checksum, croft, no_loop_devices, run

# Less than a block, not whole MiB, not whole blocks, and more than one page of a VHD's table.
SIZES = [MIB, 3 * MIB + 512, 37 * MIB + 4096, 300 * MIB]
OURS = [("vhdx", ["--block-size", "1M"]), ("vhdx", []), ("vhdx", ["--block-size", "32M"]),
        ("vhdx", ["--fixed"]), ("vhd", []), ("vhd", ["--fixed"]), ("raw", [])]
THEIRS = [("vhdx", "subformat=dynamic"), ("vhdx", "subformat=dynamic,block_size=8M,log_size=2M"),
          ("vhdx", "subformat=fixed"), ("vpc", "subformat=dynamic,force_size=on"),
          ("vpc", "subformat=fixed,force_size=on"), ("raw", "preallocation=off")]


def libvhdi():
    if not shutil.which("vhdimount"):
        return "libvhdi-utils is not installed"
    if not os.path.exists("/dev/fuse") or not shutil.which("fusermount"):
        return "this machine has no FUSE"
    return None


class Peers(Case):
    def source(self, size, seed, name="source.raw"):
        """A sparse raw disk of some random pieces, at both ends too; answers its checksum."""
        rng = random.Random(seed)
        with open(name, "wb") as file:
            file.truncate(size)
            for place in [0, size - 512, *(rng.randrange(size // 512) * 512 for _ in range(40))]:
                file.seek(place)
                file.write(rng.randbytes(min(rng.randrange(1, 400) * 512, size - place)))
        return checksum(name, size)

    def ours(self, size):
        for number, (kind, options) in enumerate(OURS):
            name = f"ours{number}.{kind}"
            croft("convert", "-q", "source.raw", name, "-f", kind, "--replace", *options)
            with self.subTest(size=size, kind=kind, options=options):
                yield kind, name

    @contextlib.contextmanager
    def loop(self, path, size, writable=False):
        device = run("losetup", "--find", "--show", "--sizelimit", size,
                     *([] if writable else ["--read-only"]), path).stdout.strip()
        try:
            yield device
        finally:
            run("losetup", "--detach", device)


@unittest.skipIf(libvhdi(), libvhdi())
class Libvhdi(Peers):
    def media(self, name, which, size):
        os.makedirs("mounted", exist_ok=True)
        run("vhdimount", name, "mounted")
        try:
            return checksum(f"mounted/vhdi{which}", size)
        finally:
            run("fusermount", "-u", "mounted")

    def test_reads_what_we_write(self):
        for size in SIZES:
            expected = self.source(size, size)
            for kind, name in self.ours(size):
                if kind == "raw":
                    continue
                told = run("vhdiinfo", name).stdout
                self.assertEqual(re.search(r"\((\d+) bytes\)", told)[1], str(size))
                self.assertEqual(self.media(name, 1, size), expected)

    def test_reads_our_chains(self):
        size = 24 * MIB
        for kind in ("vhdx", "vhd"):
            with self.subTest(kind=kind):
                expected = [self.source(size, 1, "0.raw")]
                croft("convert", "-q", "0.raw", f"0.{kind}")
                for depth in (1, 2):
                    expected.append(self.source(size, depth + 1, f"{depth}.raw"))
                    croft("create", "-q", f"{depth}.{kind}", "-p", f"{depth - 1}.{kind}")
                    croft("convert", "-q", "-n", f"{depth}.raw", f"{depth}.{kind}", "-f", kind)
                for depth in (1, 2):
                    told = run("vhdiinfo", f"{depth}.{kind}").stdout
                    self.assertIn("Differential", told)
                    self.assertIn(f"{depth - 1}.{kind}", told)
                    self.assertEqual(self.media(f"{depth}.{kind}", depth + 1, size),
                                     expected[depth])


@unittest.skipIf(no_loop_devices(), no_loop_devices())
class LoopDevices(Peers):
    """A fixed VHD and a raw disk are, for the kernel, what is before the footer."""

    def test_the_kernel_reads_what_we_write(self):
        for size in SIZES:
            expected = self.source(size, size)
            for name, options in (("fixed.vhd", ["--fixed"]), ("flat.raw", [])):
                with self.subTest(size=size, name=name):
                    croft("convert", "-q", "source.raw", name, "--replace", *options)
                    with self.loop(name, size) as device:
                        self.assertEqual(checksum(device, size), expected)

    def test_we_read_what_the_kernel_writes(self):
        size = 20 * MIB
        for name, options in (("fixed.vhd", ["--fixed"]), ("flat.raw", [])):
            with self.subTest(name=name):
                croft("create", "-q", name, size, *options)
                expected = self.source(size, 7)
                with self.loop(name, size, writable=True) as device:
                    run("dd", "if=source.raw", f"of={device}", "bs=1M", "conv=fsync")
                croft("check", name)
                croft("convert", "-q", name, "back.raw", "--replace")
                self.assertEqual(checksum("back.raw", size), expected)

    def test_every_format_to_a_device_and_from_it(self):
        size = 24 * MIB
        expected = self.source(size, 9)
        for kind, options in OURS:
            if kind == "vhd":
                continue  # its footer has no place there
            with self.subTest(kind=kind, options=options):
                with open("device.img", "wb") as file:
                    file.write(b"\xa5" * (96 * MIB))  # what a device held before
                room = size if kind == "raw" else 96 * MIB
                with self.loop("device.img", room, writable=True) as device:
                    if kind != "raw":  # a raw disk is its device
                        croft("create", "-q", "-f", kind, "--replace", device, size, *options)
                    croft("convert", "-q", "-n", "-f", kind, "source.raw", device)
                    croft("check", device)
                    croft("convert", "-q", device, "back.raw", "--replace", "--source-format",
                          kind)
                    self.assertEqual(checksum("back.raw", size), expected)

    def test_a_device_stays_one(self):
        size = 24 * MIB
        expected = self.source(size, 9)
        with open("device.img", "wb") as file:
            file.write(b"\xa5" * (32 * MIB))
        for kind in ("vhdx", "raw"):
            with self.loop("device.img", 32 * MIB, writable=True) as device:
                os.symlink(device, "link")
                for name in (device, "link"):
                    done = run(CROFT, "disk", "convert", "-f", kind, "source.raw", name, expect=2)
                    self.assertIn("found a block device, expected nothing", done.stderr)
                    croft("convert", "-q", "-f", kind, "source.raw", name, "--replace")
                    self.assertTrue(stat.S_ISBLK(os.stat(device).st_mode))
                self.assertEqual(os.readlink("link"), device)
                os.unlink("link")
                croft("convert", "-q", device, "back.raw", "--replace", "--source-format", kind)
                self.assertEqual(checksum("back.raw", size), expected)
                done = run(CROFT, "disk", "compact", device, expect=2)
                self.assertIn("block device" if kind == "vhdx" else "", done.stderr)
                self.assertTrue(stat.S_ISBLK(os.stat(device).st_mode))

    def test_a_vhd_on_a_device_is_refused(self):
        self.source(24 * MIB, 9)
        with self.loop("source.raw", 24 * MIB, writable=True) as device:
            done = run(CROFT, "disk", "create", "-f", "vhd", "--replace", device, "20M", expect=2)
            self.assertIn("footer", done.stderr)


@unittest.skipUnless(shutil.which("qemu-img"), "qemu-img is not installed")
class EveryWay(Peers):
    """From each sub-format of qemu-img's to each of ours, and back."""
    QEMU = {"vhdx": "vhdx", "vhd": "vpc", "raw": "raw"}

    def test_there_and_back(self):
        for size, (kind, options) in itertools.product(SIZES[1:3], THEIRS):
            expected = self.source(size, size)
            run("qemu-img", "convert", "-f", "raw", "-O", kind, "-o", options, "source.raw",
                "theirs")
            for number, (our_kind, our_options) in enumerate(OURS):
                with self.subTest(size=size, theirs=options, ours=our_kind, options=our_options):
                    ours = f"ours{number}"
                    croft("convert", "-q", "theirs", ours, "-f", our_kind, "--replace",
                          "--source-format", kind, *our_options)
                    run("qemu-img", "convert", "-f", self.QEMU[our_kind], "-O", "raw", ours,
                        "back.raw")
                    self.assertEqual(checksum("back.raw", size), expected)


if __name__ == "__main__":
    unittest.main()
