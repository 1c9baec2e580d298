# SPDX-License-Identifier: Apache-2.0
"""What bad input gets: one clear line, and nobody else is harmed."""

import unittest

from lab import Host, statistics
from lab.child import Report, worker
from root import recipe


class BadInputTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.artifacts = recipe.obtain()

    def _one_line(self, result, found, expected):
        """Exit status 1, nothing on standard output, and one line of error: what was found, what
        was expected, what to do."""
        self.assertEqual((result.status, result.output), (1, ""), result)
        line = rf"croft-worker: {found}, expected {expected}; [^;\n]+\n"
        self.assertRegex(result.error, rf"\A{line}\Z")

    def test_requests_that_cannot_be_met(self):
        with Host(name="bad-requests") as host:
            def run(option, value):
                words = worker(self.artifacts)
                words[words.index(option) + 1] = value
                return host.run(words)

            length = len(host.run(["cat", "/etc/passwd"], check=True).output)
            kernel = r"/cache/\S+/vmlinuz"
            self._one_line(run("--kernel", "/etc/passwd"),
                           f"kernel /etc/passwd: found {length} bytes",
                           "at least the setup header of a bzImage")
            self._one_line(run("--kernel", "/nowhere"),
                           "kernel /nowhere: found No such file or directory",
                           "a file of at most 1024 MiB that can be read")
            self._one_line(run("--memory", "4M"), "memory: found 4 MiB",
                           rf"at least \d+ MiB, which kernel {kernel} needs to start")
            self._one_line(run("--memory", "5M"), "memory: found 5242880 bytes",
                           "a multiple of 2 MiB from 2 MiB to 512 GiB")
            self._one_line(run("--memory", "64G"), r"memory: found \d+ MiB available on this host",
                           "at least the VM's 65536")
            self._check_child(host)
            host.power_off()

    def test_no_hypervisor(self):
        with Host(hypervisor=False, name="bad-no-hypervisor") as host:
            self._one_line(host.run(worker(self.artifacts)), "/dev/mshv: found no such device",
                           "the hypervisor's")
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
            for image, pattern in (
                    ("triple-fault", r"found an exception .* \(triple fault\), expected"),
                    ("jump-nowhere", "no memory")):
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
