# SPDX-License-Identifier: Apache-2.0
"""What emulates or runs the lab's machines."""

import unittest
from unittest import mock

from lab.machine import accelerator

EMULATION = ["-accel", "tcg,thread=single", "-cpu", "EPYC,+svm,+npt"]


class AcceleratorTest(unittest.TestCase):
    def _on(self, flags, kvm, **arguments):
        """The choice on a machine whose processor has these flags, with or without /dev/kvm."""
        cpuinfo = f"processor\t: 0\nmodel name\t: svm\nflags\t\t: {flags}\nbugs\t\t: svm\n"
        with mock.patch("builtins.open", mock.mock_open(read_data=cpuinfo)) as opened, \
                mock.patch("os.access", return_value=kvm) as access:
            result = accelerator(**arguments)
        if not arguments:
            self.assertEqual(opened.call_args.args[0], "/proc/cpuinfo")
        for call in access.call_args_list:
            self.assertEqual(call.args[0], "/dev/kvm")
        return result

    def test_hardware_virtualization(self):
        self.assertEqual(self._on("fpu svm npt", True), ["-accel", "kvm", "-cpu", "host"])

    def test_a_device_without_the_flag_is_not_used(self):
        for flags in ("fpu vme", "fpu vmx", "fpu svm_lock xsvm"):
            with self.subTest(flags=flags):
                self.assertEqual(self._on(flags, True), EMULATION)

    def test_the_flag_without_a_device_is_of_no_use(self):
        self.assertEqual(self._on("fpu svm", False), EMULATION)

    def test_instructions_are_counted_by_emulation_only(self):
        self.assertEqual(self._on("fpu svm", True, icount=3),
                         [*EMULATION, "-icount", "shift=3,sleep=off"])


if __name__ == "__main__":
    unittest.main()
