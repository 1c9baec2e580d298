# SPDX-License-Identifier: Apache-2.0
"""croft vm run and console, with a program in the worker's place: what it is started with, what the
terminal shows, and how it ends."""

import contextlib
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

CROFT = str(pathlib.Path(sys.argv.pop(1)).resolve())
WORKER = pathlib.Path(__file__).resolve().parent / "fake_worker.py"


class Terminal:
    """croft on a terminal of its own."""

    def __init__(self, words, environment):
        ours, theirs = pty.openpty()
        self._terminal = ours
        self._text = b""
        self.process = subprocess.Popen([CROFT, "vm", *words], stdin=theirs, stdout=theirs,
                                        stderr=theirs, env=environment, start_new_session=True)
        os.close(theirs)

    def type(self, text):
        os.write(self._terminal, text)

    def wait_for(self, text):
        limit = time.monotonic() + 30
        while text not in self._text:
            ready = select.select([self._terminal], [], [], max(0, limit - time.monotonic()))[0]
            if not ready:
                raise AssertionError(f"no {text} in {self._text}")
            with contextlib.suppress(OSError):
                self._text += os.read(self._terminal, 4096)

    def end(self):
        status = self.process.wait(30)
        with contextlib.suppress(OSError):
            while content := os.read(self._terminal, 4096):
                self._text += content
        os.close(self._terminal)
        return status, self._text.decode()


class RunTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="croft-vm-run-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.vms = self.folder / "vms"
        self.disk = self.folder / "web.img"
        self.disk.write_bytes(bytes(1 << 20))
        (self.folder / "vmlinuz").write_text("the kernel")
        self.environment = {**os.environ, "CROFT_VMS": str(self.vms), "CROFT_WORKER": str(WORKER)}
        self.addCleanup(self.kill_all)

    def kill_all(self):
        for socket in self.vms.glob("*.sock"):
            subprocess.run([CROFT, "vm", "kill", socket.stem], env=self.environment, check=False,
                           capture_output=True, timeout=30)

    def words(self, guest, *more):
        return ["run", f"{self.disk},raw", "--kernel", str(self.folder / "vmlinuz"), "--cmdline",
                guest, *more]

    def croft(self, *words, status=0, typed=None):
        result = subprocess.run([CROFT, "vm", *words], input=typed, capture_output=True, text=True,
                                timeout=60, check=False, env=self.environment,
                                stdin=None if typed else subprocess.DEVNULL)
        self.assertEqual(result.returncode, status, result)
        return result

    def test_without_a_terminal(self):
        """Input comes from a pipe, and the end of that is not the end of the VM."""
        result = self.croft(*self.words(""), typed="please go off now")
        self.assertIn("guest: hello\n", result.stdout)
        self.assertEqual(result.stderr, "")
        self.assertEqual(sorted(path.name for path in self.vms.iterdir()),
                         ["web.console.files", "web.console.words", "web.log"])

    def test_ends(self):
        failed = self.croft(*self.words(""), typed="fail", status=1)
        self.assertEqual(failed.stderr,
                         "croft vm: web: processor 0: found a triple fault\n")
        died = self.croft(*self.words(""), typed="die", status=1)
        self.assertIn("signal 9", died.stderr)

    def test_cannot_start(self):
        for more in ([], ["--detach"], ["--detach", "--json"]):
            refused = self.croft(*self.words("refuse"), *more, status=1)
            self.assertEqual(refused.stderr,
                             "croft vm: web: memory: found none, expected some; buy it\n")
            if "--json" in more:
                self.assertIn("found none", json.loads(refused.stdout)["error"])
        self.environment["CROFT_WORKER"] = str(self.folder / "nothing")
        self.assertIn("CROFT_WORKER", self.croft(*self.words(""), status=1).stderr)
        self.environment["CROFT_VMS"] = str(self.disk / "x")
        self.assertIn("CROFT_VMS", self.croft(*self.words(""), status=1).stderr)

    def test_detached(self):
        answer = json.loads(self.croft(*self.words(""), "--detach", "--json").stdout)
        self.assertEqual(answer["name"], "web")
        self.assertEqual(os.getsid(answer["process"]), answer["process"])
        self.assertTrue(pathlib.Path(answer["console"]).is_socket())
        again = self.croft(*self.words(""), status=1)
        self.assertIn("--name", again.stderr)
        self.assertEqual(self.croft(*self.words("", "-d", "--name", "other")).stdout, "other\n")
        result = self.croft("console", "web", typed="off")
        self.assertIn("guest: hello\n", result.stdout)
        self.assertIn("has ended", result.stderr)
        self.croft("console", "web", status=2)
        self.croft("kill", "other")

    def test_terminal(self):
        """Ctrl-] leaves the VM running, another terminal comes, and what is typed arrives."""
        first = Terminal(self.words(""), self.environment)
        first.wait_for(b"guest: hello")
        first.type(b"\x03")
        first.wait_for(b"<\x03>")
        first.type(b"abc\x1d")
        status, text = first.end()
        self.assertEqual(status, 0)
        self.assertIn("Ctrl-] leaves", text.splitlines()[0])
        self.assertIn("abc", text)
        self.assertIn("last words", text)
        self.assertIn("croft vm console web", text.splitlines()[-1])
        second = Terminal(["console", "web"], self.environment)
        second.wait_for(b"guest: hello")
        second.type(b"off")
        self.assertEqual(second.end()[0], 0)

    def test_terminal_that_closes(self):
        """The VM survives."""
        terminal = Terminal(self.words(""), self.environment)
        terminal.wait_for(b"guest: hello")
        terminal.process.send_signal(signal.SIGHUP)
        terminal.end()
        self.assertIn("guest: hello", self.croft("console", "web", typed="off").stdout)

    def test_what_the_worker_is_told(self):
        self.croft("run", f"{self.disk},raw,read-only", "--kernel", str(self.folder / "vmlinuz"),
                   "--initrd", str(self.disk), "--memory", "2G", "--processors", "3", "--disk",
                   "b.vhdx", "--disk", "c.vhd,read-only", "--dvd", "none", "--nic", "tap=t0",
                   "--name", "x", typed="off")
        words = json.loads((self.vms / "x.console.words").read_text())
        self.assertEqual([words[at + 1] for at, word in enumerate(words) if word == "--disk"],
                         [f"{self.disk},raw,read-only", "b.vhdx", "c.vhd,read-only"])
        options = dict(zip(words[::2], words[1::2]))
        self.assertEqual((options["--memory"], options["--processors"], options["--nic"],
                          options["--dvd"], options["--cmdline"]),
                         ("2G", "3", "tap=t0", "none", "console=ttyS0"))

    def _make_file_system(self, image, label, *files):
        tree = self.folder / label
        for path in files:
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(path)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", label, "-d", tree, image, "16M"],
                       check=True, stdout=subprocess.DEVNULL)
        return tree

    def _boot(self, image, status=0):
        return self.croft("run", f"{image},raw", "--name", "v", typed="off", status=status)

    @unittest.skipUnless(os.geteuid() == 0 and os.path.exists("/dev/fuse")
                         and shutil.which("mke2fs"), "needs to mount")
    def test_kernel_of_the_disk(self):
        image = self.folder / "system.img"
        self._make_file_system(image, "one", "etc/os-release", "boot/vmlinuz-6.1.0-9",
                               "boot/vmlinuz-6.1.0-10", "boot/initrd.img-6.1.0-10")
        identity = subprocess.run(["blkid", "-o", "value", "-s", "UUID", image], check=True,
                                  capture_output=True, text=True).stdout.strip()
        self._boot(image)
        self.assertEqual(json.loads((self.vms / "v.console.files").read_text()),
                         ["boot/vmlinuz-6.1.0-10", "boot/initrd.img-6.1.0-10"])
        words = json.loads((self.vms / "v.console.words").read_text())
        self.assertIn(f"root=UUID={identity} ro console=ttyS0", words)
        # A link of the guest's leads nowhere outside.
        tree = self._make_file_system(image, "two", "etc/os-release", "boot/initrd.img")
        (tree / "boot" / "vmlinuz").symlink_to("/etc/hostname")
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, image, "16M"], check=True)
        self.assertIn("--kernel", self._boot(image, status=1).stderr)

    def test_disks_without_a_kernel(self):
        for image in (self.disk, self.folder / "none.img"):
            refused = self._boot(image, status=1)
            self.assertEqual(len(refused.stderr.splitlines()), 1)
            self.assertIn(str(image), refused.stderr)
        self.assertRegex(self._boot(self.disk, status=1).stderr, "no file system.*--kernel")
        self.assertRegex(self.croft("run", str(self.disk), "--initrd", "x", status=64).stderr,
                         re.escape("--kernel"))


if __name__ == "__main__":
    unittest.main()
