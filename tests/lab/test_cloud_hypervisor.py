# SPDX-License-Identifier: Apache-2.0
"""Cloud Hypervisor, unmodified, on /dev/mshv: somebody else's VMM boots a stock kernel and a stock
Debian.

No package has it, so it is named by CROFT_CLOUD_HYPERVISOR: an executable with the feature mshv
that runs on Debian 12, its ch-remote beside it. Without one nothing is tested here."""

import os
import pathlib
import unittest

from lab import Host
from lab.child import Report
from lab.guest import LOGIN, boot_line, in_cache
from lab.guest_shell import GuestShell
from root import recipe
from root.recipe import guest as guest_recipe

VARIABLE = "CROFT_CLOUD_HYPERVISOR"

# It reads its guest's serial port from a terminal only.
TERMINAL = (50, 200)

CHECKSUM = "sha256sum /var/tmp/random"


@unittest.skipUnless(os.environ.get(VARIABLE), f"{VARIABLE} names no Cloud Hypervisor")
class CloudHypervisorTest(unittest.TestCase):
    def _host(self, **options):
        program = pathlib.Path(os.environ[VARIABLE]).resolve(strict=True)
        self.program = f"/vmm/{program.name}"
        return Host(shares={"/vmm": program.parent}, **options)

    def _machine(self, kernel, userland, line, *words, processors=2, memory="256M"):
        """The words for one whose first serial port is the command's input and output."""
        return [self.program, "--cpus", f"boot={processors}", "--memory", f"size={memory}",
                "--console", "off", "--serial", "tty", "--kernel", in_cache(kernel),
                "--initramfs", in_cache(userland), "--cmdline", line, *words]

    def test_boots_a_stock_kernel(self):
        artifacts = recipe.obtain()
        with self._host(name="cloud-hypervisor") as host:
            for processors in (1, 2):
                with self.subTest(processors=processors):
                    guest = host.start_command(self._machine(
                        artifacts.child_kernel, artifacts.child_userland,
                        "console=ttyS0 quiet panic=-1 croft.do=poweroff", processors=processors))
                    result = guest.wait(300)
                    report = Report(result.output)
                    self.assertEqual(report.problems(processors), [], result)
                    self.assertEqual(report.clocksource, "hyperv_clocksource_tsc_page")
                    self.assertEqual(result.status, 0, result)
            host.power_off()

    def test_restarts(self):
        artifacts = recipe.obtain()
        with self._host(name="cloud-hypervisor-reset") as host:
            guest = host.start_command(self._machine(
                artifacts.child_kernel, artifacts.child_userland,
                "console=ttyS0 quiet panic=-1 croft.do=reboot"))
            guest.wait_for("(?s)(child: reached user land.*){2}", 300)
            guest.signal()
            self.assertEqual(guest.wait(60).status, 0)
            host.power_off()

    def test_debian(self):
        """On its devices; stopped and going on, and again from what was saved."""
        system = guest_recipe.build()
        drive = f"file={system / 'disk.img'},if=none,id=debian,format=raw,snapshot=on"
        with self._host(name="cloud-hypervisor-debian", qemu=[
                "-drive", drive, "-device", "virtio-blk-pci,drive=debian"]) as host:
            guest = host.start_command(self._machine(
                system / "vmlinuz", system / "initrd.img", boot_line(),
                "--disk", "path=/dev/vdb,image_type=raw",
                "--net", "tap=tap0,ip=192.168.77.1,mask=255.255.255.0",
                "--api-socket", "path=/tmp/api", memory="512M"), terminal=TERMINAL)
            guest.wait_for(rf"(?s){LOGIN}.*?# ", 300)
            shell = GuestShell(guest)
            self.assertEqual(shell.run("nproc; findmnt -no SOURCE,FSTYPE /").split(),
                             ["2", "/dev/vda", "ext4"])
            shell.run("dd if=/dev/urandom of=/var/tmp/random bs=1M count=16 conv=fsync")
            checksum = shell.run(CHECKSUM)
            shell.run("nic=$(ls /sys/class/net | grep -v lo); ip link set $nic up; "
                      "ip address add 192.168.77.2/24 dev $nic; ping -c 3 192.168.77.1")
            self._remote(host, "pause")
            self._remote(host, "resume")
            self._check(host, shell, checksum)

            host.run("mkdir /tmp/saved", check=True)
            for words in (["pause"], ["snapshot", "file:///tmp/saved"], ["shutdown-vmm"]):
                self._remote(host, *words)
            self.assertEqual(guest.wait(60).status, 0)
            guest = host.start_command(
                [self.program, "--restore", "source_url=file:///tmp/saved,resume=true",
                 "--event-monitor", "path=/dev/stdout"], terminal=TERMINAL)
            guest.wait_for('"event": *"resumed"', 120)  # before, it may lose what is typed
            self._check(host, GuestShell(guest), checksum)
            guest.write(b"poweroff\n")
            self.assertEqual(guest.wait(120).status, 0)
            host.power_off()

    @staticmethod
    def _remote(host, *words):
        host.run(["/vmm/ch-remote", "--api-socket", "/tmp/api", *words], check=True, timeout=120)

    def _check(self, host, shell, checksum):
        """Processors, disk and network work."""
        self.assertEqual(shell.run(f"echo 3 >/proc/sys/vm/drop_caches; {CHECKSUM}"), checksum)
        for processor in (0, 1):
            shell.run(f"taskset -c {processor} sleep 0.1")
        host.run(["ping", "-c", "3", "192.168.77.2"], check=True)


if __name__ == "__main__":
    unittest.main()
