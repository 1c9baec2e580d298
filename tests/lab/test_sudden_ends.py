# SPDX-License-Identifier: Apache-2.0
"""Ends that a stock Debian doesn't see coming: of its worker, of its kernel, of the host's power.
What it has flushed is there afterwards."""

import contextlib
import pathlib
import subprocess
import tempfile
import unittest

from debian import CHECKED_JOB, FIO, DebianTestCase
from lab import Host
from lab.guest import DebianGuest
from lab.volatile_disk import VolatileDisk

# In place of a whole system, in the kernel that takes over from one that has crashed.
RESCUER = """#!/bin/sh
mount -t proc proc /proc
head -c 1000000 /proc/vmcore >/var/tmp/vmcore && sync /var/tmp/vmcore && echo "kept the memory"
mount -o remount,ro /
echo b >/proc/sysrq-trigger
"""


class SuddenEndsTest(DebianTestCase):
    def _flush_while_busy(self, guest):
        """Has it flush one file after the other while fio writes, until some are on its disk."""
        guest.run("mkdir /var/tmp/checked")
        guest.run(f"({FIO} --rw=randwrite --time_based --runtime=300 >/dev/null 2>&1 &)")
        guest.console.write(
            f"for i in $(seq 100); do fio {CHECKED_JOB} --rw=randwrite --do_verify=0 --end_fsync=1 "
            ">/dev/null && sync /var/tmp/checked && echo \"on disk:\" $i.; done\n".encode())
        guest.console.wait_for(r"on disk: 5\.", timeout=200)

    def _check_flushed(self, guest, said):
        """What it has said to be on its disk is there at the next boot."""
        last = max(int(line.removeprefix("on disk: ").rstrip(".\r"))
                   for line in said.splitlines() if line.startswith("on disk: "))
        guest.start()
        guest.run(f"(for i in $(seq {last}); do fio {CHECKED_JOB} --rw=randread --verify_only || "
                  "exit; done) >/tmp/verified 2>&1 || { cat /tmp/verified; false; }", timeout=300)
        self.assertEqual(guest.shut_down().status, 0)
        self.check_file_system(guest)

    def test_killed_worker(self):
        with self.guest("killed") as guest:
            guest.start()
            self._flush_while_busy(guest)
            ended = guest.kill_worker()
            self.assertEqual(ended.status, 1)
            self.assertIn("signal 9", ended.error)
            self._check_flushed(guest, ended.output)

    def test_power_cut(self):
        """Of the host, whose own disk has a file system with the guest's, and a cache which is
        lost."""
        with tempfile.TemporaryDirectory(prefix="croft-lab-") as folder:
            disk = pathlib.Path(folder) / "disk.img"
            with open(disk, "wb") as file:
                file.truncate(4 << 30)
            subprocess.run(["mkfs.ext4", "-q", disk], check=True)

            @contextlib.contextmanager
            def host(name, disk):
                with Host(name=f"debian-{name}", memory="4G", disk=disk) as started:
                    started.run("mkdir /tmp/vms; mount /dev/vda /tmp/vms", check=True)
                    yield started

            with VolatileDisk(disk) as volatile:
                with host("power-cut", volatile) as first:
                    guest = DebianGuest(first, folder="/tmp/vms")
                    first.run("sync", check=True)
                    guest.start()
                    self._flush_while_busy(guest)
                    said = guest.console.output.decode(errors="replace")
                    first.stop()
            self.assertGreater(volatile.lost, 0, "the cut would have been no test")
            with host("power-back", disk) as second:
                self._check_flushed(DebianGuest(second, folder="/tmp/vms"), said)
                second.run("umount /tmp/vms", check=True)
                second.power_off()

    def test_crash_kernel(self):
        """Its kernel crashes in the midst of I/O, on a processor that has not met the host. The
        one that takes over reaches the disk, and so does the next boot."""
        with self.guest("crash", line="crashkernel=256M",
                         words=("--processors", "2", "--memory", "1G")) as guest:
            guest.put_program(RESCUER, "/usr/local/sbin/rescuer")
            guest.start()
            guest.run("kexec -p /boot/vmlinuz-* --initrd=$(ls /boot/initrd.img-*) --append="
                      "'root=LABEL=debian rw console=ttyS0 loglevel=4 nr_cpus=1 irqpoll "
                      "reset_devices init=/usr/local/sbin/rescuer'")
            guest.run(f"sync; ({FIO} --rw=randwrite --time_based --runtime=300 >/dev/null 2>&1 &)")
            guest.console.write(b"taskset -c 1 sh -c 'echo c >/proc/sysrq-trigger'\n")
            guest.console.wait_for("kept the memory", timeout=180)
            guest.wait_for_login(count=2)
            self.assertEqual(guest.run("head -c 4 /var/tmp/vmcore | tail -c 3; "
                                       "stat -c %s /var/tmp/vmcore"), "ELF1000000\n")
            self.assertEqual(guest.shut_down().status, 0)
            self.check_file_system(guest)


if __name__ == "__main__":
    unittest.main()
