# SPDX-License-Identifier: Apache-2.0
"""Children of a few instructions, over the hv library: modes, intercepts, signals, scheduling; and
kernels in plain C."""

import re
import unittest

from lab import Host, bare_guest, tap

CROFT = "/build/cli/croft"

# What the guest that breaks its channels does to them, and what the worker has to say of each.
BROKEN = {
    "bad index at the open": "refused to open channel {}: the read index is out of range",
    "bad index": "channel {} has ended: the write index is out of range",
    "packet beyond the ring": "channel {} has ended: a packet is longer than what was written",
    "frame beyond its message": "channel {} has ended: found ",
    "command beyond its field": "channel {} has ended: a command is longer than its field",
}


class GuestsTest(unittest.TestCase):
    def test_partitions(self):
        for processors in (1, 2):
            with self.subTest(processors=processors), \
                    Host(processors=processors, name=f"guests-{processors}") as host:
                result = host.run("/build/tests/guests/partition-test", timeout=120)
                self.assertEqual(result.status, 0, f"{result.output}\n{result.error}")
                for guest in ("hypercall-guest", "hypercall-guest-32"):
                    self._check_plain_c(host, guest)
                if processors == 2:
                    self._check_broken_channels(host)
                host.power_off()

    def test_memory_in_one_piece_of_a_gibibyte(self):
        with Host(memory="6G", kernel_options=["hugepagesz=1G", "hugepages=1"],
                  name="guests-gibibyte") as host:
            result = host.run(["/build/tests/guests/partition-test",
                               "--gtest_filter=HugeMemory.*"], timeout=120)
            self.assertEqual(result.status, 0, f"{result.output}\n{result.error}")
            self.assertNotIn("SKIPPED", result.output)
            host.power_off()

    def _check_plain_c(self, host, guest):
        command = bare_guest.worker(f"/build/tests/guests/bare/{guest}", memory="64M", processors=1)
        said = bare_guest.run(host, command, timeout=60)
        report = tap.parse(said)
        self.assertTrue(report.complete, said)
        self.assertGreater(report.planned, 10)
        self.assertEqual([check.result for check in report.checks], ["ok"] * report.planned, said)

    def _check_broken_channels(self, host):
        """One line of the log for each channel that a guest breaks, and nothing else ends."""
        host.run("mkdir -p /run/croft/vm; seq 1 9999 | head -c 4096 >/tmp/disk.img", check=True)
        with host.start_command([
                *bare_guest.worker("/build/tests/guests/bare/bad-vmbus-guest", memory="64M",
                                   processors=1),
                "--disk", "/tmp/disk.img,raw", "--nic", "tap=tap0", "--nic", "tap=tap1",
                "--control", "/run/croft/vm/bad.sock"]) as worker:
            worker.wait_for("^all are broken\r?$", timeout=120)
            said = worker.output.decode(errors="replace")
            relids = dict(re.findall(r"^(.+): channel (\d+)\r?$", said, re.MULTILINE))
            self.assertEqual(list(relids), list(BROKEN), said)
            # Providers say what they find from threads of their own.
            worker.wait_for(rf"(?s)(.*?\n){{{len(BROKEN)}}}", error=True)
            log = self._log(worker)
            for how, relid in relids.items():
                found = [line for line in log if re.search(rf"\bchannel {relid}\b", line)]
                self.assertEqual(len(found), 1, log)
                self.assertIn(BROKEN[how].format(relid), found[0])
            self.assertEqual(len(log), len(BROKEN), log)
            self.assertIn("running", host.run([CROFT, "vm", "info", "bad"], check=True).output)
            worker.write(b"\n")
            worker.wait_for(bare_guest.LAST_WORD, timeout=120)
            said = worker.output.decode(errors="replace")
            report = tap.parse(said)
            self.assertTrue(report.complete, said)
            self.assertEqual(report.failed, [], said)
            self.assertEqual(self._log(worker), log)
            host.run([CROFT, "vm", "kill", "bad"], check=True)
            self.assertEqual(worker.wait(30).status, 0)

    @staticmethod
    def _log(worker):
        return worker.error.decode(errors="replace").splitlines()


if __name__ == "__main__":
    unittest.main()
