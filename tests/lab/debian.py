# SPDX-License-Identifier: Apache-2.0
"""What tests of a stock Debian have in common."""

import contextlib
import subprocess
import time
import unittest

from lab import Host
from lab.guest import DebianGuest, parent_disk
from lab.host import build_directory

FIO = ("fio --name=job --directory=/var/tmp --size=48M --bs=16k --ioengine=libaio --iodepth=16 "
       "--direct=1 --verify=crc32c --output-format=terse")

# fio's words for one of many files with checksums, which the shell's $i says. Each begins
# elsewhere, since a block also holds its place in its file: so one of another file won't do.
CHECKED_JOB = ("--name=checked --filename=/var/tmp/checked/$i --offset=${i}M --size=1M --bs=4k "
               "--fallocate=none --ioengine=libaio --iodepth=16 --direct=1 --verify=crc32c "
               "--output-format=terse")


class DebianTestCase(unittest.TestCase):
    @contextlib.contextmanager
    def guest(self, name, **options):
        with Host(name=f"debian-{name}", memory="4G") as host:
            yield DebianGuest(host, **options)
            host.power_off()

    def wait_until(self, guest, what, timeout=120):
        """The guest says something of itself when it gets to it."""
        end = time.monotonic() + timeout
        while not what(info := guest.info()):
            self.assertLess(time.monotonic(), end, info)
        return info

    def check_file_system(self, guest):
        """The disk as the next user of it finds it: unmounted cleanly, and without an error."""
        folder = guest.host.scratch
        guest.host.run(["cp", guest.disk, "/scratch/child.vhdx"], check=True, timeout=300)
        croft = build_directory() / "cli" / "croft"
        child, raw = folder / "child.vhdx", folder / "disk.img"
        for words in (["rebase", "-u", child, parent_disk()],
                      ["convert", "-F", "vhdx", "-f", "raw", child, raw]):
            subprocess.run([croft, "disk", *words, "--quiet"], check=True)
        state = subprocess.run(["dumpe2fs", "-h", raw], capture_output=True, text=True,
                               check=True).stdout
        self.assertRegex(state, r"Filesystem state: +clean\n")
        self.assertNotIn("needs_recovery", state)
        checked = subprocess.run(["e2fsck", "-fn", raw], capture_output=True, text=True,
                                 check=False)
        self.assertEqual(checked.returncode, 0, checked.stdout)
        raw.unlink()
