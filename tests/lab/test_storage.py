# SPDX-License-Identifier: Apache-2.0
"""Disks of a child partition, by the hv_storvsc of Debian's stock kernel."""

import re
import unittest

from lab import Host
from root import recipe

CROFT = "/build/cli/croft"


class Guest:
    """A child with drives, and a shell in it."""

    def __init__(self, host, artifacts, *drives, processors=2):
        cache = recipe.cache.directory()
        self._number = 0
        self.worker = host.start_command([
            "/build/worker/croft-worker",
            "--kernel", f"/cache/{artifacts.child_kernel.relative_to(cache)}",
            "--initrd", f"/cache/{artifacts.child_userland.relative_to(cache)}",
            "--cmdline", "console=ttyS0 loglevel=4 croft.modules=hv_storvsc,sd_mod,sr_mod "
                         "croft.rounds=1 croft.do=shell",
            "--memory", "256M", "--processors", str(processors), *drives])
        self.worker.wait_for("child: shell", timeout=120)

    def run(self, command, status=0, timeout=120):
        """What a command in the guest says."""
        self._number += 1
        # The shell echoes the line: the mark that is looked for is not in it as such.
        self.worker.write(f"{command}; echo \"<$?:\"{self._number}'>'\n".encode())
        match = self.worker.wait_for(rf"<(\d+):{self._number}>", timeout=timeout)
        if int(match[1]) != status:
            raise AssertionError(f"{command}: ended with {int(match[1])}")

    def end(self):
        self.worker.write(b"exit\n")
        return self.worker.wait(60)


class StorageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.artifacts = recipe.obtain()

    def test_a_disk_keeps_what_is_written(self):
        """Written by one guest, read by the next, and by the host's own tools in between."""
        with Host(name="storage-disk") as host:
            for name in ("disk.vhdx", "disk.vhd", "disk.img"):
                with self.subTest(name):
                    host.run([CROFT, "disk", "create", f"/tmp/{name}", "64M"], check=True)
                    kind = ",raw" if name.endswith(".img") else ""
                    guest = Guest(host, self.artifacts, "--disk", f"/tmp/{name}{kind}")
                    guest.run("test $(cat /sys/block/sda/size) = 131072")
                    guest.run("seq 1 1000000 | head -c 6000000 >/tmp/data")
                    guest.run("dd if=/tmp/data of=/dev/sda bs=100000 seek=7 conv=fsync")
                    self.assertEqual(guest.end().status, 0)
                    found = host.run(["sh", "-c", f"{CROFT} disk convert /tmp/{name} /tmp/out.raw "
                                      f"-q {'-F raw' if kind else ''} && "
                                      "dd if=/tmp/out.raw bs=100000 skip=7 count=60 2>/dev/null | "
                                      "sha256sum; seq 1 1000000 | head -c 6000000 | sha256sum; "
                                      "rm /tmp/out.raw"]).output.split()
                    self.assertEqual(found[0], found[2])
                    self.assertEqual(host.run([CROFT, "disk", "check", f"/tmp/{name}", *(
                        ("-f", "raw") if kind else ())]).status, 0)
                    guest = Guest(host, self.artifacts, "--disk", f"/tmp/{name}{kind}",
                                  processors=4)
                    guest.run("seq 1 1000000 | head -c 6000000 | "
                              "cmp -n 6000000 - /dev/sda 0 700000")
                    self.assertEqual(guest.end().status, 0)
            host.power_off()

    def test_many_units(self):
        """Disks and DVD drives side by side, each with what is its own."""
        with Host(name="storage-units") as host:
            host.run("for i in 0 1 2 3 4 5; do seq $i 100000 | head -c 65536 >/tmp/$i.img; done",
                     check=True)
            drives = [word for i in range(5) for word in ("--disk", f"/tmp/{i}.img,raw,read-only")]
            guest = Guest(host, self.artifacts, *drives, "--dvd", "/tmp/5.img", "--dvd", "none")
            # The kernel looks at units side by side: their letters follow no order.
            guest.run("node() { echo /dev/$(ls /sys/bus/scsi/devices/*:0:0:$1/block); }")
            for lun in range(5):
                guest.run(f"seq {lun} 100000 | head -c 65536 | cmp - $(node {lun})")
                guest.run(f"test $(cat /sys/bus/scsi/devices/*:0:0:{lun}/block/*/ro) = 1")
            guest.run("seq 5 100000 | head -c 65536 | cmp - $(node 5)")
            guest.run("dd if=$(node 6) of=/dev/null count=1", status=1)
            self.assertEqual(guest.end().status, 0)
            host.power_off()


if __name__ == "__main__":
    unittest.main()
