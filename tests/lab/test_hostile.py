# SPDX-License-Identifier: Apache-2.0
"""A guest, and a program in the root, that try everything: the host stands and loses nothing."""

import unittest

from lab import Host


class HostileTest(unittest.TestCase):
    def _run(self, who):
        with Host(processors=2, name=f"hostile-{who.lower()}") as host:
            result = host.run(["/build/tests/guests/hostile-test", f"--gtest_filter=*.{who}"],
                              timeout=120)
            print(result.output, flush=True)
            self.assertEqual(result.status, 0, f"{result.output}\n{result.error}")
            missing = [line for line in host.console.lines if "are missing" in line]
            self.assertEqual(missing, [])
            host.power_off()

    def test_guest(self):
        self._run("Guest")

    def test_root(self):
        self._run("Root")


if __name__ == "__main__":
    unittest.main()
