# SPDX-License-Identifier: Apache-2.0
"""The programs of the conformance suite (tests/guests/conformance) on Undercroft. `make
conformance` has them on KVM, too."""

import pathlib
import unittest

from lab import Host, bare_guest, tap
from lab.host import build_directory

FOLDER = "tests/guests/conformance"


class ConformanceTest(unittest.TestCase):
    def test_all_programs(self):
        programs = sorted(path.name for path in pathlib.Path(build_directory() / FOLDER).iterdir()
                          if path.name.startswith("conformance-"))
        self.assertGreaterEqual(len(programs), 8)
        with Host(memory="2G", name="conformance-test") as host:
            for program in programs:
                with self.subTest(program=program):
                    said = bare_guest.run(host, bare_guest.worker(f"/build/{FOLDER}/{program}"))
                    report = tap.parse(said)
                    self.assertTrue(report.complete, said)
                    self.assertFalse(report.failed, said)
            host.power_off()


if __name__ == "__main__":
    unittest.main()
