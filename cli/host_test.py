# SPDX-License-Identifier: Apache-2.0
"""croft host on counters that a test writes."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest

CROFT = str(pathlib.Path(sys.argv.pop(1)).resolve())
HERE = pathlib.Path(__file__).resolve().parent


class HostTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="croft-host-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.environment = {**os.environ, "CROFT_STATISTICS": str(self.folder)}

    def write(self, place, **counters):
        """As the kernel shows an object's counters, at once."""
        folder = self.folder / place
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{name:37}: {value}\n" for name, value in counters.items())
        (folder / "new").write_text(text)
        (folder / "new").rename(folder / "stats")

    def make_machine(self):
        self.write(".", HvLogicalProcessors=1)
        self.write("lp/0", LpGlobalTime=1000, LpTotalRunTime=100, LpHypervisorRunTime=10,
                   LpHardwareInterrupts=5, LpContextSwitches=7)
        self.write("partition/1", PtDepositedPages=12)
        self.write("partition/1/vp/0", VpTotalRunTime=50, VpHypercallsCount=1)
        self.write("partition/7", PtDepositedPages=99, PtGpaPages2M=4)
        self.write("partition/7/vp/0", VpTotalRunTime=50, VpCpuidInstructionsCount=30)

    def run_croft(self, *words):
        return subprocess.run([CROFT, "host", "stats", *words], env=self.environment, text=True,
                              capture_output=True, timeout=60, check=False)

    def test_differences(self):
        self.make_machine()
        with subprocess.Popen(
                [CROFT, "host", "stats", "--json", "--interval", "0.05", "--count", "0"],
                env=self.environment, stdout=subprocess.PIPE, text=True) as croft:
            first = json.loads(croft.stdout.readline())
            self.write("lp/0", LpGlobalTime=3000, LpTotalRunTime=1100, LpHypervisorRunTime=110,
                       LpHardwareInterrupts=10, LpInterProcessorInterrupts=4,
                       LpSchedulerInterrupts=3, LpTimerInterrupts=8, LpContextSwitches=8)
            self.write("partition/7/vp/0", VpTotalRunTime=50, VpWaitingForCpuTime=700,
                       VpCpuidInstructionsCount=42)
            seen = {"cpuid": 0.0, "interrupts": 0.0, "waiting": 0.0}
            processor = None
            while round(seen["cpuid"]) < 12 or round(seen["interrupts"]) < 20:
                report = json.loads(croft.stdout.readline())
                vp = report["partitions"][1]["virtual_processors"][0]
                self.assertEqual(vp["exits_per_second"], vp["exits"]["cpuid"])
                seen["cpuid"] += vp["exits"]["cpuid"] * report["seconds"]
                seen["waiting"] += vp["waiting_percent"] / 100 * report["seconds"]
                here = report["processors"][0]
                seen["interrupts"] += here["interrupts_per_second"] * report["seconds"]
                processor = here if here["interrupts_per_second"] else processor
            croft.send_signal(signal.SIGINT)
            self.assertEqual(croft.wait(60), 130)
        self.assertEqual(first["partitions"][1]["virtual_processors"][0]["exits_per_second"], 0)
        self.assertEqual([partition["id"] for partition in first["partitions"]], [1, 7])
        self.assertEqual([partition["root"] for partition in first["partitions"]], [True, False])
        self.assertEqual(first["partitions"][1]["deposited_pages"], 99)
        self.assertEqual(first["partitions"][1]["mapped_2m"], 4)
        self.assertEqual(round(seen["cpuid"]), 12)
        self.assertEqual(round(seen["interrupts"]), 20, "of all kinds")
        self.assertEqual(round(seen["waiting"] * 1e7), 700)
        # Of 2,000 units 1,000 were busy, 100 of them the hypervisor's.
        self.assertAlmostEqual(processor["busy_percent"], 50)
        self.assertAlmostEqual(processor["hypervisor_percent"], 5)

    def test_table(self):
        self.make_machine()
        result = self.run_croft("-i", "0.01", "-c", "2")
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = result.stdout.split("\n")
        self.assertEqual(lines[0].split()[:3], ["PROCESSOR", "BUSY", "HYPERVISOR"])
        self.assertEqual(lines[3].split()[:5],
                         ["PARTITION", "VP", "BUSY", "WAITING", "EXITS/s"])
        self.assertEqual([line.split()[0] for line in lines[4:6]], ["root", "7"])
        self.assertEqual(result.stdout.count("PARTITION"), 2)

    def test_a_partition_that_goes(self):
        self.make_machine()
        (self.folder / "partition/7/vp/0/stats").unlink()
        (self.folder / "partition/9").mkdir()
        result = self.run_croft("--json", "-i", "0.01")
        self.assertEqual(result.returncode, 0, result.stderr)
        found = json.loads(result.stdout)["partitions"]
        self.assertEqual([(one["id"], len(one["virtual_processors"])) for one in found],
                         [(1, 1), (7, 0)])

    def test_no_root_partition(self):
        result = self.run_croft("--json")
        self.assertEqual(result.returncode, 2)
        self.assertIn("root partition", json.loads(result.stdout)["error"])
        self.assertIn("No such file", result.stderr)

    def test_documents(self):
        """Man page and completion know each option, and no other."""
        every = set()
        for command in ("stats", "trace"):
            words = [CROFT, "host", command, "--help"]
            usage = subprocess.run(words, text=True, capture_output=True, check=True).stdout
            options = set(re.findall(r"(--[\w-]+)", usage))
            self.assertIn("--json", options)
            every |= options
            program = (f'. "$0"; COMP_WORDS=(croft host {command} --); COMP_CWORD=3; _croft; '
                       'printf "%s\\n" "${COMPREPLY[@]}"')
            said = subprocess.run(["bash", "-c", program, str(HERE / "croft.bash")], text=True,
                                  capture_output=True, check=True).stdout
            self.assertEqual(set(said.split()), options)
        page = (HERE / "croft-host.1").read_text().replace("\\-", "-")
        self.assertEqual(set(re.findall(r"--[\w-]+", page)) | {"--help"}, every)

    def test_wrong_words(self):
        for words in (["-i", "0"], ["-c", "-1"], ["more"]):
            with self.subTest(words=words):
                self.assertEqual(self.run_croft(*words).returncode, 64)


if __name__ == "__main__":
    unittest.main()
