# SPDX-License-Identifier: Apache-2.0
"""Who runs when: the mode in which the root schedules its children."""

import contextlib
import re
import unittest

from lab import Host, bare_guest, statistics
from lab.child import Report, worker
from lab.guest import DebianGuest
from root import recipe


class RootSchedulerTest(unittest.TestCase):
    """scheduler=root: virtual processors are threads of the root's Linux, which its driver runs by
    HvCallDispatchVp."""

    @classmethod
    def setUpClass(cls):
        cls.artifacts = recipe.obtain()

    def _check(self, result, processors):
        self.assertEqual(result.status, 0, f"{result.output}\n{result.error}")
        report = Report(result.output)
        self.assertEqual(report.problems(processors), [], result.output)

    def _check_log(self, host):
        log = host.run("dmesg", check=True).output
        self.assertIn("Hypervisor using root scheduler", log)
        self.assertNotIn("WARNING:", log)
        missing = [line for line in host.console.lines if "deposited pages are missing" in line]
        self.assertEqual(missing, [])

    def test_children(self):
        with Host(name="scheduler-root", hypervisor_options=["scheduler=root"]) as host:
            # More processors than the machine has, and more than one child.
            commands = [host.start_command(worker(self.artifacts, 2)) for _ in range(2)]
            for command in commands:
                command.close_input()
            for command in commands:
                self._check(command.wait(240), 2)
            # What they have made the root deposit for itself stays; another one needs no more.
            before = statistics.balance(host)
            self._check(host.run(worker(self.artifacts, 2), timeout=120), 2)
            self.assertEqual(statistics.balance(host), before)
            self._check_log(host)
            host.power_off()

    def test_bare_guests(self):
        with Host(name="scheduler-root-bare", hypervisor_options=["scheduler=root"]) as host:
            # Bare guests: intercepts, signals, processors that are started, ones that spin.
            result = host.run("/build/tests/guests/partition-test", timeout=240)
            self.assertEqual(result.status, 0, f"{result.output}\n{result.error}")
            self._check_log(host)
            host.power_off()

    def test_on_one_processor(self):
        with Host(processors=1, name="scheduler-root-one",
                  hypervisor_options=["scheduler=root"]) as host:
            self._check(host.run(worker(self.artifacts, 2), timeout=120), 2)
            self._check_log(host)
            host.power_off()

    def test_a_stock_guest(self):
        with Host(name="scheduler-root-debian", memory="4G",
                  hypervisor_options=["scheduler=root"]) as host:
            guest = DebianGuest(host)
            guest.start()
            self.assertEqual(guest.run("nproc"), "2\n")
            child, = statistics.children(host)
            for number in range(2):
                counters = statistics.read(host, f"partition/{child}/vp/{number}")
                self.assertGreater(counters["VpTotalRunTime"], 0)
                self.assertGreater(counters["VpLogicalProcessorDispatches"], 0)
            ended = guest.shut_down()
            self.assertEqual((ended.status, ended.error), (0, ""))
            self._check_log(host)
            host.power_off()


@contextlib.contextmanager
def busy(host, *guests):
    """Guests that compute while the block lasts, each the worker's options (`processors` first);
    yields their partitions' ids."""
    with contextlib.ExitStack() as stack:
        running, ids = [], []
        for processors, *options in guests:
            words = bare_guest.worker(bare_guest.BUSY, memory="64M", processors=processors)
            one = stack.enter_context(host.start_command([*words, *options]))
            running.append(one)
            one.wait_for(bare_guest.BUSY_WORD, 300)
            ids += set(statistics.children(host)) - set(ids)
        yield ids
        for one in running:
            one.signal(9)
            one.wait(30)


def shares(host, children, seconds, *, meanwhile=""):
    """What part of one processor's time each partition has while the root sleeps, the root first;
    and what each logical processor has run."""
    files = [f"{statistics.HOME}/partition/{number}/vp/*/stats" for number in (1, *children)]
    files += [f"{statistics.HOME}/lp/{number}/stats" for number in range(host.processors)]
    # A virtual processor's time is written when it gives way, as it does to the root's.
    wake = [f"taskset -c {number} true" for number in range(host.processors)]
    clock = "cut -d' ' -f1 /proc/uptime"
    look = "; ".join([*wake, clock, *(f"echo; cat {file}" for file in files)])
    said = host.run(f"{look}; echo; {meanwhile} sleep {seconds}; {look}", check=True,
                    timeout=600).output.split("\n\n")
    clocks, times = [], []
    for text in said:
        if re.fullmatch(r"[\d.]+\n?", text):
            clocks.append(float(text))
        else:
            times.append(sum(int(ticks) for ticks in
                             re.findall(r"^(?:Vp|Lp)TotalRunTime *: (\d+)$", text, re.M)) / 1e7)
    half = len(files)
    elapsed = clocks[1] - clocks[0]
    return [(times[half + i] - times[i]) / elapsed for i in range(half)]


