# SPDX-License-Identifier: Apache-2.0
"""The first serial port of the emulated machine: kernel log and the hypervisor's debug console."""

import re
import threading
import time

from .errors import LabError

# Words after which nothing good will come; whoever waits is told at once.
FATAL = (r"Kernel panic - not syncing", r"undercroft: panic")


class Console:
    """Collects the lines that a stream socket brings, with the time of each."""

    def __init__(self, socket, on_line=None):
        self._socket = socket
        self._on_line = on_line
        self._changed = threading.Condition()
        self._lines = []
        self._partial = b""
        self._fatal = None
        self._ended = None
        self._fatal_pattern = re.compile("|".join(FATAL))
        threading.Thread(target=self._receive, name="console", daemon=True).start()

    @property
    def lines(self):
        """The complete lines so far, without their ends."""
        with self._changed:
            return [line for _, line in self._lines]

    @property
    def timed_lines(self):
        """Pairs of time.monotonic() and line."""
        with self._changed:
            return list(self._lines)

    @property
    def text(self):
        with self._changed:
            lines = [line for _, line in self._lines]
            return "\n".join(lines + [self._partial.decode(errors="replace")])

    @property
    def fatal(self):
        """The first line that means the end (a panic), or None."""
        with self._changed:
            return self._fatal

    def wait_for(self, pattern, timeout=60, start=0, panic=False):
        """Waits for a line that holds the regular expression; answers (index, match). Only lines
        from index `start` on are looked at. A panic ends the wait, unless `panic` says that it is
        what is waited for."""
        expression = re.compile(pattern)
        limit = time.monotonic() + timeout
        index = start
        with self._changed:
            while True:
                while index < len(self._lines):
                    match = expression.search(self._lines[index][1])
                    if match:
                        return index, match
                    index += 1
                reason = self._ended if panic else self._fatal or self._ended
                if reason:
                    raise LabError(f"the console has not shown {pattern!r} and will not: {reason}")
                if not self._changed.wait(max(0, limit - time.monotonic())):
                    raise LabError(f"the console has not shown {pattern!r} within {timeout} s")

    def write(self, content):
        """Types bytes on the console."""
        self._socket.sendall(content)

    def end(self, reason):
        with self._changed:
            self._ended = self._ended or reason
            self._changed.notify_all()

    def _receive(self):
        while True:
            try:
                content = self._socket.recv(1 << 16)
            except OSError:
                content = b""
            if not content:
                self.end("the host ended")
                return
            self._take(content)

    def _take(self, content):
        now = time.monotonic()
        *lines, rest = (self._partial + content).split(b"\n")
        decoded = [line.rstrip(b"\r").decode(errors="replace") for line in lines]
        with self._changed:
            self._partial = rest
            for line in decoded:
                self._lines.append((now, line))
                if self._fatal is None and self._fatal_pattern.search(line):
                    self._fatal = line
            self._changed.notify_all()
        if self._on_line:
            for line in decoded:
                self._on_line(line)
