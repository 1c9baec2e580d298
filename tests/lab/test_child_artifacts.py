# SPDX-License-Identifier: Apache-2.0
"""The child's kernel and user land on the bare emulated machine: they have to be right before a
child partition is judged by them."""

import subprocess
import unittest

from lab.child import Report
from lab.machine import accelerator, program
from root import recipe


class ChildArtifactsTest(unittest.TestCase):
    def test_kernels(self):
        artifacts = recipe.obtain()
        for kernel in (artifacts.child_kernel, artifacts.child_cloud_kernel):
            with self.subTest(kernel=kernel.name):
                result = subprocess.run(
                    [program(), "-nodefaults", "-no-user-config", "-display", "none",
                     *accelerator(), "-smp", "2", "-m", "1G", "-serial", "stdio", "-no-reboot",
                     "-kernel", str(kernel), "-initrd", str(artifacts.child_userland),
                     "-append", "console=ttyS0 quiet panic=-1 croft.seed=apple croft.rounds=3"],
                    stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                    check=False, timeout=120)
                report = Report(result.stdout)
                self.assertEqual(report.problems(processors=2, seed="apple", rounds=3), [],
                                 result.stdout)
                self.assertRegex(report.kernel, r"^6\.1\.")


if __name__ == "__main__":
    unittest.main()
