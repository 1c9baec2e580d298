# SPDX-License-Identifier: Apache-2.0
"""Children of a few instructions, over the hv library: modes, intercepts, signals, scheduling; and
kernels in plain C."""

import re
import unittest

from lab import Host


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
        """It speaks TAP, and doesn't end by itself."""
        worker = host.start_command(["/build/worker/croft-worker", "--kernel",
                                     f"/build/tests/guests/bare/{guest}", "--memory", "64M"])
        worker.wait_for(r"^done\r?$")
        said = worker.output.decode().replace("\r", "")
        worker.signal()
        worker.wait(30)
        planned = int(re.search(r"^1\.\.(\d+)$", said, re.MULTILINE)[1])
        self.assertGreater(planned, 10)
        self.assertEqual(len(re.findall(r"^ok ", said, re.MULTILINE)), planned, said)


if __name__ == "__main__":
    unittest.main()
