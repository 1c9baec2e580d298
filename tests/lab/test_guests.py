# SPDX-License-Identifier: Apache-2.0
"""Children of a few instructions, over the hv library: modes, intercepts, signals, scheduling; and
kernels in plain C."""

import unittest

from lab import Host, bare_guest, tap


class GuestsTest(unittest.TestCase):
    def test_partitions(self):
        for processors in (1, 2):
            with self.subTest(processors=processors), \
                    Host(processors=processors, name=f"guests-{processors}") as host:
                result = host.run("/build/tests/guests/partition-test", timeout=120)
                self.assertEqual(result.status, 0, f"{result.output}\n{result.error}")
                for guest in ("hypercall-guest", "hypercall-guest-32"):
                    self._check_plain_c(host, guest)
                host.power_off()

    def _check_plain_c(self, host, guest):
        command = bare_guest.worker(f"/build/tests/guests/bare/{guest}", memory="64M", processors=1)
        said = bare_guest.run(host, command, timeout=60)
        report = tap.parse(said)
        self.assertTrue(report.complete, said)
        self.assertGreater(report.planned, 10)
        self.assertEqual([check.result for check in report.checks], ["ok"] * report.planned, said)


if __name__ == "__main__":
    unittest.main()
