# SPDX-License-Identifier: Apache-2.0
"""A command that runs in the root."""

import dataclasses
import re
import signal
import threading
import time

from .errors import CommandTimeout, LabError


@dataclasses.dataclass(frozen=True)
class Result:
    """How a command ended: `status` is its exit status, or minus the number of the signal that
    ended it; `output` and `error` are its streams as text."""

    status: int
    output: str
    error: str


class Command:
    """A command in the root that may still be running. Its output is collected as it comes."""

    def __init__(self, name, send_input, send_signal, send_size, on_output=None):
        self.name = name
        self._send_input = send_input
        self._send_signal = send_signal
        self._send_size = send_size
        self._on_output = on_output
        self._changed = threading.Condition()
        self._output = bytearray()
        self._error = bytearray()
        self._status = None
        self._failure = None
        self._when_done = None

    # What the reader of the link calls.

    def took_output(self, content):
        with self._changed:
            self._output += content
            self._changed.notify_all()
        if self._on_output:
            self._on_output(content)

    def took_error(self, content):
        with self._changed:
            self._error += content
            self._changed.notify_all()

    def ended(self, code):
        self._finish(256 - code if code >= 256 else code, None)

    def failed(self, reason):
        self._finish(None, reason)

    def _finish(self, status, failure):
        with self._changed:
            self._status = status
            self._failure = failure
            self._changed.notify_all()
            when_done = self._when_done
        if when_done:
            when_done()

    # What its owner calls.

    @property
    def output(self):
        """Its standard output so far, as bytes."""
        with self._changed:
            return bytes(self._output)

    @property
    def error(self):
        """Its standard error so far, as bytes."""
        with self._changed:
            return bytes(self._error)

    @property
    def running(self):
        with self._changed:
            return self._status is None and self._failure is None

    def write(self, content):
        """Sends bytes to its standard input; waits while it has much unread."""
        self._send_input(content)

    def close_input(self):
        self._send_input(b"")

    def signal(self, number=signal.SIGTERM):
        """Sends a signal to the command and all that it started."""
        self._send_signal(int(number))

    def resize(self, rows, columns):
        """Tells a command that was started on a terminal the terminal's new size."""
        self._send_size(rows, columns)

    def when_done(self, call):
        """Has `call` called once, at the command's end; at once if that has been."""
        with self._changed:
            self._when_done = call
            done = self._is_done()
        if done:
            call()

    def wait(self, timeout=60):
        """Waits for its end. After `timeout` seconds it is killed, and CommandTimeout raised."""
        with self._changed:
            done = self._changed.wait_for(self._is_done, timeout)
            if done:
                if self._failure:
                    raise LabError(f"{self.name}: {self._failure}")
                return Result(self._status, self._output.decode(errors="replace"),
                              self._error.decode(errors="replace"))
        self.signal(signal.SIGKILL)
        with self._changed:
            self._changed.wait_for(self._is_done, 5)
            output = self._output.decode(errors="replace")
            error = self._error.decode(errors="replace")
        raise CommandTimeout(f"{self.name}: still running after {timeout} s and killed; its last "
                             f"output: {output[-500:]!r}, {error[-500:]!r}", output, error)

    def wait_for(self, pattern, timeout=60, error=False):
        """Waits until its standard output, or its standard error, holds the regular expression;
        answers the match. If the command ends before, or time is up, that is an error; the command
        goes on."""
        expression = re.compile(pattern.encode() if isinstance(pattern, str) else pattern,
                                re.MULTILINE)
        limit = time.monotonic() + timeout
        stream = self._error if error else self._output
        with self._changed:
            while True:
                match = expression.search(stream)
                if match:
                    return match
                if self._is_done():
                    raise LabError(f"{self.name}: ended ({self._failure or self._status}) before "
                                   f"it said {pattern!r}; its last output: "
                                   f"{bytes(self._output[-500:])!r}, {bytes(self._error[-500:])!r}")
                if not self._changed.wait(max(0, limit - time.monotonic())):
                    raise CommandTimeout(
                        f"{self.name}: has not said {pattern!r} within {timeout} s; its last "
                        f"output: {bytes(self._output[-500:])!r}, {bytes(self._error[-500:])!r}",
                        bytes(self._output).decode(errors="replace"),
                        bytes(self._error).decode(errors="replace"))

    def _is_done(self):
        return self._status is not None or self._failure is not None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.running:
            self.signal(signal.SIGKILL)
