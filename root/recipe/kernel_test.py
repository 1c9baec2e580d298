# SPDX-License-Identifier: Apache-2.0
import unittest

from root.recipe import kernel


class UnmetTest(unittest.TestCase):
    FRAGMENT = "# why\nCONFIG_A=y\nCONFIG_NAME=\"x\"\n# CONFIG_OFF is not set\n"

    def test_all_taken(self):
        result = "CONFIG_A=y\nCONFIG_NAME=\"x\"\n# CONFIG_OFF is not set\nCONFIG_MORE=y\n"
        self.assertEqual(kernel.unmet(self.FRAGMENT, result), [])

    def test_off_may_be_absent(self):
        self.assertEqual(kernel.unmet(self.FRAGMENT, "CONFIG_A=y\nCONFIG_NAME=\"x\"\n"), [])

    def test_missing_changed_and_not_off(self):
        result = "CONFIG_NAME=\"y\"\nCONFIG_OFF=y\n"
        self.assertEqual(kernel.unmet(self.FRAGMENT, result),
                         ["CONFIG_A", "CONFIG_NAME", "CONFIG_OFF"])


class InputsTest(unittest.TestCase):
    def test_each_input_counts(self):
        one = kernel.inputs({"Package": "linux-source-7.3", "Version": "1", "SHA256": "a"})
        other = kernel.inputs({"Package": "linux-source-7.3", "Version": "2", "SHA256": "b"})
        self.assertNotEqual(one, other)
        self.assertIn("config", one)
        self.assertIn("recipe", one)


if __name__ == "__main__":
    unittest.main()
