# SPDX-License-Identifier: Apache-2.0
"""The hypervisor's statistics pages: what they count, and that they go on counting after the root
has mapped them."""

import json
import time
import unittest

from lab import Host, bare_guest, statistics
from lab.child import worker
from lab.guest import CROFT
from root import recipe

# How often tests/guests/bare/counted_guest.c does what.
COUNTED = {
    "VpAddressSpaceFlushes": 3,
    "VpAddressDomainFlushes": 5,
    "VpLocalGvaRangeFlushes": 7,
    "VpGlobalGvaRangeFlushes": 9,
    "VpVirtualMmuHypercalls": 3 + 5 + 3,
    "VpVirtualInterruptHypercalls": 11,
    "VpLongSpinWaitHypercalls": 13,
    "VpOtherHypercalls": 1,
    "VpDepositHypercalls": 1,
    "VpGpaSpaceHypercalls": 0,
    "VpLogicalProcessorHypercalls": 0,
    "VpSyntheticInterruptHypercalls": 0,
    "VpVirtualProcessorHypercalls": 0,
    # One more that nobody knows.
    "VpHypercallsCount": 3 + 5 + 3 + 11 + 13 + 1 + 1 + 1,
    "VpApicSelfIpisSent": 17,
    "VpApicIpisSent": 17 + 6,
}


def seen(host, children, name):
    """A counter of all virtual processors of all these partitions together."""
    files = [f"{statistics.HOME}/partition/{child}/vp/*/stats" for child in children]
    said = host.run(f"cat {' '.join(files)}", check=True).output
    return sum(int(line.split(":")[1]) for line in said.splitlines()
               if line.split(":")[0].strip() == name)


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
                             "LpTimerInterrupts", "LpContextSwitches", "LpProcessorHalts",
                             "LpC1TransitionsCount", "LpC1RunTime"):
                    with self.subTest(processor=number, counter=name):
                        self.assertGreater(after[name], before[name])
                self.assertEqual(after["LpRootVpIndex"], number)
                # Sleep is nobody's run time.
                spent = {name: after[name] - before[name] for name in after}
                self.assertLessEqual(spent["LpTotalRunTime"], spent["LpGlobalTime"])
                self.assertLess(spent["LpHypervisorRunTime"], spent["LpTotalRunTime"])
                self.assertLess(spent["LpC1RunTime"], spent["LpGlobalTime"])
            # One processor has the other wake up, and devices interrupt one of them.
            before = self._both(host)
            host.run("taskset -c 0 true; taskset -c 1 true; taskset -c 0 true", check=True)
            after = self._both(host)
            for name in ("LpInterProcessorInterruptsSent", "LpSchedulerInterrupts",
                         "LpHardwareInterrupts"):
                self.assertGreater(after[name], before[name], name)
            received = after["LpSchedulerInterrupts"] + after["LpInterProcessorInterrupts"]
            self.assertGreater(received, 0.9 * after["LpInterProcessorInterruptsSent"])
            host.power_off()

    def _both(self, host):
        each = [statistics.read(host, f"lp/{number}") for number in range(2)]
        return {name: each[0][name] + each[1][name] for name in each[0]}

    def test_what_a_guest_does(self):
        with Host(name="statistics-guest") as host:
            with host.start_command(bare_guest.worker(
                    "/build/tests/guests/bare/counted-guest", memory="64M",
                    processors=1)) as command:
                command.wait_for(bare_guest.LAST_WORD, 120)
                self.assertNotIn(b"not ok", command.output)
                child, = statistics.children(host)
                counters = statistics.read(host, f"partition/{child}/vp/0")
                self.assertEqual({name: counters[name] for name in COUNTED}, COUNTED)
                command.signal(9)
                command.wait(30)
            # The worker's calls for it are the root's.
            for name in ("VpGpaSpaceHypercalls", "VpDepositHypercalls", "VpOtherHypercalls",
                         "VpVirtualProcessorHypercalls"):
                self.assertGreater(seen(host, [1], name), 0, name)
            host.power_off()

    def test_waiting(self):
        """Who computes for ever either runs or waits for its turn."""
        with Host(name="statistics-waiting", processors=1) as host:
            words = bare_guest.worker(bare_guest.BUSY, memory="64M", processors=1)
            with host.start_command(words) as one, host.start_command(words) as other:
                for command in (one, other):
                    command.wait_for(bare_guest.BUSY_WORD, 300)
                children = statistics.children(host)
                # While the root reads, neither runs.
                before = [statistics.read(host, f"partition/{child}/vp/0") for child in children]
                begin = statistics.read(host, "lp/0")["LpGlobalTime"]
                host.run("sleep 1", check=True)
                after = [statistics.read(host, f"partition/{child}/vp/0") for child in children]
                elapsed = statistics.read(host, "lp/0")["LpGlobalTime"] - begin
                for then, now in zip(before, after):
                    spent = {name: now[name] - then[name]
                             for name in ("VpTotalRunTime", "VpWaitingForCpuTime")}
                    self.assertGreater(spent["VpWaitingForCpuTime"], 0.3 * elapsed)
                    self.assertAlmostEqual(sum(spent.values()) / elapsed, 1, delta=0.1)
                for command in (one, other):
                    command.signal(9)
                    command.wait(30)
            host.power_off()

    def test_migrations(self):
        """Three that compute for ever have the same part of two processors, so they change."""
        with Host(name="statistics-migrations") as host:
            words = bare_guest.worker(bare_guest.BUSY, memory="64M", processors=3)
            with host.start_command(words) as command:
                command.wait_for(bare_guest.BUSY_WORD, 300)
                children = statistics.children(host)
                before = seen(host, children, "VpLogicalProcessorMigrations")
                deadline = time.monotonic() + 120
                while seen(host, children, "VpLogicalProcessorMigrations") < before + 10:
                    self.assertLess(time.monotonic(), deadline, "none moves to another processor")
                # The root's belong to one each.
                self.assertEqual(seen(host, [1], "VpLogicalProcessorMigrations"), 0)
                command.signal(9)
                command.wait(30)
            host.power_off()

    def test_a_child(self):
        with Host(name="statistics-child") as host:
            alone = statistics.balance(host)
            self.assertEqual(alone["partitions"], 1)
            self.assertEqual(alone["virtual processors"], 2)
            root = statistics.read(host, "partition/1")
            self.assertEqual(root["PtNumberofActiveChildPartitions"], 0)
            self.assertGreater(root["PtDeviceInterruptMappings"], 0)
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
            self.assertEqual(
                statistics.read(host, "partition/1")["PtNumberofActiveChildPartitions"], 1)
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
            self.assertEqual(
                statistics.read(host, "partition/1")["PtNumberofActiveChildPartitions"], 0)
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
        self.assertGreater(guest["virtual_processors"][0]["waiting_percent"], 0)
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
        # Each mapping is a modification; the pages of the hypervisor's in it make holes.
        self.assertGreater(counters["PtGpaSpaceModifications"], large)
        self.assertGreater(counters["PtPagesShattered"], 0)


if __name__ == "__main__":
    unittest.main()
