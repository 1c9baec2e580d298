# SPDX-License-Identifier: Apache-2.0
"""Disks mounted in the root partition, by the file systems of its own kernel."""

import pathlib
import subprocess
import tempfile
import unittest

from lab import Host
from lab.host import build_directory

CROFT = "/build/cli/croft"

FILE_SYSTEMS = {"vfat": "mkfs.vfat", "exfat": "mkfs.exfat", "ext4": "mkfs.ext4"}


def make_disk(folder, system, kind):
    """An empty file system on a disk without partitions."""
    with tempfile.TemporaryDirectory() as work:
        raw = pathlib.Path(work) / "raw"
        with open(raw, "wb") as file:
            file.truncate(96 << 20)
        subprocess.run([FILE_SYSTEMS[system], raw], check=True, capture_output=True)
        subprocess.run([build_directory() / "cli" / "croft", "disk", "convert", "-q", "-F", "raw",
                        raw, pathlib.Path(folder) / f"{system}.{kind}"], check=True)


class MountTest(unittest.TestCase):
    def test_file_systems(self):
        with Host(name="mount") as host:
            for kind in ("vhdx", "vhd"):
                for system in FILE_SYSTEMS:
                    with self.subTest(kind=kind, system=system):
                        make_disk(host.scratch, system, kind)
                        host.run(["cp", f"/scratch/{system}.{kind}", "/tmp"], check=True)
                        self._fill_and_read(host, f"/tmp/{system}.{kind}", system)
            host.power_off()

    def _fill_and_read(self, host, disk, system):
        """Filled through a mount and by cp, and read through the next mount."""
        def run(script):
            return host.run(["sh", "-ec", f"croft={CROFT}; disk={disk}; {script}"], check=True,
                            timeout=120).output

        said = run("mkdir -p /tmp/m; $croft disk mount -q -w $disk /tmp/m; "
                   "grep ' /tmp/m ' /proc/mounts; mkdir /tmp/m/folder; "
                   "seq 1 300000 >/tmp/m/folder/numbers; seq 1 99 >/tmp/m/folder/gone; "
                   "rm /tmp/m/folder/gone; mv /tmp/m/folder/numbers /tmp/m/folder/moved; "
                   "$croft disk umount /tmp/m")
        self.assertRegex(said, rf"(?m)^\S+ /tmp/m {system} rw")
        run("$croft disk check -q $disk; seq 7 77777 >/tmp/into; "
            "$croft disk cp -q /tmp/into $disk:/folder/")
        said = run("$croft disk mount -q $disk /tmp/m; grep ' /tmp/m ' /proc/mounts; "
                   "ls /tmp/m/folder; seq 1 300000 | cmp - /tmp/m/folder/moved; "
                   "cmp /tmp/into /tmp/m/folder/into; ! touch /tmp/m/new 2>/dev/null; "
                   "$croft disk umount /tmp/m; $croft disk cp -q $disk:/folder/moved /tmp/out; "
                   "seq 1 300000 | cmp - /tmp/out; rm /tmp/out")
        self.assertRegex(said, rf"(?m)^\S+ /tmp/m {system} ro")
        self.assertIn("into\nmoved\n", said)


if __name__ == "__main__":
    unittest.main()
