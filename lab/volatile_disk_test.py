# SPDX-License-Identifier: Apache-2.0
"""A disk with a cache, with qemu-io as its machine."""

import pathlib
import subprocess
import tempfile
import unittest

from lab.volatile_disk import VolatileDisk

SIZE = 64 << 10


class VolatileDiskTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.image = pathlib.Path(folder.name) / "image"
        self.image.write_bytes(b"\xAA" * SIZE)

    def _run(self, *commands, cut=False):
        """qemu-io's commands; `cut` kills it after them, as it flushes when it ends."""
        with VolatileDisk(self.image) as disk:
            options = dict(option.split("=", 1) for option in disk.drive.split(","))
            arguments = [word for command in commands for word in ("-c", command)]
            if cut:
                arguments += ["-c", "sigraise 9"]
            ended = subprocess.run(
                ["qemu-io", "-f", options["format"], "-t", options["cache"], *arguments,
                 options["file"]], capture_output=True, text=True, timeout=60)
        self.assertEqual(ended.returncode, -9 if cut else 0, ended.stdout + ended.stderr)
        self.assertNotIn("Pattern verification failed", ended.stdout)
        return disk

    def test_what_was_not_flushed_is_gone(self):
        disk = self._run("write -P 1 0 4k", "flush", "write -P 2 4k 8k", cut=True)
        self.assertEqual(self.image.read_bytes(), b"\x01" * 4096 + b"\xAA" * (SIZE - 4096))
        self.assertEqual((disk.flushes, disk.lost), (1, 2))

    def test_the_cache_is_read(self):
        self._run("write -P 1 0 4k", "read -P 1 0 4k", "read -P 0xAA 4k 4k", cut=True)

    def test_forced_writes_are_there(self):
        self._run("write -f -P 3 8k 4k", "write -P 4 0 4k", cut=True)
        self.assertEqual(self.image.read_bytes()[8192:12288], b"\x03" * 4096)

    def test_parts_of_blocks(self):
        self._run("write -P 1 512 512", "write -P 2 3584 1024", "write -P 3 8192 512", "flush")
        found = self.image.read_bytes()
        expected = bytearray(b"\xAA" * SIZE)
        expected[512:1024] = b"\x01" * 512
        expected[3584:4608] = b"\x02" * 1024
        expected[8192:8704] = b"\x03" * 512
        self.assertEqual(found, bytes(expected))

    def test_an_orderly_end_flushes(self):
        disk = self._run("write -P 5 60k 4k")
        self.assertEqual(self.image.read_bytes()[-4096:], b"\x05" * 4096)
        self.assertEqual(disk.lost, 0)


if __name__ == "__main__":
    unittest.main()
