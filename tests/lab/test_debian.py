# SPDX-License-Identifier: Apache-2.0
"""A stock Debian on its disk, started by croft vm run: from its login to the end that it is asked
for, and what its disk holds whatever happens in between."""

import contextlib
import pathlib
import subprocess
import tempfile
import time
import unittest

from lab import Host
from lab.guest import CROFT, DebianGuest, parent_disk
from lab.host import build_directory

NETWORK = "/build/network/croft-network"

FIO = ("fio --name=job --directory=/var/tmp --size=48M --bs=16k --ioengine=libaio --iodepth=16 "
       "--direct=1 --verify=crc32c --output-format=terse")


# In place of a whole system, in the kernel that takes over from one that has crashed.
RESCUER = """#!/bin/sh
mount -t proc proc /proc
head -c 1000000 /proc/vmcore >/var/tmp/vmcore && sync /var/tmp/vmcore && echo "kept the memory"
mount -o remount,ro /
echo b >/proc/sysrq-trigger
"""


class DebianTest(unittest.TestCase):
    @contextlib.contextmanager
    def _guest(self, name, **options):
        with Host(name=f"debian-{name}", memory="4G") as host:
            yield DebianGuest(host, **options)
            host.power_off()

    def _wait_until(self, guest, what, timeout=120):
        """The guest says something of itself when it gets to it."""
        end = time.monotonic() + timeout
        while not what(info := guest.info()):
            self.assertLess(time.monotonic(), end, info)
        return info

    def _check_file_system(self, guest):
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

    def test_from_login_to_shutdown(self):
        with self._guest("life") as guest:
            guest.start(own_kernel=True)
            self.assertEqual(guest.run("nproc"), "2\n")
            self.assertEqual(guest.run("findmnt -no SOURCE,FSTYPE /").split(), ["/dev/sda", "ext4"])
            info = self._wait_until(guest, lambda info: "OSName" in info["guest"])
            self.assertEqual(info["heartbeat"], "ok")
            self.assertEqual(info["guest"]["OSName"], "Debian GNU/Linux")
            self.assertEqual(info["guest"]["FullyQualifiedDomainName"], "debian")
            guest.run(f"{FIO} --rw=randwrite", timeout=300)
            guest.croft("shutdown", guest.name, "--reboot")
            guest.wait_for_login(count=2)
            guest.run(f"{FIO} --rw=randread --verify_only", timeout=300)
            self.assertIn(guest.name, guest.croft("list").output)
            ended = guest.shut_down()
            self.assertEqual((ended.status, ended.error), (0, ""))
            self._check_file_system(guest)

    def test_network(self):
        """On line with nothing configured: an address by DHCP, which the host hears of."""
        with self._guest("network") as guest:
            guest.host.run([NETWORK, "up"], check=True)
            guest.start()
            info = self._wait_until(guest, lambda info: info["guest"].get("NetworkAddressIPv4"))
            address = info["guest"]["NetworkAddressIPv4"].split(";")[0]
            self.assertIn(address, guest.host.run([NETWORK, "show"]).output)
            guest.host.run(["ping", "-c", "3", address], check=True)
            guest.run("ping -c 3 10.177.0.1")
            self.assertIn("nameserver 10.177.0.1", guest.run("cat /etc/resolv.conf"))
            self.assertEqual(guest.shut_down().status, 0)

    def _flush_while_busy(self, guest):
        """Has it flush one file after the other while fio writes, until some are on its disk."""
        guest.run("mkdir /var/tmp/flushed")
        guest.run(f"({FIO} --rw=randwrite --time_based --runtime=300 >/dev/null 2>&1 &)")
        guest.console.write(
            b"for i in $(seq 100); do seq $i 100000 | head -c 100000 >/var/tmp/flushed/$i; "
            b"sync /var/tmp/flushed /var/tmp/flushed/$i; echo \"on disk:\" $i.; done\n")
        guest.console.wait_for(r"on disk: 5\.", timeout=200)

    def _check_flushed(self, guest, said):
        """What it has said to be on its disk is there at the next boot."""
        last = max(int(line.removeprefix("on disk: ").rstrip(".\r"))
                   for line in said.splitlines() if line.startswith("on disk: "))
        guest.start()
        guest.run(f"for i in $(seq {last}); do seq $i 100000 | head -c 100000 | "
                  "cmp - /var/tmp/flushed/$i || break; done && test $i = " + str(last))
        self.assertEqual(guest.shut_down().status, 0)
        self._check_file_system(guest)

    def test_killed_worker(self):
        with self._guest("killed") as guest:
            guest.start()
            self._flush_while_busy(guest)
            ended = guest.kill_worker()
            self.assertEqual(ended.status, 1)
            self.assertIn("signal 9", ended.error)
            self._check_flushed(guest, ended.output)

    def test_power_cut(self):
        """Of the host, whose own disk has a file system with the guest's."""
        with tempfile.TemporaryDirectory(prefix="croft-lab-") as folder:
            disk = pathlib.Path(folder) / "disk.img"
            with open(disk, "wb") as file:
                file.truncate(4 << 30)
            subprocess.run(["mkfs.ext4", "-q", disk], check=True)

            @contextlib.contextmanager
            def host(name):
                with Host(name=f"debian-{name}", memory="4G", disk=disk) as started:
                    started.run("mkdir /tmp/vms; mount /dev/vda /tmp/vms", check=True)
                    yield started

            with host("power-cut") as first:
                guest = DebianGuest(first, folder="/tmp/vms")
                first.run("sync", check=True)
                guest.start()
                self._flush_while_busy(guest)
                said = guest.console.output.decode(errors="replace")
                first.stop()
            with host("power-back") as second:
                self._check_flushed(DebianGuest(second, folder="/tmp/vms"), said)
                second.run("umount /tmp/vms", check=True)
                second.power_off()

    def test_crash_kernel(self):
        """Its kernel crashes in the midst of I/O, on a processor that has not met the host. The
        one that takes over reaches the disk, and so does the next boot."""
        with self._guest("crash", line="crashkernel=256M",
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
            self._check_file_system(guest)

    def test_trim_shrinks_the_file(self):
        with self._guest("trim") as guest:
            guest.start()
            guest.run("dd if=/dev/urandom of=/var/tmp/big bs=1M count=96 conv=fsync", timeout=300)
            before = self._room(guest)
            guest.run("rm /var/tmp/big; sync; fstrim -v /", timeout=300)
            # Room is given back with a commit: at the guest's next flush, or here.
            self.assertEqual(guest.shut_down().status, 0)
            self.assertLess(self._room(guest), before - (80 << 20))
            self._check_file_system(guest)

    def _room(self, guest):
        """What the disk takes of the host's."""
        return 1024 * int(guest.host.run(["du", "-k", guest.disk], check=True).output.split()[0])

    def test_64_disks(self):
        """As many as a controller has, each with what is its own."""
        with self._guest("disks") as guest:
            guest.host.run("for i in $(seq 63); do seq $i 10000 | head -c 4096 >/tmp/$i.img; "
                           "truncate -s 1M /tmp/$i.img; done", check=True)
            guest.start(*(word for i in range(1, 64) for word in ("--disk", f"/tmp/{i}.img,raw")))
            self.assertEqual(guest.run("ls -d /sys/block/sd* | wc -l"), "64\n")
            guest.run("for i in $(seq 63); do seq $i 10000 | head -c 4096 | cmp -n 4096 - "
                      "/dev/$(ls /sys/bus/scsi/devices/*:0:0:$i/block) || break; done && "
                      "test $i = 63")
            self.assertEqual(guest.shut_down().status, 0)

    def test_console(self):
        """Left and taken again; what the guest has printed meanwhile is shown."""
        with self._guest("console") as guest:
            guest.start()
            guest.console.write(b"(sleep 2; echo printed \"while nobody looked\") &\n")
            guest.console.wait_for(r"\[1\] \d+")  # the shell has it
            guest.console.signal()  # only croft's end of the console goes
            guest.console.wait(30)
            viewer = guest.host.start_command([CROFT, "vm", "console", guest.name])
            viewer.wait_for("printed while nobody looked")
            viewer.write(b"poweroff\n")
            ended = viewer.wait(120)
            self.assertEqual(ended.status, 0)
            self.assertIn("has ended", ended.error)


if __name__ == "__main__":
    unittest.main()
