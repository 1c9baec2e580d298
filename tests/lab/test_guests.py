# SPDX-License-Identifier: Apache-2.0
"""Children of a few instructions, over the hv library: modes, intercepts, signals, scheduling."""

import unittest

from lab import Host


class GuestsTest(unittest.TestCase):
    def test_partitions(self):
        for processors in (1, 2):
            with self.subTest(processors=processors), \
                    Host(processors=processors, name=f"guests-{processors}") as host:
                result = host.run("/build/tests/guests/partition-test", timeout=120)
                self.assertEqual(result.status, 0, f"{result.output}\n{result.error}")
                host.power_off()


if __name__ == "__main__":
    unittest.main()
