# SPDX-License-Identifier: Apache-2.0
"""What a guest sees of its disks when the host's storage fails it: the right error, on the disk
that it befalls, and what was acknowledged is there afterwards."""

import contextlib
import re
import unittest

from lab import Host
from lab.child import Child
from root import recipe

CROFT = "/build/cli/croft"
SOCKET = "/run/croft/vm/faults.sock"

# What the guest's lines below use.
WORDS = ('unit() { echo /sys/bus/scsi/devices/*:0:0:$1; }; '
         'node() { echo /dev/$(ls $(unit $1)/block); }; '
         'wait_for() { until eval "$1"; do usleep 100000; done; }; '
         "dd if=/dev/urandom of=/tmp/data bs=1M count=4")


class StorageFaultsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.artifacts = recipe.obtain()

    @contextlib.contextmanager
    def _host(self, name):
        with Host(name=f"storage-{name}") as host:
            host.run("mkdir -p /run/croft/vm", check=True)
            yield host
            host.power_off()

    def _guest(self, host, *drives):
        guest = Child(host, self.artifacts, "hv_storvsc,sd_mod", "--name", "faults", "--control",
                      SOCKET, *(word for drive in drives for word in ("--disk", drive)))
        guest.run(WORDS)
        return guest

    def test_full_file_system(self):
        """No room for more: the guest is told that, and goes on when there is."""
        with self._host("full") as host:
            host.run("mkdir /tmp/small && mount -t tmpfs -o size=12M none /tmp/small && "
                     f"{CROFT} disk create -q --block-size 1M /tmp/small/disk.vhdx 64M", check=True)
            guest = self._guest(host, "/tmp/small/disk.vhdx")
            guest.run("dd if=/tmp/data of=$(node 0) bs=1M conv=fsync")
            said = guest.run("for at in 16 20 24 28; do dd if=/tmp/data of=$(node 0) bs=1M "
                             "seek=$at oflag=direct 2>/tmp/said || break; done; [ $at != 28 ] && "
                             "echo \"failed at $at\" && cat /tmp/said")
            self.assertIn("No space left on device", said)
            failed_at = int(re.search(r"failed at (\d+)", said)[1])
            taken = failed_at - 16 + int(re.search(r"(\d+)\+\d+ records out", said)[1])
            self.assertGreater(taken, 0, said)
            # What was acknowledged is there, also of the command that didn't get to its end.
            for at in range(16, 16 + taken):
                guest.run(f"cmp -n 1048576 /tmp/data $(node 0) $(({at} % 4 << 20)) "
                          f"$(({at} << 20))")
            guest.run("cmp -n 4194304 /tmp/data $(node 0)")
            host.run("mount -o remount,size=64M /tmp/small", check=True)
            guest.run("dd if=/tmp/data of=$(node 0) bs=1M seek=32 conv=fsync")
            guest.run("cmp -n 4194304 /tmp/data $(node 0) 0 33554432")
            self.assertEqual(guest.end().status, 0)
            host.run([CROFT, "disk", "check", "/tmp/small/disk.vhdx"], check=True)

    def test_file_is_cut_off(self):
        """A raw one, by somebody in the root, while the guest uses all of it. What was cut off is
        an error, not zeros, and stays one; the rest goes on, and the log says why."""
        with self._host("cut") as host:
            host.run("truncate -s 64M /tmp/cut.img", check=True)
            guest = self._guest(host, "/tmp/cut.img,raw")
            guest.run("dmesg -n 1")  # its errors are asked for, and stay out of what is said
            for at in (0, 16, 40, 60):
                guest.run(f"dd if=/tmp/data of=$(node 0) bs=1M seek={at} conv=fsync")
            self._be_busy(guest, "kept", "if=/tmp/data of=$(node 0) oflag=direct")
            self._be_busy(guest, "lost", "if=$(node 0) of=/dev/null skip=640 count=64 "
                                         "iflag=direct")
            host.run("truncate -s 32M /tmp/cut.img", check=True)
            guest.run("wait_for '[ -e /tmp/lost.ended ]'")
            for at in (32, 43, 63):
                # Linux's words for a medium error differ.
                for words, error in (
                        (f"if=$(node 0) of=/dev/null skip={at} iflag=direct", "No data available"),
                        (f"if=/tmp/data of=$(node 0) seek={at} oflag=direct",
                         "Input/output error")):
                    said = guest.run(f"dd {words} bs=1M count=1 2>&1", status=1)
                    self.assertIn(error, said)
            told = guest.run("dmesg")
            self.assertRegex(told, rf"critical medium error, .*, sector {32 << 11} op .*READ")
            self.assertRegex(told, rf"I/O error, .*, sector {32 << 11} op .*WRITE")
            self.assertEqual(set(re.findall(r"(?:Sense Key|Add\. Sense) ?: ([\w ]*\w)", told)), {
                "Medium Error", "Unrecovered read error", "Write error"})
            self.assertEqual(host.run("stat -c %s /tmp/cut.img").output, f"{32 << 20}\n")
            # Up to the last block that there is.
            guest.run("dd if=/tmp/data of=$(node 0) bs=1M seek=28 conv=fsync && "
                      "cmp -n 4194304 /tmp/data $(node 0) 0 29360128")
            guest.run("cmp -n 4194304 /tmp/data $(node 0) 0 16777216")
            guest.run("[ ! -e /tmp/kept.ended ] && touch /tmp/stop && "
                      "wait_for '[ -e /tmp/kept.ended ]' && cmp -n 4194304 /tmp/data $(node 0)")
            ended = guest.end()
            self.assertEqual(ended.status, 0)
            self.assertRegex(ended.error,
                             r"\Adrive at LUN 0: /tmp/cut\.img: at offset \d+: read: the file "
                             r"ends here, expected 65536 bytes more\r?\n\Z")

    @staticmethod
    def _be_busy(guest, name, words):
        """The guest reads or writes, again and again, until it is stopped or fails."""
        guest.run(f"( until [ -e /tmp/stop ]; do dd {words} bs=64k 2>/dev/null || break; "
                  f"touch /tmp/{name}.begun; done; touch /tmp/{name}.ended ) & "
                  f"wait_for '[ -e /tmp/{name}.begun ]'")

    def test_device_goes(self):
        """Pulled out in the midst of writes. The other disk goes on, and so does the VM."""
        with self._host("gone") as host:
            host.run(f"{CROFT} disk create -q /tmp/other.vhdx 64M", check=True)
            guest = self._guest(host, "/dev/vda", "/tmp/other.vhdx")
            guest.run("dd if=/tmp/data of=$(node 0) bs=1M conv=fsync")
            guest.run("( while dd if=/tmp/data of=$(node 0) bs=64k oflag=direct; do :; done "
                      "2>/tmp/said; touch /tmp/ended ) & true")
            host.run("echo 1 >$(readlink -f /sys/block/vda/device)/../remove", check=True)
            guest.run("wait_for '[ -e /tmp/ended ]'")
            self.assertRegex(guest.run("cat /tmp/said"), "Input/output error|No medium found")
            guest.run("dd if=$(node 0) of=/dev/null iflag=direct bs=4096 count=1", status=1)
            guest.run("dd if=/tmp/data of=$(node 1) bs=1M conv=fsync && "
                      "cmp -n 4194304 /tmp/data $(node 1)")
            # It goes, and whoever takes it away hears that not all is on it.
            detached = host.run([CROFT, "vm", "detach-disk", "faults", "0"])
            self.assertIn("/dev/vda: flush: Input/output error", detached.error)
            guest.run("wait_for '[ ! -e $(unit 0) ]'", timeout=40)
            self.assertEqual(guest.end().status, 0)

    def test_device_grows(self):
        """A loop device, whose size isn't its own to say."""
        with self._host("grows") as host:
            host.run("truncate -s 32M /tmp/back.img && losetup /dev/loop0 /tmp/back.img",
                     check=True)
            guest = self._guest(host, "/dev/loop0")
            guest.run("test $(cat $(unit 0)/block/*/size) = 65536")
            host.run("truncate -s 64M /tmp/back.img && losetup -c /dev/loop0", check=True)
            host.run([CROFT, "vm", "resize-disk", "faults", "0"], check=True)
            guest.run("wait_for '[ $(cat $(unit 0)/block/*/size) = 131072 ]'")
            guest.run("dd if=/tmp/data of=$(node 0) bs=1M seek=60 conv=fsync")
            self.assertEqual(guest.end().status, 0)
            self.assertEqual(host.run("losetup -d /dev/loop0; stat -c %s /tmp/back.img").output,
                             f"{64 << 20}\n")

    def test_disk_is_detached_under_its_own_load(self):
        """The guest's writes fail from then on, and the file is whole and free."""
        with self._host("detached") as host:
            host.run(f"{CROFT} disk create -q /tmp/a.vhdx 64M && "
                     f"{CROFT} disk create -q /tmp/b.vhdx 64M", check=True)
            guest = self._guest(host, "/tmp/a.vhdx", "/tmp/b.vhdx")
            for _ in range(3):
                guest.run("rm -f /tmp/ended; ( disk=$(node 1); while dd if=/tmp/data of=$disk "
                          "bs=64k oflag=direct 2>/dev/null; do touch /tmp/begun; done; "
                          "touch /tmp/ended ) & wait_for '[ -e /tmp/begun ]'")
                host.run([CROFT, "vm", "detach-disk", "faults", "1"], check=True)
                guest.run("wait_for '[ -e /tmp/ended ]'; rm /tmp/begun; "
                          "wait_for '[ ! -e $(unit 1) ]'")
                host.run([CROFT, "disk", "check", "/tmp/b.vhdx"], check=True)
                host.run([CROFT, "vm", "attach-disk", "faults", "/tmp/b.vhdx", "--lun", "1"],
                         check=True)
                guest.run("wait_for '[ -e $(unit 1)/block ]'; "
                          "dd if=/tmp/data of=$(node 1) bs=1M conv=fsync && "
                          "cmp -n 4194304 /tmp/data $(node 1)")
            self.assertEqual(guest.end().status, 0)


if __name__ == "__main__":
    unittest.main()
