# SPDX-License-Identifier: Apache-2.0
"""NMIs of the machine are the root partition's, whatever the hypervisor was at."""

import unittest

from lab import Host


class NmiTest(unittest.TestCase):
    def test_each_reaches_the_root(self):
        with Host(name="nmi") as host:
            busy = host.start_command("while :; do cat /proc/interrupts >/dev/null; done")
            before = self._count(host)
            for _ in range(200):
                host.machine.command("inject-nmi")
            # How many depends on how many come at once: a processor keeps one for later.
            self.assertGreater(self._count(host), before)
            host.run("dmesg | grep -q 'NMI received'", check=True)
            busy.signal()
            busy.wait()
            host.power_off()

    def _count(self, host):
        table = host.run("cat /proc/interrupts").output
        line = next(line for line in table.splitlines() if line.split()[0] == "NMI:")
        return sum(int(word) for word in line.split()[1:] if word.isdigit())


if __name__ == "__main__":
    unittest.main()
