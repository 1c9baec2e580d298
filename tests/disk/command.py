# SPDX-License-Identifier: Apache-2.0
"""What the tests of `croft disk` share: it and others' programs are run, in a folder of their own.

The first argument of each test is the croft to be tested.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

CROFT = os.path.abspath(sys.argv.pop(1))
MIB = 1 << 20
# One that is built with sanitizers takes ten times as long.
SANITIZED = "CROFT_SANITIZED" in os.environ
MANUAL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../cli/croft-disk.1")


def run(*words, expect=0, **more):
    """Runs a program, which has to end with the status `expect` unless that is None."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=120, **more)
    if expect is not None and done.returncode != expect:
        raise AssertionError(f"{words}: exit {done.returncode}, expected {expect}\n"
                             f"{done.stdout}{done.stderr}")
    return done


def croft(*words, expect=0, **more):
    """Of a sub-command of `croft disk`, what it says on standard output."""
    return run(CROFT, "disk", *words, expect=expect, **more).stdout


def croft_json(*words, expect=0):
    return json.loads(croft(*words, "--json", expect=expect))


def croft_error(*words, expect=2):
    return croft_json(*words, expect=expect)["error"]


def checksum(path, size=None):
    """Of a file, or of its first `size` bytes, which have to be there."""
    digest = hashlib.sha256()
    at = 0
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(MIB if size is None else min(MIB, size - at)):
            digest.update(piece)
            at += len(piece)
    if size is not None and at != size:
        raise AssertionError(f"{path}: ends at {at}, expected {size}")
    return digest.hexdigest()


def needs(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


def no_loop_devices():
    """Why there are none, or nothing."""
    if os.geteuid() != 0:
        return "loop devices need root"
    if not os.path.exists("/dev/loop-control"):
        return "this machine has no loop devices"
    return None


def manual_examples():
    """The words of each command in the manual page's examples."""
    with open(MANUAL, encoding="utf-8") as file:
        page = file.read()
    return [line.replace("\\-", "-").split() for example in page.split(".EX\n")[1:]
            for line in example.split(".EE")[0].splitlines()]


class Case(unittest.TestCase):
    """Each test begins in an empty folder."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="croft-disk-")
        self.addCleanup(shutil.rmtree, self.folder)
        before = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, before)

    def assert_same(self, first, second):
        self.assertIn("identical", croft("compare", "-s", first, second))

    def assert_sound(self, *names):
        for name in names:
            done = run(CROFT, "disk", "check", "--json", name, expect=None)
            self.assertIn(done.returncode, (0, 3), done.stdout)  # some of the file may be free
            self.assertEqual(json.loads(done.stdout)["health"], "good", name)
