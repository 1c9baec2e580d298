# SPDX-License-Identifier: Apache-2.0
"""What `make run` does after the build, as its script calls it: without a terminal and on one, from
the stages' names to their times, and nothing is left behind."""

import contextlib
import os
import pathlib
import pty
import re
import select
import subprocess
import termios
import time
import unittest
import uuid

from lab.host import TOP

STAGES = ["dependencies", "build", "root kernel (cached)", "root file system (cached)",
          "child's disk (cached)", "emulator, firmware and hypervisor",
          "root kernel to its user land", "lab's agent and /dev/mshv", "child to its user land",
          "child's user land to its login"]

# The lines that say what is going on, in their order.
SAID = [r"root kernel: linux-source-.*", r"root file system", r"child's disk",
        r"hypervisor and root partition",
        r"child partition: Debian from its disk, Linux 6\.1\..* with 2 processors",
        r"the guest's address, by its own word: 10\.177\.0\.\d+", r"a round trip to it: .* ms",
        r"it was asked to shut down, and has, in [\d.]+ s", r"power off"]

MARK = f"CROFT_TEST={uuid.uuid4()}"


def command():
    """The script's, for a shell; it marks what it starts."""
    script = (TOP / "tools" / "run").read_text()
    found = re.search(r"^exec (lab/croft-lab .*) \"\$@\"$", script, re.MULTILINE)
    if found is None:
        raise AssertionError(f"tools/run ends in no 'exec lab/croft-lab':\n{script}")
    return f"dependencies=1.25 build=2.50; export {MARK}; exec {found[1]}"


def left_behind():
    """The ids of the processes that have inherited the mark in their environment."""
    found = set()
    for file in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            words = file.read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended, or is another user's
        if MARK.encode() in words:
            found.add(file.parent.name)
    return found


class Terminal:
    """A terminal of its own with a program on it, whose user this process is."""

    def __init__(self, words, directory):
        self._user, self._line = pty.openpty()
        # As some people have theirs, so that how a terminal usually is won't do afterwards.
        settings = self.settings()
        settings[3] &= ~termios.ECHOCTL
        settings[6][termios.VERASE] = b"\x08"
        termios.tcsetattr(self._line, termios.TCSANOW, settings)
        termios.tcsetwinsize(self._line, (24, 80))
        self._program = subprocess.Popen(["setsid", "--ctty", *words], cwd=directory,
                                         stdin=self._line, stdout=self._line, stderr=self._line)
        self._ended = os.pidfd_open(self._program.pid)
        self._shown = b""

    def settings(self):
        return termios.tcgetattr(self._line)

    @property
    def shown(self):
        return self._shown.decode(errors="replace")

    def wait_for(self, pattern, timeout):
        """Until that is shown."""
        limit = time.monotonic() + timeout
        while not re.search(pattern, self.shown):
            if not self._take(limit):
                raise AssertionError(f"the terminal never showed {pattern!r}, but {self.shown}")

    def wait(self, timeout):
        """Until the program has ended; answers its status."""
        limit = time.monotonic() + timeout
        while self._take(limit):
            pass
        if (status := self._program.poll()) is None:
            raise AssertionError(f"it goes on after {timeout} s; the terminal shows {self.shown}")
        return status

    def _take(self, limit):
        """What comes next. False if nothing will, or not in time."""
        ready, _, _ = select.select([self._user, self._ended], [], [],
                                    max(0, limit - time.monotonic()))
        if self._user not in ready:
            return False
        self._shown += os.read(self._user, 65536)
        return True

    def type(self, text):
        os.write(self._user, text)

    def resize(self, rows, columns):
        termios.tcsetwinsize(self._user, (rows, columns))

    def close(self):
        """Its programs are told, if any are left."""
        for descriptor in (self._user, self._line, self._ended):
            os.close(descriptor)
        self._program.wait(60)


class ShowcaseTest(unittest.TestCase):
    def test_without_a_terminal(self):
        result = subprocess.run(
            ["bash", "-c", command()], cwd=TOP,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            check=False, timeout=300)
        self.assertEqual(result.returncode, 0, f"{result.stdout}\n{result.stderr}")
        self.assertEqual(result.stderr, "")
        self._check(result.stdout)

    def test_on_a_terminal(self):
        """Its user looks on, tries the guest's shell, and leaves by Ctrl-]."""
        with contextlib.closing(Terminal(["bash", "-c", command()], TOP)) as terminal:
            before = terminal.settings()
            terminal.wait_for("==> a round trip to it: .*\n", 300)
            # Meanwhile it is the guest's to echo, and to make lines of what is typed.
            self.assertFalse(terminal.settings()[3] & (termios.ICANON | termios.ECHO))
            terminal.resize(50, 132)
            terminal.type(b"echo its shell answers $((6 * 7)).\r")
            terminal.wait_for(r"its shell answers 42\.", 60)
            terminal.type(b"\x1d")
            self.assertEqual(terminal.wait(120), 0, terminal.shown)
            self.assertEqual(terminal.settings(), before)
            shown = terminal.shown
        self.assertNotRegex(shown, "(?<!\r)\n")  # where a line would begin below another's end
        self.assertIn("its console is yours; 'poweroff' ends it, and so does Ctrl-]", shown)
        self._check(shown.replace("\r", ""))

    def _check(self, output):
        said = [line.removeprefix("==> ") for line in output.splitlines()
                if line.startswith("==> ")]
        self.assertEqual(len(said), len(SAID), output)
        for line, expected in zip(said, SAID):
            self.assertRegex(line, f"^{expected}$", output)
        self._check_table(output)
        self.assertEqual(left_behind(), set())

    def _check_table(self, output):
        rows = re.findall(r"^  (\S.*?) +(\d+\.\d) s$", output, re.MULTILINE)
        self.assertEqual([name for name, _ in rows], [*STAGES, "in all"], output)
        times = [float(seconds) for _, seconds in rows]
        self.assertEqual(times[:2], [1.2, 2.5])
        # Each is rounded.
        self.assertAlmostEqual(times[-1], sum(times[:-1]), delta=0.05 * len(times))
        took = dict(zip(STAGES, times))
        for stage in ("emulator, firmware and hypervisor", "root kernel to its user land",
                      "child to its user land", "child's user land to its login"):
            self.assertGreater(took[stage], 0, stage)


if __name__ == "__main__":
    unittest.main()
