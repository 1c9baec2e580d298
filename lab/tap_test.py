# SPDX-License-Identifier: Apache-2.0
"""What is read out of TAP."""

import unittest

from lab import tap

SAID = """ok 1 - one\r
not ok 2 - two: found 1, expected 2\r
ok 3 - three: it has a colon # SKIP it is not there\r
1..3\r
done\r
"""


class TapTest(unittest.TestCase):
    def test_all_kinds(self):
        report = tap.parse(SAID)
        self.assertEqual([check.result for check in report.checks], ["ok", "failed", "skipped"])
        self.assertEqual(report.checks[1], tap.Check("two", "failed", "found 1, expected 2"))
        self.assertEqual(report.checks[2].words, "three: it has a colon")
        self.assertEqual(report.checks[2].reason, "it is not there")
        self.assertTrue(report.complete)
        self.assertEqual(report.failed, [report.checks[1]])

    def test_what_ends_early_is_not_complete(self):
        self.assertFalse(tap.parse("ok 1 - one\n").complete)
        self.assertFalse(tap.parse("ok 1 - one\n1..2\ndone\n").complete)
        bail = tap.parse("ok 1 - one\nBail out! vector 6\n")
        self.assertFalse(bail.complete)
        self.assertEqual(bail.ending, "Bail out! vector 6")


if __name__ == "__main__":
    unittest.main()
