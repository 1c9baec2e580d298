# SPDX-License-Identifier: Apache-2.0
"""croft-worker's man page and its completion know each option that --help shows, and no other."""

import os
import pathlib
import re
import subprocess
import unittest

HERE = pathlib.Path(__file__).resolve().parent


class DocumentsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program = pathlib.Path(os.environ["CROFT_BUILD"]) / "worker" / "croft-worker"
        text = subprocess.run([str(program), "--help"], capture_output=True, text=True,
                              check=True).stdout
        cls.options = set(re.findall(r"^ +(?:-\w,)?(--[\w-]+)", text, re.MULTILINE))

    def test_help(self):
        self.assertLess({"--kernel", "--settings", "--help", "--version"}, self.options)

    def test_man_page(self):
        page = (HERE / "man" / "croft-worker.1").read_text()
        options = page[page.index(".SH OPTIONS"):]
        named = re.findall(r"^\.BI? (\\-\\-.*)$", options, re.MULTILINE)
        found = {word.replace("\\-", "-") for line in named
                 for word in re.findall(r"\\-\\-[\w\\-]+?(?=\\f|,| |$)", line)}
        self.assertEqual(found, self.options)

    def _complete(self, *words):
        """What completion makes of the last word."""
        script = HERE / "croft-worker.bash"
        program = ('. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _croft_worker; '
                   'printf "%s\\n" "${COMPREPLY[@]}"')
        output = subprocess.run(["bash", "-c", program, str(script), "croft-worker", *words],
                                capture_output=True, text=True, check=True, cwd=HERE).stdout
        return set(output.split())

    def test_completion(self):
        self.assertEqual(self._complete("--"), self.options)
        self.assertEqual(self._complete("--con"), {"--console", "--control"})
        self.assertEqual(self._complete("--kernel", "croft-w"), {"croft-worker.bash"})
        self.assertLessEqual({"stdio", "none"}, self._complete("--console", ""))
        self.assertEqual(self._complete("--memory", ""), set())


if __name__ == "__main__":
    unittest.main()
