# SPDX-License-Identifier: Apache-2.0
"""A guest, and a program in the root, that try everything, and a guest that rewrites what is looked
at: the host stands and loses nothing.

HOSTILE_CALLS is how many hypercalls the guest makes at the least."""

import os
import unittest

from lab import Host, statistics


def kept(host):
    """What the hypervisor spends on partitions: how many there are, and pages in use."""
    now = statistics.balance(host)
    return now["partitions"], now["pages"] - now["free pages"]


class HostileTest(unittest.TestCase):
    def _run(self, who, scheduler="classic"):
        with Host(processors=2, name=f"hostile-{who.lower()}-{scheduler}",
                  hypervisor_options=[f"scheduler={scheduler}"]) as host:
            calls = int(os.environ.get("HOSTILE_CALLS", "0"))
            before = kept(host)
            result = host.run(["env", f"HOSTILE_CALLS={calls}", "/build/tests/guests/hostile-test",
                               f"--gtest_filter=*.{who}"], timeout=120 + calls // 500)
            print(result.output, flush=True)
            self.assertEqual(result.status, 0, f"{result.output}\n{result.error}")
            missing = [line for line in host.console.lines if "are missing" in line]
            self.assertEqual(missing, [])
            self.assertEqual(kept(host), before)
            host.power_off()

    def test_guest(self):
        self._run("Guest")

    def test_root(self):
        self._run("Root")

    def test_race(self):
        self._run("Race")

    def test_guest_where_the_root_schedules(self):
        self._run("Guest", "root")

    def test_root_where_the_root_schedules(self):
        self._run("Root", "root")

    def test_race_where_the_root_schedules(self):
        self._run("Race", "root")


if __name__ == "__main__":
    unittest.main()
