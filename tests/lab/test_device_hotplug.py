# SPDX-License-Identifier: Apache-2.0
"""Devices that come into the machine and leave it while the host runs: the root drives them, and
has their interrupts, as those that were there at its start."""

import re
import unittest

from lab import Host

ROUNDS = 3
MEBIBYTE = 1 << 20


class DeviceHotplugTest(unittest.TestCase):
    def test_pcie_slot(self):
        self._check("q35", ["-device", "pcie-root-port,id=bay,chassis=1"], "bay")

    def test_slot_of_acpi(self):
        self._check("pc", [], "pci.0")

    def _check(self, machine, slots, bus):
        with Host(machine=machine, name=f"hotplug-{machine}", qemu=slots) as host:
            image = host.logs / "more"
            image.write_bytes(bytes(16 * MEBIBYTE))
            for _ in range(ROUNDS):
                host.machine.command("blockdev-add", **{
                    "driver": "raw", "node-name": "more",
                    "file": {"driver": "file", "filename": str(image)}})
                host.machine.command("device_add", driver="virtio-blk-pci", id="more", bus=bus,
                                     drive="more", serial="more")
                host.run("until [ -b /dev/vdb ]; do usleep 50000; done", timeout=20, check=True)
                before = self._interrupts(host)
                host.run("dd if=/dev/urandom of=/tmp/data bs=1M count=8 2>/dev/null && "
                         "dd if=/tmp/data of=/dev/vdb bs=64k oflag=direct 2>/dev/null && "
                         "dd if=/dev/vdb bs=64k count=128 iflag=direct 2>/dev/null | "
                         "cmp - /tmp/data", check=True)
                # 128 requests each way
                self.assertGreater(self._interrupts(host), before + 100)
                host.machine.remove_device("more", timeout=40)
                self.assertNotEqual(host.run("test -b /dev/vdb").status, 0)
                host.machine.command("blockdev-del", **{"node-name": "more"})
            messages = host.run("dmesg").output
            for word in ("BUG:", "WARNING:", "Oops", "Call Trace", "HV_STATUS"):
                self.assertNotIn(word, messages)
            host.power_off()

    @staticmethod
    def _interrupts(host):
        """Those of the disk that has come."""
        table = host.run("device=$(basename $(readlink -f /sys/block/vdb/device)); "
                         "grep \"$device-req\" /proc/interrupts", check=True).output
        return sum(int(word) for line in table.splitlines()
                   for word in re.split(r"HV-PCI", line)[0].split()[1:])


if __name__ == "__main__":
    unittest.main()
