# SPDX-License-Identifier: Apache-2.0
"""QEMU's gdb stub, for tests that change what a running machine has in its memory, and for looking
at what its hypervisor is called with."""

import os
import select
import socket

from .errors import LabError


# How the stub orders the registers of a processor in long mode, 8 bytes each.
REGISTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp")


class Debugger:
    """Stops the machine of a Host inside a `with` block. Addresses are physical, or with `virtual`
    those of the processor that has stopped."""

    def __init__(self, host, virtual=False):
        self._host = host
        self._virtual = virtual
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
        # What is received is not read ahead: select() is to see it.
        self._received = self._socket.makefile("rb", buffering=0)
        if not self._virtual:
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

    def read(self, address, size):
        return bytes.fromhex(self._ask(f"m{address:x},{size:x}"))

    def registers(self):
        """Of the processor that has stopped, the general ones by their names."""
        values = bytes.fromhex(self._ask("g"))
        return {name: int.from_bytes(values[8 * i:8 * i + 8], "little")
                for i, name in enumerate(REGISTERS)}

    def watch_calls(self, address, until, each):
        """Lets the machine go on, and calls `each()` whenever a processor is about to run the code
        there, until `until()`, which is asked now and then. For a machine with one processor."""
        while True:
            self._request(f"Z1,{address:x},1")
            self._send("c")
            if self._received.read(1) != b"+":
                raise LabError("QEMU's gdb stub does not let the machine go on")
            while not select.select([self._socket], [], [], 0.2)[0]:
                if until():
                    self._socket.sendall(b"\x03")
                    self._answer()
                    self._request(f"z1,{address:x},1")
                    return
            self._answer()
            self._request(f"z1,{address:x},1")
            each()
            # Over the instruction where it stands.
            self._ask("s")

    def _request(self, words):
        answer = self._ask(words)
        while answer.startswith("T"):  # the machine has stopped: it tells by itself
            answer = self._answer()
        if answer != "OK":
            raise LabError(f"QEMU's gdb stub answers '{answer}' to '{words[:60]}'; expected OK")

    def _ask(self, words):
        self._send(words)
        return self._answer()

    def _send(self, words):
        checksum = sum(words.encode()) & 0xff
        self._socket.sendall(f"${words}#{checksum:02x}".encode())

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
