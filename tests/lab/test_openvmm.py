# SPDX-License-Identifier: Apache-2.0
"""OpenVMM, unmodified, on /dev/mshv: somebody else's VMM boots a stock kernel, and a stock Debian
on its VMBus.

No package has it, so it is named by CROFT_OPENVMM: an executable with the feature virt_mshv that
runs on Debian 12, the libraries that the root has not beside it. Without one nothing is tested
here. One with debug assertions compares all state that it restores or resets."""

import os
import pathlib
import time
import unittest

from lab import Host
from lab.child import Report
from lab.guest import LOGIN, boot_line, in_cache
from lab.guest_shell import GuestShell
from root import recipe
from root.recipe import guest as guest_recipe

VARIABLE = "CROFT_OPENVMM"

# Its own command line wants one.
TERMINAL = (50, 200)

# From the guest's console, where it begins, to that, and back.
TO_COMMANDS = b"\x11"
TO_CONSOLE = b"input-mode\r"

CHECKSUM = "sha256sum /var/tmp/random"


class Machine:
    """One whose first serial port is the terminal, but while commands are given."""

    def __init__(self, host, program, kernel, userland, line, *words, memory="256MB", processors=2):
        self.run = host.start_command(
            [program, "--hypervisor", "mshv", "--single-process", "--hv",
             "--processors", processors, "--memory", memory, "--kernel", in_cache(kernel),
             "--initrd", in_cache(userland), "--cmdline", line, "--com1", "console",
             "--com2", "none", *words],
            terminal=TERMINAL,
            environment={"LD_LIBRARY_PATH": str(pathlib.PurePath(program).parent), "HOME": "/tmp",
                         "OPENVMM_LOG": "error"})

    def commands(self, *commands):
        """Its commands tell of their end in its log at best."""
        self._write(TO_COMMANDS)
        for command in commands:
            self._write(f"{command}\r".encode(), 5)
        self._write(TO_CONSOLE)

    def end(self):
        self._write(TO_COMMANDS)
        self._write(b"quit\r")
        return self.run.wait(60).status

    def _write(self, what, pause=1):
        self.run.write(what)
        time.sleep(pause)


@unittest.skipUnless(os.environ.get(VARIABLE), f"{VARIABLE} names no OpenVMM")
class OpenVmmTest(unittest.TestCase):
    def _host(self, **options):
        program = pathlib.Path(os.environ[VARIABLE]).resolve(strict=True)
        self.program = f"/vmm/{program.name}"
        return Host(shares={"/vmm": program.parent}, **options)

    def test_boots_a_stock_kernel(self):
        artifacts = recipe.obtain()
        with self._host(name="openvmm") as host:
            for processors in (1, 2):
                with self.subTest(processors=processors):
                    machine = Machine(
                        host, self.program, artifacts.child_kernel, artifacts.child_userland,
                        "console=ttyS0 quiet panic=-1 croft.do=poweroff", "--no-vmbus",
                        processors=processors)
                    machine.run.wait_for("reboot: Power down", 300)
                    report = Report(machine.run.output.decode(errors="replace"))
                    self.assertEqual(report.problems(processors), [])
                    self.assertEqual(report.clocksource, "hyperv_clocksource_tsc_page")
                    self.assertEqual(machine.end(), 0)
            host.power_off()

    def test_resets(self):
        """With local APICs that begin in either mode."""
        artifacts = recipe.obtain()
        with self._host(name="openvmm-reset") as host:
            for x2apic in ("off", "on"):
                with self.subTest(x2apic=x2apic):
                    machine = Machine(
                        host, self.program, artifacts.child_kernel, artifacts.child_userland,
                        "console=ttyS0 quiet panic=-1 croft.rounds=1 croft.do=shell",
                        "--x2apic", x2apic)
                    machine.run.wait_for("child: shell", 300)
                    machine.commands("nmi", "reset")
                    machine.run.wait_for("(?s)(child: shell.*){2}", 300)
                    self.assertEqual(machine.end(), 0)
            host.power_off()

    def test_debian(self):
        """On its VMBus; stopped and going on, and again from what was saved."""
        system = guest_recipe.build()
        drive = f"file={system / 'disk.img'},if=none,id=debian,format=raw,snapshot=on"
        with self._host(name="openvmm-debian", qemu=[
                "-drive", drive, "-device", "virtio-blk-pci,drive=debian"]) as host:
            machine = Machine(
                host, self.program, system / "vmlinuz", system / "initrd.img", boot_line(),
                "--disk", "file:/dev/vdb", "--net", "tap:tap0", memory="512MB")
            machine.run.wait_for(rf"(?s){LOGIN}.*?# ", 300)
            shell = GuestShell(machine.run)
            self.assertEqual(shell.run("nproc; findmnt -no SOURCE,FSTYPE /").split(),
                             ["2", "/dev/sda", "ext4"])
            shell.run("dd if=/dev/urandom of=/var/tmp/random bs=1M count=16 conv=fsync")
            checksum = shell.run(CHECKSUM)
            host.run("ip address add 192.168.77.1/24 dev tap0; ip link set tap0 up", check=True)
            shell.run("nic=$(ls /sys/class/net | grep -v lo); ip link set $nic up; "
                      "ip address add 192.168.77.2/24 dev $nic; ping -c 3 192.168.77.1")
            for commands in (["pause", "resume"], ["pulse-save-restore"]):
                machine.commands(*commands)
                self.assertEqual(
                    shell.run(f"echo 3 >/proc/sys/vm/drop_caches; {CHECKSUM}"), checksum)
                for processor in (0, 1):
                    shell.run(f"taskset -c {processor} sleep 0.1")
                host.run(["ping", "-c", "3", "192.168.77.2"], check=True)
            machine.commands("shutdown")
            machine.run.wait_for("reboot: Power down", 120)
            self.assertEqual(machine.end(), 0)
            host.power_off()


if __name__ == "__main__":
    unittest.main()
