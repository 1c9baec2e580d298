# SPDX-License-Identifier: Apache-2.0
"""The host started as a real machine is: its BIOS or UEFI loads GRUB, and GRUB the hypervisor by
Multiboot2."""

import re
import unittest

from lab import Host, grub, installed
from lab.host import build_directory


class GrubTest(unittest.TestCase):
    def test_bios(self):
        self._check("bios", machine="pc")

    def test_uefi(self):
        self._check("uefi", machine="q35")

    def _check(self, firmware, machine):
        with Host(firmware=firmware, machine=machine, disc=self._installed_disc, processors=2,
                  reboot="allow", boot_timeout=240, name=f"grub-{firmware}") as host:
            self._check_root(host, firmware)
            host.reboot(timeout=240)
            self._check_root(host, firmware)
            host.power_off()
            self.assertEqual(host.machine.reason, "guest-shutdown")

    def _installed_disc(self, directory, hypervisor_words, kernel_words, files):
        """The CD is the /boot of an installation, its menu's first entry the script's, with the
        lab's words and initramfs."""
        top = directory / "installed"
        installed.install(build_directory(), top)
        (top / "etc/default/undercroft").write_text(
            f'UNDERCROFT_CMDLINE="{" ".join(hypervisor_words)}"\n'
            f'UNDERCROFT_ROOT_CMDLINE="{grub.quoted(kernel_words)}"\n')
        on_disc = {f"/{path.relative_to(top)}": path for path in top.glob("boot/undercroft/*")}
        initramfs = next(path for path in on_disc if "/initrd.img-" in path)
        return ("set timeout=0\n" + installed.grub_entries(top),
                {**on_disc, initramfs: files["initramfs"]})

    def _check_root(self, host, firmware):
        messages = host.run("dmesg").output
        self.assertIn("Hyper-V: running as root partition", messages)
        self.assertRegex(messages, r"Command line: root=UUID=0a1b-2c3d ro +console=ttyS0")
        for word in ("BUG:", "WARNING:", "Oops", "Call Trace"):
            self.assertNotIn(word, messages)
        self.assertEqual(host.run("nproc").output, "2\n")
        self.assertEqual(host.run("test -c /dev/mshv").status, 0)
        self.assertEqual(any("started from UEFI" in line for line in host.console.lines),
                         firmware == "uefi")
        # The root's tables of ACPI are the firmware's, and stay readable.
        tables = host.run("ls /sys/firmware/acpi/tables").output.split()
        self.assertIn("APIC", tables)
        self.assertIn("FACP", tables)
        self.assertGreater(self._memory(host), 3700 << 10)

    @staticmethod
    def _memory(host):
        return int(re.search(r"MemTotal: +(\d+) kB", host.run("cat /proc/meminfo").output)[1])


if __name__ == "__main__":
    unittest.main()
