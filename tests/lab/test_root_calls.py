# SPDX-License-Identifier: Apache-2.0
"""A program in the place of the root's kernel, and a child: what malformed hypercalls get, what
failed ones leave behind, where deposited pages go, memory at high addresses, and calls at random.

ROOT_CALLS and ROOT_SEED say how many of those, and which; ROOT_TRACE has each on the console."""

import dataclasses
import os
import random
import re
import unittest

from lab import Host, bare_guest, tap
from lab.host import build_directory
from root import recipe


class RootCallsTest(unittest.TestCase):
    def _run(self, name, *options, timeout=90, scheduler="classic", memory="512M", machine="q35",
             qemu=()):
        """Runs the program to its end; answers what it has said."""
        program = build_directory() / "tests/guests/root/root-program.bzImage"
        artifacts = dataclasses.replace(recipe.obtain(), kernel=program)
        host = Host(processors=1, memory=memory, name=f"root-calls-{name}",
                    hypervisor_options=[f"scheduler={scheduler}"], kernel_options=options,
                    machine=machine, qemu=qemu, artifacts=artifacts)
        try:
            host.start_machine()
            host.console.wait_for(bare_guest.LAST_WORD, timeout)
            text = host.console.text
        except BaseException:
            host.report()
            raise
        finally:
            host.stop()
        report = tap.parse(text)
        self.assertTrue(report.complete, text)
        self.assertEqual([check.words + check.found for check in report.failed], [], text)
        self.assertNotIn("are missing", text)
        return text

    def test_malformed_calls(self):
        self._run("malformed", "malformed", "reps")

    def test_calls_that_can_t_be_carried_out(self):
        self._run("refusals", "refusals")

    def test_pools(self):
        text = self._run("pools", "pools", memory="2560M")
        self.assertIn("a GiB is one entry", text)

    def test_memory_behind_256_gib(self):
        # Of it, this machine has only what is touched: the records of all pages.
        self._run("far-memory", "far-memory", memory="300G", machine="q35,memory-backend=memory",
                  qemu=["-object", "memory-backend-ram,id=memory,size=300G,reserve=off"])

    def test_sleep_is_refused(self):
        """The machine would wake up without the hypervisor."""
        control = 0x604  # q35's firmware has put PM1 control there
        text = self._run("sleep", f"sleep={control}")
        refused = re.findall(r"asks port (\S+) for sleep type (\d+), and is refused", text)
        self.assertEqual(refused, [(f"{control:#x}", "1")] * 2)

    def test_overlays_of_a_guest_without_deposits(self):
        self._run("overlays", "overlays", scheduler="root")

    def _run_random_calls(self, scheduler):
        calls = int(os.environ.get("ROOT_CALLS", "30000"))
        seed = int(os.environ.get("ROOT_SEED", random.randrange(1 << 30)))
        print(f"ROOT_SEED={seed}", flush=True)
        trace = ["trace"] if "ROOT_TRACE" in os.environ else []
        self._run(f"random-{scheduler}", f"calls={calls}", f"seed={seed}", "pools", *trace,
                  timeout=120 + calls // 1000, scheduler=scheduler)

    def test_random_calls(self):
        self._run_random_calls("classic")

    def test_random_calls_where_the_root_schedules(self):
        self._run_random_calls("root")

    def test_a_childs_malformed_calls(self):
        with Host(processors=1, name="child-calls") as host:
            command = bare_guest.worker("/build/tests/guests/root/malformed-calls", memory="64M",
                                        processors=1)
            said = bare_guest.run(host, command, timeout=120)
            report = tap.parse(said)
            self.assertTrue(report.complete, said)
            self.assertEqual(report.failed, [], said)
            host.power_off()


if __name__ == "__main__":
    unittest.main()
