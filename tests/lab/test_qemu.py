# SPDX-License-Identifier: Apache-2.0
"""Debian's QEMU, unmodified, on /dev/mshv: somebody else's VMM boots a guest on our hypervisor."""

import unittest

from lab import Host, qemu_guest
from lab.child import Report
from root import recipe


class QemuTest(unittest.TestCase):
    def test_boots_a_stock_kernel(self):
        artifacts = recipe.obtain()
        with Host(qemu=qemu_guest.disk(), name="qemu") as host:
            qemu_guest.mount(host)
            guest = host.start_command(qemu_guest.command(
                "-kernel", qemu_guest.there(artifacts.child_kernel),
                "-initrd", qemu_guest.there(artifacts.child_userland),
                "-append", "console=ttyS0 quiet panic=-1 croft.do=poweroff"))
            qemu_guest.wait_for_power_off(guest, 300)
            said = guest.output.decode(errors="replace")
            report = Report(said)
            self.assertEqual(report.problems(processors=2), [], said)
            self.assertEqual(report.clocksource, "hyperv_clocksource_tsc_page")
            host.power_off()


if __name__ == "__main__":
    unittest.main()
