# SPDX-License-Identifier: Apache-2.0
"""A hypervisor that cannot go on: it says why and where, and nothing runs any more."""

import re
import subprocess
import time
import unittest

from lab import Host
from lab.debugger import Debugger
from lab.host import build_directory

UNDEFINED_INSTRUCTION = bytes.fromhex("0f0b")


class PanicTest(unittest.TestCase):
    def _address(self, function):
        image = build_directory() / "hypervisor" / "undercroft_elf64"
        symbols = subprocess.run(["nm", "--demangle", str(image)], capture_output=True, text=True,
                                 check=True).stdout
        found = re.findall(rf"^([0-9a-f]+) [tT] {re.escape(function)}\(", symbols, re.MULTILINE)
        self.assertEqual(len(found), 1, f"{function} in {image}: {found}")
        return int(found[0], 16)

    def _processors(self, host):
        """Of each processor, whether it is halted and whether it takes interrupts."""
        state = host.machine.command("human-monitor-command",
                                     **{"command-line": "info registers -a"})
        return [(halted == "1", int(flags, 16) & 0x200 != 0) for flags, halted in
                re.findall(r"RFL=([0-9a-f]+).*HLT=(\d)", state)]

    def test_code_that_is_none(self):
        for processors in (1, 2):
            with self.subTest(processors=processors), \
                    Host(processors=processors, name=f"panic-{processors}") as host:
                address = self._address("hypervisor::hypercall::create_partition")
                with Debugger(host) as debugger:
                    debugger.write(address, UNDEFINED_INSTRUCTION)
                # Whatever makes a partition makes hypercalls.
                host.start_command(["/build/tests/guests/partition-test"])
                begin, reason = host.console.wait_for("undercroft: panic: (.*)", panic=True)
                self.assertRegex(reason[1], rf"^exception 6 .* at {address:#x}\b")
                for register in ("CR2", "RSP", "RAX", "RDI"):
                    self.assertRegex(reason[1], rf"\b{register} 0x[0-9a-f]+")
                place, _ = host.console.wait_for(
                    r"undercroft: panic:   at \S+\.cpp:\d+$", start=begin, panic=True)
                self.assertEqual(place, begin + 1)
                caller, _ = host.console.wait_for(
                    "undercroft: panic:   called from 0x[0-9a-f]+", start=begin, panic=True)
                self.assertEqual(caller, begin + 2)
                self._check_all_stand_still(host, processors)
                # One processor speaks, whoever else has met the same.
                said = [line for line in host.console.lines if "panic: exception" in line]
                self.assertEqual(len(said), 1, said)

    def _check_all_stand_still(self, host, processors):
        limit = time.monotonic() + 30
        while True:
            state = self._processors(host)
            if state == [(True, False)] * processors:
                break
            if time.monotonic() > limit:
                self.fail(f"halted, and takes interrupts: {state}")
            time.sleep(0.05)  # QEMU tells nobody that a processor halts
        self.assertIsNone(host.machine.reason)


if __name__ == "__main__":
    unittest.main()
