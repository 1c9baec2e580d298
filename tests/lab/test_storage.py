# SPDX-License-Identifier: Apache-2.0
"""Disks of a child partition, by the hv_storvsc of Debian's stock kernel."""

import unittest

from lab import Host
from lab.child import Child
from root import recipe

CROFT = "/build/cli/croft"


CHANNELS = "/sys/bus/vmbus/drivers/hv_storvsc/*/channels"

# The versions of VMBus that a guest may ask for, and which kernel is to.
VERSIONS = {"4.0": "child_kernel", "4.1": "child_kernel", "5.0": "child_kernel",
            "5.1": "child_kernel", "5.2": "child_kernel", "5.3": "child_kernel",
            "6.0": "child_newest_kernel"}

VM_HOST = "192.168.77.1"
VM = "192.168.77.2"


def guest_with(host, artifacts, *drives, processors=2):
    return Child(host, artifacts, "hv_storvsc,sd_mod,sr_mod", *drives, processors=processors)


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
                    guest = guest_with(host, self.artifacts, "--disk", f"/tmp/{name}{kind}")
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
                    guest = guest_with(host, self.artifacts, "--disk", f"/tmp/{name}{kind}",
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
            drives = [word for i in range(5) for word in (
                "--disk", f"/tmp/{i}.img,raw,read-only{',serial=UNIT-%d' % i if i < 2 else ''}")]
            guest = guest_with(host, self.artifacts, *drives, "--dvd", "/tmp/5.img",
                               "--dvd", "none")
            # The kernel looks at units side by side: their letters follow no order.
            guest.run("node() { echo /dev/$(ls /sys/bus/scsi/devices/*:0:0:$1/block); }")
            for lun in range(5):
                guest.run(f"seq {lun} 100000 | head -c 65536 | cmp - $(node {lun})")
                guest.run(f"test $(cat /sys/bus/scsi/devices/*:0:0:{lun}/block/*/ro) = 1")
            guest.run("seq 5 100000 | head -c 65536 | cmp - $(node 5)")
            guest.run("dd if=$(node 6) of=/dev/null count=1", status=1)
            self.assertEqual([self._serial(guest, lun) for lun in (0, 1)], ["UNIT-0", "UNIT-1"])
            self.assertEqual(len({self._serial(guest, lun) for lun in range(5)}), 5)
            self.assertEqual(guest.end().status, 0)
            host.power_off()

    @staticmethod
    def _serial(guest, lun):
        """As the unit tells it (SPC-4, the vital product data page 0x80)."""
        return guest.run(f"tail -c +5 /sys/bus/scsi/devices/*:0:0:{lun}/vpd_pg80; echo").strip()

    def test_channels_and_versions(self):
        """Each version of VMBus that a guest may ask for; four processors share out the channels,
        which then move from processor to processor under load where the version has that. A
        network adapter goes and comes."""
        with Host(name="storage-channels") as host:
            host.run("mkdir -p /run/croft/vm; "
                     f"{CROFT} disk create -q /tmp/a.vhdx 64M", check=True)
            for version, kernel in VERSIONS.items():
                with self.subTest(version):
                    major, minor = version.split(".")
                    guest = Child(
                        host, self.artifacts, "hv_storvsc,sd_mod,hv_netvsc", "--disk",
                        "/tmp/a.vhdx", "--nic", "tap=tap0", "--control", "/run/croft/vm/vm.sock",
                        processors=4, kernel=getattr(self.artifacts, kernel),
                        line=f"hv_vmbus.max_version={int(major) << 16 | int(minor)} "
                             "hv_storvsc.storvsc_vcpus_per_sub_channel=1")
                    self.assertIn(f"Vmbus version:{version}",
                                  guest.run("dmesg | grep -F 'Vmbus version'"))
                    self.assertEqual(guest.run(f"cat {CHANNELS}/*/cpu | sort").split(),
                                     ["0", "1", "2", "3"])
                    self._be_on_line(host, guest)
                    host.run([CROFT, "vm", "detach-nic", "vm", "0"], check=True)
                    guest.run("while test -e /sys/class/net/eth0; do usleep 20000; done")
                    self._write_from_all(guest, moving=version != "4.0")
                    host.run([CROFT, "vm", "attach-nic", "vm", "tap=tap0"], check=True)
                    self._be_on_line(host, guest)
                    ended = guest.end()
                    self.assertEqual((ended.status, ended.error), (0, ""))
            host.power_off()

    def _be_on_line(self, host, guest):
        """By an adapter with a channel for each processor."""
        host.run(f"ip address add {VM_HOST}/24 dev tap0", check=True)
        guest.run(f"until ip address add {VM}/24 dev eth0 2>/dev/null; do usleep 20000; done; "
                  "ip link set eth0 up")
        guest.run(f"ping -c 3 -W 10 {VM_HOST}")
        guest.run("until [ $(ls /sys/class/net/eth0/device/channels | wc -l) = 4 ]; do "
                  "usleep 20000; done")

    def _write_from_all(self, guest, moving):
        """Each processor writes a part of its own, while channels are `moving`."""
        guest.run("dd if=/dev/urandom of=/tmp/data bs=64k count=25; rm -f /tmp/*.ok; "
                  "for cpu in 0 1 2 3; do ( for round in 1 2 3; do taskset -c $cpu dd if=/tmp/data "
                  "of=/dev/sda bs=16k seek=$((cpu * 512)) oflag=direct conv=notrunc || exit; done; "
                  "touch /tmp/$cpu.ok ) 2>/dev/null & done")
        for shift in range(1, 9) if moving else ():
            guest.run(f"cpu={shift}; for channel in {CHANNELS}/*; do "
                      "echo $((cpu % 4)) >$channel/cpu || break; cpu=$((cpu + 1)); done")
            found = guest.run(f"cat {CHANNELS}/*/cpu").split()
            self.assertEqual(found, [str((shift + i) % 4) for i in range(4)])
        guest.run("wait; good=0; for cpu in 0 1 2 3; do [ -e /tmp/$cpu.ok ] && "
                  "cmp -n 1638400 /tmp/data /dev/sda 0 $((cpu * 8388608)) && good=$((good + 1)); "
                  "done; test $good = 4", timeout=300)

    def test_pauses_under_load(self):
        """The guest stands still in the midst of its writes, and goes on as if nothing had been."""
        with Host(name="storage-pauses") as host:
            host.run("mkdir -p /run/croft/vm; "
                     f"{CROFT} disk create -q /tmp/a.vhdx 64M", check=True)
            guest = guest_with(host, self.artifacts, "--disk", "/tmp/a.vhdx", "--name", "pauses",
                               "--control", "/run/croft/vm/pauses.sock")
            guest.run("dd if=/dev/urandom of=/tmp/data bs=64k count=100; ( rm -f /tmp/stop; "
                      "while [ ! -e /tmp/stop ]; do dd if=/tmp/data of=/dev/sda bs=64k "
                      "oflag=direct && cmp -n 6553600 /tmp/data /dev/sda || exit; done; "
                      "touch /tmp/ok ) 2>/dev/null & true")
            written = "awk '{ print $7 }' /sys/block/sda/stat"
            for _ in range(5):
                before = int(guest.run(written))
                guest.run(f"until [ $({written}) -gt {before + 1000} ]; do usleep 10000; done")
                host.run([CROFT, "vm", "pause", "pauses"], check=True)
                host.run([CROFT, "vm", "resume", "pauses"], check=True)
            guest.run("touch /tmp/stop; wait; test -e /tmp/ok")
            self.assertEqual(guest.end().status, 0)
            host.run([CROFT, "disk", "check", "/tmp/a.vhdx"], check=True)
            host.power_off()

    def test_drives_come_and_go(self):
        """Under I/O on another disk, which goes on."""
        with Host(name="storage-hot") as host:
            host.run("mkdir -p /run/croft/vm && cd /tmp && seq 1 9999 | head -c 32768 >a.iso && "
                     f"seq 2 9999 | head -c 32768 >b.iso && {CROFT} disk create -q a.vhdx 64M && "
                     f"{CROFT} disk create -q b.vhdx 64M", check=True)
            guest = guest_with(host, self.artifacts, "--disk", "/tmp/a.vhdx", "--dvd",
                               "/tmp/a.iso", "--control", "/run/croft/vm/hot.sock")

            def vm(*words):
                return host.run([CROFT, "vm", *words], check=True).output

            guest.run("wait_for() { until eval \"$1\"; do usleep 100000; done; }; "
                      "unit() { echo /sys/bus/scsi/devices/*:0:0:$1; }; "
                      "node() { echo /dev/$(ls $(unit $1)/block); }")
            guest.run("seq 1 100000 >/tmp/data; touch /tmp/busy; "
                      "while [ -e /tmp/busy ]; do dd if=/tmp/data of=$(node 0) bs=4096 conv=fsync "
                      "2>/dev/null || break; done & worker=$!")
            for _ in range(3):
                self.assertEqual(vm("attach-disk", "hot", "/tmp/b.vhdx"), "LUN 2\n")
                guest.run("wait_for '[ -e $(unit 2)/block ]'")
                guest.run("dd if=/tmp/data of=$(node 2) conv=fsync && cmp -n 500000 /tmp/data "
                          "$(node 2)")
                serial = self._serial(guest, 2)
                self.assertRegex(serial, "^[0-9a-f]{32}$")
                vm("detach-disk", "hot", "2")
                guest.run("wait_for '[ ! -e $(unit 2) ]'")
                # Nobody has it any more.
                host.run([CROFT, "disk", "check", "/tmp/b.vhdx"], check=True)
            vm("attach-disk", "hot", "/tmp/b.vhdx", "--lun", "63")
            guest.run("wait_for '[ -e $(unit 63)/block ]'")
            vm("resize-disk", "hot", "63", "128M")
            guest.run("wait_for '[ $(cat $(unit 63)/block/*/size) = 262144 ]'")
            guest.run("dd if=/tmp/data of=$(node 63) bs=1M seek=100 conv=fsync")
            self.assertEqual(self._serial(guest, 63), serial)
            self.assertRegex(vm("drives", "hot"), r"63 +disk .* 128 MiB")
            guest.run("cmp -n 32768 $(node 1) /tmp/data")
            vm("insert-disc", "hot", "1", "/tmp/b.iso")
            guest.run("wait_for '[ \"$(head -c 1 $(node 1))\" = 2 ]'")
            vm("eject-disc", "hot", "1")
            guest.run("wait_for '! dd if=$(node 1) of=/dev/null count=1'")
            self._guest_ejects(host, guest, vm)
            guest.run("kill -0 $worker && rm /tmp/busy && wait $worker && cmp -n 500000 /tmp/data "
                      "$(node 0)")
            self.assertEqual(guest.end().status, 0)
            for name in ("a", "b"):
                host.run([CROFT, "disk", "check", f"/tmp/{name}.vhdx"], check=True)
            host.power_off()

    def _guest_ejects(self, host, guest, vm):
        """The disc that it has read, as its kernel does on request when a drive is closed. Then
        nobody has the file, and the drive takes another."""
        vm("insert-disc", "hot", "1", "/tmp/b.iso")
        guest.run("wait_for '[ \"$(head -c 1 $(node 1))\" = 2 ]'")
        held = "ls -l /proc/$(pidof croft-worker)/fd | grep -F /tmp/b.iso"
        host.run(held, check=True)
        guest.run("echo 1 >/proc/sys/dev/cdrom/autoeject && [ $(head -c 1 $(node 1)) = 2 ] && "
                  "echo 0 >/proc/sys/dev/cdrom/autoeject")
        host.run(f"until {CROFT} vm drives hot | grep -E '^ *1 +dvd .* -$'; do usleep 50000; done",
                 check=True)
        self.assertEqual(host.run(held).output, "")
        guest.run("dd if=$(node 1) of=/dev/null count=1", status=1)
        vm("insert-disc", "hot", "1", "/tmp/a.iso")
        guest.run("wait_for '[ \"$(head -c 1 $(node 1))\" = 1 ]'")


if __name__ == "__main__":
    unittest.main()
