# SPDX-License-Identifier: Apache-2.0
"""A host of more processors than eight: the root has all, and a child is on the last."""

import unittest

from lab import Host, statistics
from lab.child import Report, worker
from root import recipe

PROCESSORS = 12


def run_times(host):
    """How long each logical processor has run, in units of 100 ns."""
    return [statistics.read(host, f"lp/{number}")["LpTotalRunTime"]
            for number in range(PROCESSORS)]


class ManyProcessorsTest(unittest.TestCase):
    def test_a_child_on_the_last_of_twelve(self):
        with Host(processors=PROCESSORS, memory="2G", name="twelve-processors",
                  boot_timeout=240) as host:
            online = host.run("cat /sys/devices/system/cpu/online", check=True).output
            self.assertEqual(online, f"0-{PROCESSORS - 1}\n")
            before = run_times(host)
            result = host.run(worker(recipe.obtain(), 2, options=(
                "--host-processors", str(PROCESSORS - 1))), timeout=300)
            self.assertEqual(result.status, 0, f"{result.output}\n{result.error}")
            self.assertEqual(Report(result.output).problems(2), [], result.output)
            times = [now - then for then, now in zip(before, run_times(host))]
            self.assertEqual(max(times), times[-1], times)
            host.power_off(timeout=60)


if __name__ == "__main__":
    unittest.main()
