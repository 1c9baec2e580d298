# SPDX-License-Identifier: Apache-2.0
"""Progress of long steps: on a terminal a line that renews itself, else one now and then."""

import os
import sys
import time


class Progress:
    """with Progress("kernel: compiling") as progress: progress.update(0.4)"""

    SPARSE_SECONDS = 20

    def __init__(self, title, stream=None):
        self._title = title
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._begun = time.monotonic()
        self._shown = float("-inf")

    def __enter__(self):
        self._show("", self._begun)
        return self

    def __exit__(self, kind, value, trace):
        word = "done" if kind is None else "failed"
        self._clear()
        print(f"{self._title}: {word} in {self.elapsed():.1f} s", file=self._stream, flush=True)

    def elapsed(self):
        return time.monotonic() - self._begun

    def update(self, fraction=None, detail=""):
        """Says how far the step has come (0 to 1), if that is known."""
        now = time.monotonic()
        if now - self._shown < (0.2 if self._terminal else self.SPARSE_SECONDS):
            return
        percent = "" if fraction is None else f"{min(fraction, 0.99):4.0%} "
        self._show(f"{percent}{detail}", now)

    def _show(self, text, now):
        self._shown = now
        line = f"{self._title}: {text}".rstrip(" :")
        if now > self._begun:
            line += f" ({self.elapsed():.0f} s)"
        if self._terminal:
            columns = os.get_terminal_size(self._stream.fileno()).columns or 80
            self._clear()
            self._stream.write(line[:columns - 1])
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def _clear(self):
        if self._terminal:
            self._stream.write("\r\033[K")
