# SPDX-License-Identifier: Apache-2.0
"""The lab's end of the line to its agent in the root; lab/agent/protocol.hpp has the frames."""

import itertools
import struct
import threading

from .command import Command
from .errors import LabError

MAGIC = 0x54465243
VERSION = 1
MAX_PAYLOAD = 64 * 1024
INPUT_WINDOW = 256 * 1024

START, INPUT, SIGNAL, RESIZE = 1, 2, 3, 4
HELLO, OUTPUT, ERROR, EXITED, FAILED, CONSUMED = 16, 17, 18, 19, 20, 21

HEADER = struct.Struct("<IIII")
START_HEADER = struct.Struct("<HHHHII")


class AgentLink:
    """Starts commands in the root over a connected stream socket."""

    def __init__(self, socket):
        self._socket = socket
        self._channels = itertools.count(1)
        self._sending = threading.Lock()
        self._changed = threading.Condition()
        self._commands = {}
        self._windows = {}
        self._hellos = 0
        self._broken = None
        threading.Thread(target=self._receive, name="agent link", daemon=True).start()

    @property
    def hellos(self):
        """How often an agent has reported: once for each start of the root."""
        with self._changed:
            return self._hellos

    def wait_for_hello(self, count, timeout):
        """Waits for the agent's `count`th report; answers whether it came."""
        with self._changed:
            self._changed.wait_for(lambda: self._hellos >= count or self._broken, timeout)
            return self._hellos >= count

    def give_up(self, reason):
        """The host is gone: whoever waits for a command learns it now."""
        with self._changed:
            if self._broken:
                return
            self._broken = reason
            commands = list(self._commands.values())
            self._commands.clear()
            self._changed.notify_all()
        for command in commands:
            command.failed(reason)

    def start(self, arguments, directory="", environment=None, terminal=None, on_output=None):
        """Starts a command. `terminal` is (rows, columns) to run it on a pseudo-terminal."""
        channel = next(self._channels)
        settings = [f"{name}={value}" for name, value in (environment or {}).items()]
        strings = [directory, *arguments, *settings]
        rows, columns = terminal or (0, 0)
        payload = START_HEADER.pack(int(terminal is not None), rows, columns, 0, len(arguments),
                                    len(settings))
        payload += b"".join(string.encode() + b"\0" for string in strings)
        if len(payload) > MAX_PAYLOAD:
            raise LabError(f"the command line of {arguments[0]} has {len(payload)} bytes; expected "
                           f"at most {MAX_PAYLOAD}: hand long content over by input or a file")
        command = Command(
            " ".join(arguments),
            send_input=lambda content: self._send_input(channel, content),
            send_signal=lambda number: self._send(SIGNAL, channel, struct.pack("<I", number)),
            send_size=lambda *size: self._send(RESIZE, channel, struct.pack("<HH", *size)),
            on_output=on_output)
        with self._changed:
            if self._broken:
                raise LabError(f"cannot run {arguments[0]}: {self._broken}")
            self._commands[channel] = command
            self._windows[channel] = INPUT_WINDOW
        self._send(START, channel, payload)
        return command

    def _send(self, kind, channel, payload):
        try:
            with self._sending:
                self._socket.sendall(HEADER.pack(MAGIC, kind, channel, len(payload)) + payload)
        except OSError as error:
            raise LabError(f"the line to the root is closed ({error.strerror}); has the host "
                           "ended?") from error

    def _send_input(self, channel, content):
        if not content:
            self._send(INPUT, channel, b"")
            return
        content = memoryview(content)
        while content:
            with self._changed:
                self._changed.wait_for(lambda: channel not in self._commands
                                       or self._windows[channel] > 0)
                if channel not in self._commands:
                    return
                size = min(len(content), self._windows[channel], MAX_PAYLOAD)
                self._windows[channel] -= size
            self._send(INPUT, channel, bytes(content[:size]))
            content = content[size:]

    def _receive(self):
        received = bytearray()
        while True:
            try:
                content = self._socket.recv(1 << 18)
            except OSError:
                content = b""
            if not content:
                self.give_up("the host ended")
                return
            received += content
            taken = 0
            while len(received) - taken >= HEADER.size:
                magic, kind, channel, length = HEADER.unpack_from(received, taken)
                if magic != MAGIC or length > MAX_PAYLOAD:
                    # The rest of a frame that a reset of the root cut short.
                    taken += 1
                    continue
                if len(received) - taken - HEADER.size < length:
                    break
                start = taken + HEADER.size
                self._handle(kind, channel, bytes(received[start:start + length]))
                taken = start + length
            del received[:taken]

    def _handle(self, kind, channel, payload):
        if kind == HELLO:
            self._greet(struct.unpack("<I", payload)[0])
            return
        with self._changed:
            command = self._commands.get(channel)
            if kind in (EXITED, FAILED):
                self._commands.pop(channel, None)
                self._windows.pop(channel, None)
                self._changed.notify_all()
            elif kind == CONSUMED and channel in self._windows:
                self._windows[channel] += struct.unpack("<I", payload)[0]
                self._changed.notify_all()
        if command is None:
            return
        if kind == OUTPUT:
            command.took_output(payload)
        elif kind == ERROR:
            command.took_error(payload)
        elif kind == EXITED:
            command.ended(struct.unpack("<I", payload)[0])
        elif kind == FAILED:
            command.failed(payload.decode(errors="replace"))

    def _greet(self, version):
        with self._changed:
            commands = list(self._commands.values())
            self._commands.clear()
            self._windows.clear()
            self._hellos += 1
        for command in commands:
            command.failed("the root was started anew under it")
        if version != VERSION:
            self.give_up(f"the agent in the root speaks version {version}; expected {VERSION}: "
                         "build the tree ('make build')")
        with self._changed:
            self._changed.notify_all()