class SharesTest(unittest.TestCase):
    """Weight, cap and reserve, by instructions that are counted: what comes out is the same each
    time."""

    def test_of_one_processor(self):
        with Host(processors=1, icount=0, memory="2G", name="scheduler-shares",
                  boot_timeout=240) as host:
            with self.subTest("weight"), busy(
                    host, (1, "--weight", "100"), (1, "--weight", "300")) as children:
                _, light, heavy, _ = shares(host, children, 2)
                self.assertAlmostEqual(light / (light + heavy), 0.25, delta=0.005)
                self.assertGreater(light + heavy, 0.9)
            with self.subTest("cap"), busy(host, (1, "--cap", "25")) as children:
                _, capped, _ = shares(host, children, 2)
                self.assertAlmostEqual(capped, 0.25, delta=0.0025)
            with self.subTest("reserve"), busy(
                    host, (1, "--weight", "1", "--reserve", "40"),
                    (1, "--weight", "10000")) as children:
                _, small, _, _ = shares(host, children, 2)
                self.assertGreater(small, 0.39)
            with self.subTest("the root's own"), busy(
                    host, (1, "--weight", "10000"), (1, "--weight", "10000")) as children:
                loop = "timeout 3 sh -c 'while :; do :; done' & "
                root, *_ = shares(host, children, 2, meanwhile=loop)
                self.assertGreater(root, 0.24)
            with self.subTest("long spins"):
                said = bare_guest.run(host, bare_guest.worker(bare_guest.SPINNING, memory="64M"))
                times = {name: int(value) for name, value in
                         re.findall(r"^row (\w+) (\d+)\r?$", said, re.MULTILINE)}
                self.assertEqual(list(times), ["untold", "told"], said)
                # Who only spins does so to the end of its turn.
                self.assertLess(10 * times["told"], times["untold"])
            self._check_refusals(host)
            host.power_off()

    def _check_refusals(self, host):
        for option, value, words in (("--reserve", "76", "reserve of 76"),
                                     ("--host-processors", "1-3", "host processors 1-3"),
                                     ("--node", "9", "node 9"), ("--weight", "10001", "10001")):
            with self.subTest(option):
                result = host.run([*bare_guest.worker(bare_guest.BUSY, memory="64M", processors=1),
                                   option, value])
                self.assertEqual(result.status, 1)
                self.assertIn(words, result.error)


class PlacementTest(unittest.TestCase):
    def test_affinity_and_node(self):
        nodes = ["-object", "memory-backend-ram,id=m0,size=1G",
                 "-object", "memory-backend-ram,id=m1,size=1G",
                 "-numa", "node,nodeid=0,cpus=0,memdev=m0",
                 "-numa", "node,nodeid=1,cpus=1,memdev=m1"]
        with Host(memory="2G", name="scheduler-placement", qemu=nodes) as host:
            for where in (["--host-processors", "1"], ["--node", "1"]):
                with self.subTest(where), busy(host, (1, *where)) as children:
                    _, _, first, second = shares(host, children, 2)
                    self.assertGreater(second, 2 * first)
            # One processor can't give more than itself; two do.
            with self.subTest("two on one"), busy(
                    host, (2, "--host-processors", "1")) as children:
                _, child, _, _ = shares(host, children, 2)
                self.assertLess(child, 1.05)
            with self.subTest("two on two"), busy(host, (2,)) as children:
                _, child, _, _ = shares(host, children, 2)
                self.assertGreater(child, 1.2)
            # Three that compute take turns on two processors: none has one for itself.
            with self.subTest("three on two"), busy(host, (1,), (1,), (1,)) as children:
                _, *three, _, _ = shares(host, children, 3)
                self.assertLess(max(three), 1.3 * min(three))
            host.power_off()


if __name__ == "__main__":
    unittest.main()
