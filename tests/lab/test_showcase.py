# SPDX-License-Identifier: Apache-2.0
"""What `make run` does after the build, as its script calls it: without a terminal, from the
stages' names to their times, and nothing is left behind."""

import pathlib
import re
import subprocess
import unittest
import uuid

from lab.host import TOP

STAGES = ["dependencies", "build", "root kernel (cached)", "root file system (cached)",
          "child's disk (cached)", "emulator, firmware and hypervisor",
          "root kernel to its user land", "lab's agent and /dev/mshv", "child to its user land",
          "child's user land to its login"]


MARK = f"CROFT_TEST={uuid.uuid4()}"


def left_behind():
    """The ids of the processes that have inherited the mark in their environment."""
    found = set()
    for file in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            words = file.read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended, or is another user's
        if MARK.encode() in words:
            found.add(file.parent.name)
    return found


class ShowcaseTest(unittest.TestCase):
    def test_without_a_terminal(self):
        script = (TOP / "tools" / "run").read_text()
        command = re.search(r"^exec (lab/croft-lab .*) \"\$@\"$", script, re.MULTILINE)
        self.assertIsNotNone(command, script)
        result = subprocess.run(
            ["bash", "-c", f"dependencies=1.25 build=2.50; export {MARK}; exec {command[1]}"],
            cwd=TOP,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            check=False, timeout=300)
        self.assertEqual(result.returncode, 0, f"{result.stdout}\n{result.stderr}")
        self.assertEqual(result.stderr, "")
        for line in (r"==> the guest's address, by its own word: 10\.177\.0\.\d+",
                     r"==> a round trip to it: .* ms",
                     r"==> it was asked to shut down, and has, in [\d.]+ s"):
            self.assertRegex(result.stdout, f"(?m)^{line}$")
        self._check_table(result.stdout)
        for title in ("root kernel: linux-source-", "root file system",
                      "hypervisor and root partition",
                      "child partition: Debian from its disk, Linux 6.1.", "power off"):
            self.assertIn(f"==> {title}", result.stdout)
        self.assertEqual(left_behind(), set())

    def _check_table(self, output):
        rows = re.findall(r"^  (\S.*?) +(\d+\.\d) s$", output, re.MULTILINE)
        self.assertEqual([name for name, _ in rows], [*STAGES, "in all"], output)
        times = [float(seconds) for _, seconds in rows]
        self.assertEqual(times[:2], [1.2, 2.5])
        # Each is rounded.
        self.assertAlmostEqual(times[-1], sum(times[:-1]), delta=0.05 * len(times))
        took = dict(zip(STAGES, times))
        for stage in ("emulator, firmware and hypervisor", "root kernel to its user land",
                      "child to its user land", "child's user land to its login"):
            self.assertGreater(took[stage], 0, stage)


if __name__ == "__main__":
    unittest.main()
