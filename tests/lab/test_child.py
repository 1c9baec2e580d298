# SPDX-License-Identifier: Apache-2.0
"""Child partitions with Debian's own kernel: processors, clock, several at once, many in a row."""

import time
import unittest

from lab import Host, kernel_image, statistics
from lab.child import Report, worker
from root import recipe


class Reading:
    """A clock's value, and this machine's clock before and after it was asked for."""

    def __init__(self, read, number):
        self.before = time.monotonic()
        self.value = float(read(number))
        self.after = time.monotonic()


class ChildTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.artifacts = recipe.obtain()

    def _check(self, result, processors):
        self.assertEqual(result.status, 0, f"{result.output}\n{result.error}")
        report = Report(result.output)
        self.assertEqual(report.problems(processors), [], result.output)
        # Time costs the child no exit: it reads a page.
        self.assertEqual(report.clocksource, "hyperv_clocksource_tsc_page", result.output)

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

    def test_elf_file_with_a_pvh_entry(self):
        """The same kernel without its wrapping: it begins at another entry, in another mode."""
        with Host(name="child-pvh") as host:
            image = host.scratch / "vmlinux"
            image.write_bytes(kernel_image.elf(self.artifacts.child_kernel.read_bytes()))
            words = worker(self.artifacts, 2)
            words[words.index("--kernel") + 1] = "/scratch/vmlinux"
            self._check(host.run(words, timeout=120), 2)
            host.power_off()

    def test_clock(self):
        """The root's clock and the child's go as fast as each other, and as this machine's. Each
        reading lies between two of this machine's: how long it takes decides nothing but how much
        is known."""
        seconds = 10
        with Host(name="child-clock") as host:
            child = host.start_command(worker(self.artifacts, line="croft.do=shell"))
            child.wait_for("child: shell", timeout=120)

            def root_uptime(_number):
                return host.run("cat /proc/uptime").output.split()[0]

            def child_uptime(number):
                child.write(f"echo $(cat /proc/uptime) is {number}\n".encode())
                return child.wait_for(rf"([\d.]+) [\d.]+ is {number}\b")[1]

            clocks = {"root": root_uptime, "child": child_uptime}
            begin = {name: Reading(read, 1) for name, read in clocks.items()}
            time.sleep(seconds)  # what is measured, not waited for
            end = {name: Reading(read, 2) for name, read in clocks.items()}
            elapsed = {}
            for name in clocks:
                elapsed[name] = end[name].value - begin[name].value
                # 1 %, and the clocks' resolution of 10 ms at either end.
                least = end[name].before - begin[name].after
                most = end[name].after - begin[name].before
                self.assertGreater(elapsed[name], 0.99 * least - 0.02, name)
                self.assertLess(elapsed[name], 1.01 * most + 0.02, name)
            child.write(b"exit\n")
            self.assertEqual(child.wait(60).status, 0)
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
