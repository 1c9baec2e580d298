# SPDX-License-Identifier: Apache-2.0
"""What bad input gets: one clear line, and nobody else is harmed."""

import unittest

from lab import Host, statistics
from lab.child import Report
from root import recipe
from test_child import worker


class BadInputTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.artifacts = recipe.obtain()

    def _one_line(self, result, pattern):
        self.assertEqual(result.status, 1, result)
        lines = result.error.strip().splitlines()
        self.assertEqual(len(lines), 1, result.error)
        self.assertRegex(lines[0], pattern)

    def test_requests_that_cannot_be_met(self):
        with Host(name="bad-requests") as host:
            words = worker(self.artifacts)
            kernel = words.index("--kernel") + 1
            memory = words.index("--memory") + 1
            self._one_line(host.run(words[:kernel] + ["/etc/passwd"] + words[kernel + 1:]),
                           "kernel")
            self._one_line(host.run(words[:kernel] + ["/nowhere"] + words[kernel + 1:]), "/nowhere")
            self._one_line(host.run(words[:memory] + ["4M"] + words[memory + 1:]), "memory")
            self._one_line(host.run(words[:memory] + ["64G"] + words[memory + 1:]), "memory")
            self._check_child(host)
            host.power_off()

    def test_no_hypervisor(self):
        with Host(hypervisor=False, name="bad-no-hypervisor") as host:
            self._one_line(host.run(worker(self.artifacts)), "/dev/mshv")
            host.power_off()

    def _check_child(self, host, processors=1):
        result = host.run(worker(self.artifacts, processors), timeout=120)
        self.assertEqual(result.status, 0, f"{result.output}\n{result.error}")
        self.assertEqual(Report(result.output).problems(processors), [])

    def test_guest_that_cannot_go_on(self):
        """Kernels of one instruction; another child goes on beside them."""
        with Host(name="bad-guest") as host:
            other = host.start_command(worker(self.artifacts, line="croft.do=clock"))
            other.wait_for("child: time", timeout=120)
            for image, pattern in (("triple-fault", "triple fault"), ("jump-nowhere", "no memory")):
                with self.subTest(guest=image):
                    result = host.run(["/build/worker/croft-worker", "--kernel",
                                       f"/build/tests/guests/{image}", "--memory", "64M"])
                    self.assertEqual(result.status, 1, result)
                    # The processor's registers come first.
                    self.assertRegex(result.error.strip().splitlines()[-1], pattern)
            said = other.output.count(b"child: time")
            other.wait_for(r"(?s)(child: time.*){%d}" % (said + 2))
            other.signal()
            host.power_off()

    def test_worker_that_dies(self):
        with Host(name="bad-worker-dies") as host:
            self._check_child(host, 2)
            before = statistics.balance(host)
            self.assertEqual(before["partitions"], 1)
            command = host.start_command(worker(self.artifacts, 2, line="croft.do=clock"))
            command.wait_for("child: time", timeout=120)
            during = statistics.balance(host)
            self.assertEqual(during["partitions"], 2)
            self.assertGreater(during["pages"], before["pages"])
            host.run("kill -9 $(pidof croft-worker)", check=True)
            command.wait(30)
            self.assertEqual(statistics.balance(host), before)
            missing = [line for line in host.console.lines if "are missing" in line]
            self.assertEqual(missing, [])
            self._check_child(host)
            host.power_off()


if __name__ == "__main__":
    unittest.main()
