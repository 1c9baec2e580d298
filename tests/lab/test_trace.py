# SPDX-License-Identifier: Apache-2.0
"""`croft host trace`: exits of root and child as they come, and nothing of it left behind."""

import json
import signal
import unittest

from lab import Host, statistics
from lab.child import worker
from lab.errors import LabError
from lab.guest import CROFT
from root import recipe

TRACE = [CROFT, "host", "trace"]
SERIAL_PORT = 0x3f8


def trace(host, *words, status=0):
    """What it says, a line at a time."""
    result = host.run([*TRACE, *words], timeout=120)
    if result.status != status:
        raise LabError(f"croft host trace {words}: status {result.status}, {result.error}")
    return result.output.splitlines()


def exits(host, *words):
    """Those that were not lost."""
    found = [json.loads(line) for line in trace(host, "--json", *words)]
    return [one for one in found if "lost" not in one]


class TraceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.artifacts = recipe.obtain()

    def _run(self, name, scheduler):
        with Host(name=name, hypervisor_options=[f"scheduler={scheduler}"]) as host:
            # The first trace has the kernel deposit pages, which the root's pool keeps.
            trace(host, "--duration", "1ms")
            self._check_pages(host)
            with host.start_command(worker(self.artifacts, 2, line="croft.do=clock")) as command:
                command.wait_for("child: time", timeout=120)
                child, = statistics.children(host)
                self._check_what_a_child_says(host, child)
                self._check_filters(host, child)
                self._check_summary(host, child)
                command.signal()
                command.wait(30)
            self._check_pages(host)
            host.power_off()

    def test_a_child(self):
        self._run("trace", "classic")

    def test_a_child_where_the_root_schedules(self):
        self._run("trace-root", "root")

    def _check_pages(self, host):
        """They are back when it has ended, however it did."""
        before = statistics.balance(host)
        found = exits(host, "--count", "20")
        self.assertEqual(len(found), 20)
        self.assertEqual({one["partition"] for one in found}, {1})
        self.assertEqual(statistics.balance(host), before)
        trace(host, "--duration", "20ms", "--summary")
        self.assertEqual(statistics.balance(host), before)

    def _check_what_a_child_says(self, host, child):
        """It says it through a port, a byte an instruction."""
        with host.start_command([*TRACE, "--json", "--partition", str(child), "--reason",
                                 "port"]) as tracer:
            text = ""
            seen = 0
            while "child: time" not in text:
                tracer.wait_for(r"(?s)(.*\n){%d}" % (seen + 1), timeout=60)
                lines = tracer.output.decode().splitlines()
                seen = len(lines)
                said = [json.loads(line) for line in lines[:seen - 1]]
                text = "".join(chr(one["value"]) for one in said
                               if one.get("port") == SERIAL_PORT and one["access"] == "out")
            tracer.signal(signal.SIGINT)
            self.assertEqual(tracer.wait(30).status, 130)
        self.assertEqual({one["by"] for one in said}, {"parent"})
        self.assertEqual({one["partition"] for one in said}, {child})
        self.assertTrue(all(one["took_us"] > 0 for one in said))

    def _check_filters(self, host, child):
        for one in exits(host, "--partition", str(child), "--vp", "1", "--reason", "halt",
                         "--count", "3"):
            self.assertEqual((one["partition"], one["vp"], one["reason"], one["by"]),
                             (child, 1, "halt", "waits"))
        for one in exits(host, "--partition", "root", "--lp", "1", "--count", "10"):
            self.assertEqual((one["partition"], one["vp"], one["lp"]), (1, 1, 1))
        writes = exits(host, "--reason", "msr-write", "--count", "10")
        self.assertTrue(all(one["msr"] > 0 and "value" in one for one in writes), writes)
        calls = exits(host, "--reason", "hypercall", "--partition", "root", "--count", "10")
        self.assertTrue(all(one["name"].startswith("HvCall") for one in calls), calls)
        for words in (["--count", "5"], ["--count", "5", "--partition", str(child)]):
            heading, *lines = trace(host, *words)
            self.assertRegex(heading, r"^TIME +LP +PARTITION +VP +REASON +BY +TOOK us +RIP")
            self.assertEqual(len(lines), 5)
            for line in lines:
                self.assertRegex(line, r"^\d\d:\d\d:\d\d\.\d{6} +[01] +(root|%d) +[01] " % child)

    def _check_summary(self, host, child):
        said = "\n".join(trace(host, "--partition", str(child), "--duration", "3s", "--summary",
                               "--json"))
        found = json.loads(said)
        self.assertGreaterEqual(found["seconds"], 3)
        ports = found["reasons"]["port"]
        self.assertEqual(ports["for_parent"], ports["count"])
        # A worker's answer takes longer than it takes to hand it the question.
        self.assertGreater(ports["parent_mean_us"], ports["mean_us"])
        self.assertGreaterEqual(ports["parent_max_us"], ports["parent_mean_us"])

    def test_who_may_and_how_it_ends(self):
        with Host(name="trace-ends") as host:
            trace(host, "--duration", "1ms")
            before = statistics.balance(host)
            self._check_one_at_a_time(host)
            self.assertEqual(statistics.balance(host), before)
            self._check_a_killed_one(host, before)
            self._check_all_killed(host, before)
            said = host.run(f"{CROFT} host trace | head -n 3", check=True).output
            self.assertEqual(len(said.splitlines()), 3)
            self.assertEqual(statistics.balance(host), before)
            self._check_unprivileged(host)
            self.assertEqual(statistics.balance(host), before)
            host.power_off()
        with Host(name="trace-without", hypervisor=False) as host:
            result = host.run([*TRACE, "--count", "1"])
            self.assertEqual(result.status, 2)
            self.assertIn("start this machine under Undercroft", result.error)
            host.power_off()

    def _check_one_at_a_time(self, host):
        with host.start_command(TRACE) as tracer:
            tracer.wait_for(r"\n.*root")
            result = host.run([*TRACE, "--count", "1"])
            self.assertEqual(result.status, 2)
            self.assertIn("already", result.error)
            said = len(tracer.output)
            host.run(["true"])
            tracer.wait_for(r"(?s).{%d}.*root" % said)
            tracer.signal(signal.SIGTERM)
            self.assertEqual(tracer.wait(30).status, 130)

    def _check_a_killed_one(self, host, before):
        """Its keeper ends the trace, and only then can another begin."""
        with host.start_command([*TRACE, "--summary"]) as tracer:
            self._wait_until_on(host, before)
            tracer.signal(signal.SIGKILL)
            tracer.wait(30)
            host.run("while pgrep -x croft; do :; done", check=True)
        self.assertEqual(statistics.balance(host), before)

    def _check_all_killed(self, host, before):
        """The pages are what it costs; the next one gives them back."""
        with host.start_command([*TRACE, "--summary"]) as tracer:
            self._wait_until_on(host, before)
            host.run("pkill -KILL -x croft", check=True)
            tracer.wait(30)
            host.run("while pgrep -x croft; do :; done", check=True)
        left = before["free pages"] - statistics.balance(host)["free pages"]
        self.assertEqual(left, 2 * 9)
        trace(host, "--duration", "1ms")
        self.assertEqual(statistics.balance(host), before)

    def _wait_until_on(self, host, before):
        while before["free pages"] - statistics.balance(host)["free pages"] < 2 * 9:
            pass

    def _check_unprivileged(self, host):
        host.run("echo 'nobody:x:65534:65534::/:/bin/sh' >>/etc/passwd", check=True)

        def as_nobody(command):
            return host.run(["busybox", "su", "nobody", "-s", "/bin/sh", "-c", command])

        self.assertEqual(as_nobody("id -u").output.strip(), "65534")
        result = as_nobody(f"{CROFT} host trace --count 1")
        self.assertEqual(result.status, 2)
        self.assertIn("/dev/mshv: found no permission", result.error)
        # One who may make VMs is not one who may read MSRs.
        host.run("chmod 666 /dev/mshv", check=True)
        result = as_nobody(f"{CROFT} host trace --count 1")
        self.assertEqual(result.status, 2)
        self.assertIn("run this as root", result.error)
        self.assertEqual(as_nobody("cat /dev/cpu/0/msr").status, 1)
        host.run("chmod 666 /dev/cpu/0/msr", check=True)
        self.assertRegex(as_nobody(f"{CROFT} host trace --count 1").error, "run this as root")


if __name__ == "__main__":
    unittest.main()
