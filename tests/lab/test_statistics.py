# SPDX-License-Identifier: Apache-2.0
"""The hypervisor's statistics pages: what they count, and that they go on counting after the root
has mapped them."""

import json
import unittest

from lab import Host, statistics
from lab.child import worker
from lab.guest import CROFT
from root import recipe


class StatisticsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.artifacts = recipe.obtain()

    def test_logical_processors(self):
        with Host(name="statistics-processors") as host:
            self.assertEqual(statistics.read(host)["HvLogicalProcessors"], 2)
            for number in range(2):
                what = f"lp/{number}"
                before = statistics.read(host, what)
                # To sleep is to give the processor back, and a timer ends it.
                host.run(f"taskset -c {number} sleep 0.01", check=True)
                after = statistics.read(host, what)
                for name in ("LpGlobalTime", "LpTotalRunTime", "LpHypervisorRunTime",
                             "LpHardwareInterrupts", "LpContextSwitches"):
                    with self.subTest(processor=number, counter=name):
                        self.assertGreater(after[name], before[name])
                self.assertEqual(after["LpRootVpIndex"], number)
                # Sleep is nobody's run time.
                spent = {name: after[name] - before[name] for name in after}
                self.assertLessEqual(spent["LpTotalRunTime"], spent["LpGlobalTime"])
                self.assertLess(spent["LpHypervisorRunTime"], spent["LpTotalRunTime"])
            host.power_off()

    def test_a_child(self):
        with Host(name="statistics-child") as host:
            alone = statistics.balance(host)
            self.assertEqual(alone["partitions"], 1)
            self.assertEqual(alone["virtual processors"], 2)
            command = host.start_command(worker(self.artifacts, 2, line="croft.do=clock"))
            command.wait_for("child: time", timeout=120)
            together = statistics.balance(host)
            self.assertEqual(together["partitions"], 2)
            self.assertEqual(together["virtual processors"], 4)
            child, = statistics.children(host)
            counters = statistics.read(host, f"partition/{child}")
            self.assertEqual(counters["PtPartitionId"], child)
            self.assertEqual(counters["PtVirtualProcessors"], 2)
            self.assertEqual(together["pages"],
                             together["the root's pages"] + counters["PtDepositedPages"])
            self._check_memory(host, child)
            switches = [statistics.world_switches(host, child)]
            for number in range(2):
                what = f"partition/{child}/vp/{number}"
                before = statistics.read(host, what)
                said = command.output.count(b"child: time")
                command.wait_for(r"(?s)(child: time.*){%d}" % (said + 2))
                after = statistics.read(host, what)
                # The second processor of an idle child may well sleep all the time.
                self.assertGreaterEqual(after["VpTotalRunTime"], before["VpTotalRunTime"])
                if number == 0:
                    for name in ("VpTotalRunTime", "VpLogicalProcessorDispatches"):
                        self.assertGreater(after[name], before[name], name)
            self._check_command(host, child)
            # What the child says goes through a port, a byte an instruction.
            switches.append(statistics.world_switches(host, child))
            self.assertGreater(switches[1], switches[0] + 20)
            command.signal()
            command.wait(30)
            self.assertEqual(statistics.balance(host)["partitions"], 1)
            host.power_off()

    def _check_command(self, host, child):
        """What `croft host stats` makes of them."""
        said = host.run([CROFT, "host", "stats", "--json", "--interval", "3"], check=True).output
        found = json.loads(said)
        self.assertEqual([one["index"] for one in found["processors"]], [0, 1])
        self.assertEqual([one["id"] for one in found["partitions"]], [1, child])
        guest = found["partitions"][1]
        self.assertEqual([one["index"] for one in guest["virtual_processors"]], [0, 1])
        self.assertGreater(guest["mapped_2m"], 8)
        exits = guest["virtual_processors"][0]["exits"]
        self.assertGreater(exits["port"], 0)
        self.assertGreater(exits["halt"], 0)

    def _check_memory(self, host, child):
        """Memory that the host backs with large pages reaches the child as such."""
        counters = statistics.read(host, f"partition/{child}")
        small, large = counters["PtGpaPages4K"], counters["PtGpaPages2M"]
        self.assertEqual(counters["PtGpaPages"], small + 512 * large)
        # The child has 256 MiB; of what it has touched nearly all is in large pages.
        self.assertGreater(large, 8)
        self.assertGreater(512 * large, small)


if __name__ == "__main__":
    unittest.main()
