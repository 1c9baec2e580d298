# SPDX-License-Identifier: Apache-2.0
"""QEMU's gdb stub, for tests that change what a running machine has in its memory."""

import os
import socket

from .errors import LabError


class Debugger:
    """Stops the machine of a Host inside a `with` block."""

    def __init__(self, host):
        self._host = host
        self._socket = None
        self._received = None

    def __enter__(self):
        answer = self._host.machine.command(
            "human-monitor-command",
            **{"command-line": "gdbserver unix:gdb,server=on,wait=off"})
        if "Waiting for gdb" not in answer:
            raise LabError(f"QEMU has no gdb stub: {answer.strip()}")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        # Seen from the directory, however long its name is.
        directory = os.open(self._host.logs, os.O_PATH | os.O_DIRECTORY)
        try:
            self._socket.connect(f"/proc/self/fd/{directory}/gdb")
        finally:
            os.close(directory)
        self._received = self._socket.makefile("rb")
        self._request("Qqemu.PhyMemMode:1")
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self._request("D")
        self._received.close()
        self._socket.close()

    def write(self, address, content):
        """Writes to physical memory; code that has been translated from it is translated again."""
        self._request(f"M{address:x},{len(content):x}:{content.hex()}")

    def _request(self, words):
        checksum = sum(words.encode()) & 0xff
        self._socket.sendall(f"${words}#{checksum:02x}".encode())
        answer = self._answer()
        while answer.startswith("T"):  # the machine has stopped: it tells by itself
            answer = self._answer()
        if answer != "OK":
            raise LabError(f"QEMU's gdb stub answers '{answer}' to '{words[:60]}'; expected OK")

    def _answer(self):
        while True:
            byte = self._received.read(1)
            if not byte:
                raise LabError("QEMU's gdb stub is gone")
            if byte != b"$":
                continue  # acknowledgements
            answer = b""
            while not answer.endswith(b"#"):
                answer += self._received.read(1)
            self._received.read(2)
            self._socket.sendall(b"+")
            return answer[:-1].decode()
