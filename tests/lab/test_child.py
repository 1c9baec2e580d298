# SPDX-License-Identifier: Apache-2.0
"""Child partitions with Debian's own kernel: processors, clock, several at once, many in a row."""

import re
import unittest

from lab import Host, statistics
from lab.child import Report
from root import recipe


def worker(host_artifacts, processors=1, memory="256M", line="croft.do=poweroff"):
    cache = recipe.cache.directory()
    return ["/build/worker/croft-worker",
            "--kernel", f"/cache/{host_artifacts.child_kernel.relative_to(cache)}",
            "--initrd", f"/cache/{host_artifacts.child_userland.relative_to(cache)}",
            "--cmdline", f"console=ttyS0 quiet {line}",
            "--memory", memory, "--processors", str(processors)]


class ChildTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.artifacts = recipe.obtain()

    def _check(self, result, processors):
        self.assertEqual(result.status, 0, f"{result.output}\n{result.error}")
        self.assertEqual(Report(result.output).problems(processors), [], result.output)

    def _assert_pages_accounted(self, host):
        missing = [line for line in host.console.lines if "deposited pages are missing" in line]
        self.assertEqual(missing, [])

    def test_processors(self):
        with Host(name="child-processors") as host:
            for processors in (1, 2, 4):
                with self.subTest(processors=processors):
                    result = host.run(worker(self.artifacts, processors), timeout=120)
                    self._check(result, processors)
            host.power_off()

    def test_on_one_processor(self):
        with Host(processors=1, name="child-on-one") as host:
            self._check(host.run(worker(self.artifacts, 2), timeout=120), 2)
            host.power_off()

    def test_clock(self):
        seconds = 10
        with Host(name="child-clock") as host:
            words = " ".join(f"'{word}'" for word in worker(self.artifacts, line="croft.do=clock"))
            # Each line gets the root's time as it passes.
            command = host.start_command(
                f"{words} </dev/null | while read -r line; do read -r up _ </proc/uptime; "
                'echo "root $up $line"; done')
            stamp = rb"root [\d.]+ child: time \d+ up [\d.]+"
            command.wait_for(rb"(?:" + stamp + rb"[^\n]*\n[^\n]*?){%d}" % (seconds + 2),
                             timeout=120)
            stamps = re.findall(rb"root ([\d.]+) child: time \d+ up ([\d.]+)", command.output)
            command.signal()
            # The first line still waits for the console to drain.
            (root_begin, child_begin), (root_end, child_end) = (
                [float(number) for number in stamps[index]] for index in (1, seconds + 1))
            ratio = (child_end - child_begin) / (root_end - root_begin)
            self.assertAlmostEqual(ratio, 1.0, delta=0.01)
            host.power_off()

    def test_four_at_once(self):
        with Host(name="child-four") as host:
            commands = [host.start_command(worker(self.artifacts, 2)) for _ in range(4)]
            for command in commands:
                command.close_input()
            for command in commands:
                self._check(command.wait(240), 2)
            self._assert_pages_accounted(host)
            host.power_off()

    def test_twenty_in_a_row(self):
        """Children that come and go leave nothing behind."""
        with Host(name="child-twenty") as host:
            self._check(host.run(worker(self.artifacts, 2), timeout=120), 2)
            # What the first has made the root deposit for itself stays.
            after_first = statistics.balance(host)
            self.assertEqual(after_first["partitions"], 1)
            self.assertGreater(after_first["free pages"], 0)
            for _ in range(19):
                self._check(host.run(worker(self.artifacts, 2), timeout=120), 2)
                self.assertEqual(statistics.balance(host), after_first)
            self._assert_pages_accounted(host)
            host.power_off()

    def test_reset_starts_the_child_again(self):
        with Host(name="child-reset") as host:
            command = host.start_command(worker(self.artifacts, line="croft.do=reboot"))
            command.wait_for(r"(?s)(child: reached user land.*){2}", timeout=120)
            command.signal()
            host.power_off()


if __name__ == "__main__":
    unittest.main()
