# SPDX-License-Identifier: Apache-2.0
"""Guests of any kind, as Debian packages them, in Debian's QEMU on /dev/mshv."""

import re
import unittest

from lab import Host, qemu_guest
from lab.child import Report
from root.recipe import foreign_guests


class ForeignGuestsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = foreign_guests.build()
        cls.host = Host(qemu=qemu_guest.disk(), name="foreign-guests")
        cls.host.start()
        cls.addClassCleanup(cls.host.stop)
        qemu_guest.mount(cls.host)

    def _file(self, name):
        return qemu_guest.there(self.files / name)

    def _start(self, *words, **options):
        running = self.host.start_command(qemu_guest.command(*words, **options))
        self.addCleanup(running.__exit__, None, None, None)
        return running

    def _linux(self, kernel, processors, line=""):
        guest = self._start(
            "-kernel", self._file(kernel), "-initrd", self._file("initramfs.cpio"), "-append",
            f"console=ttyS0 quiet panic=-1 croft.do=poweroff {line}", processors=processors)
        qemu_guest.wait_for_power_off(guest, 240)
        said = guest.output.decode(errors="replace")
        report = Report(said)
        self.assertEqual(report.problems(processors), [], said)
        return report

    def test_linux_of_32_bits(self):
        """Pages by tables of two levels."""
        report = self._linux("vmlinuz-686", processors=1)
        self.assertRegex(report.kernel, r"-686$")

    def test_linux_with_pae(self):
        report = self._linux("vmlinuz-686-pae", processors=1)
        self.assertRegex(report.kernel, r"-686-pae$")

    def test_linux_with_pae_on_two_processors(self):
        """It flushes the other's translations by hypercalls. With retpolines that kernel of
        Debian's goes astray on its way to the first of them: what CALL_NOSPEC pushes there is at
        12(%esp) of a stack that has moved by a return address."""
        report = self._linux("vmlinuz-686-pae", processors=2, line="spectre_v2=off")
        self.assertRegex(report.kernel, r"-686-pae$")

    def _memory_tester(self, kernel):
        """All tests but the last, which waits for minutes, by all processors at once."""
        guest = self._start("-kernel", self._file(kernel), "-append",
                            "console=ttyS0,115200 nobench nosm nomch nopause", memory="16M")
        guest.wait_for(r"#10 +\[Bit fade", timeout=240)
        said = guest.output.decode(errors="replace")
        self.assertIn("SMP: 2T (PAR)", said)
        self.assertIn("Using: All Cores", said)
        self.assertEqual(set(re.findall(r"Errors: +(\d+)", said)), {"0"})
        qemu_guest.end(guest)

    def test_memory_tester_of_32_bits(self):
        self._memory_tester("memtest32.bin")

    def test_memory_tester_of_64_bits(self):
        self._memory_tester("memtest64.bin")

    def test_grub(self):
        """From the disc by the BIOS, and then commands in protected mode, which calls the BIOS in
        real mode."""
        guest = self._start("-cdrom", self._file("rescue.iso"), processors=1, memory="64M")
        for number, (command, answer) in enumerate((
                ("if cpuid -l; then echo long; fi", "long"), ("ls", r"\(cd\)"),
                ("lsmmap", r"base_addr = 0x0,"))):
            guest.wait_for(f"(?s)(grub> .*?){{{number + 1}}}", timeout=240)
            guest.write(f"{command}\n".encode())
            guest.wait_for(answer)
        guest.wait_for("(?s)(grub> .*?){4}")
        guest.write(b"halt\n")
        qemu_guest.wait_for_power_off(guest)

    def test_network_boot_loader(self):
        """Commands, and a network card that it polls."""
        guest = self._start(
            "-kernel", self._file("ipxe.lkrn"), "-append",
            # The BIOS holds the last characters back until others follow.
            "cpuid --ext 29 && echo long mode && dhcp && echo address ${ip} of a network && "
            "poweroff",
            "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",
            processors=1, memory="64M", machine="q35,graphics=off")
        guest.wait_for("^long mode", 240)
        guest.wait_for(r"^address 10\.0\.2\.15")
        qemu_guest.wait_for_power_off(guest)

    def test_uefi_shell(self):
        guest = self._start("-bios", "/usr/share/ovmf/OVMF.fd", memory="128M")
        guest.wait_for("any other key to continue", timeout=240)
        guest.write(b"x")
        guest.wait_for("Shell> ")
        guest.write(b"ver\r")
        guest.wait_for(r"UEFI v2\.\d+ \(")
        guest.write(b"memmap\r")
        guest.wait_for(r"Total Memory: +127 MB")
        guest.write(b"reset -s\r")
        qemu_guest.wait_for_power_off(guest)


if __name__ == "__main__":
    unittest.main()
