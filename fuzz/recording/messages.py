# SPDX-License-Identifier: Apache-2.0
"""The messages that a guest posts to VMBus, seen where the hypervisor takes the call."""

import struct
import subprocess
import threading

from lab.debugger import Debugger
from lab.host import build_directory

FUNCTION = "hypervisor::hypercall::post_message(hypervisor::Call&)"

# struct Call: the span of the input is behind the caller; hv_input_post_message: the payload's size
# and the payload.
CALL_INPUT = 8
MESSAGE_SIZE = 12
MESSAGE_HEADER = 16


class MessageRecorder:
    """Listens inside a `with` block to a host with one processor. `payloads` are there afterwards."""

    def __init__(self, host):
        self._debugger = Debugger(host, virtual=True)
        self._over = threading.Event()
        self._thread = None
        self.payloads = []

    def __enter__(self):
        self._debugger.__enter__()
        self._thread = threading.Thread(target=self._debugger.watch_calls, args=(
            _address(), self._over.is_set, self._take), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self._over.set()
        self._thread.join(30)
        self._debugger.__exit__(kind, value, trace)

    def _take(self):
        call = self._debugger.registers()["rdi"]
        place, size = struct.unpack("<QQ", self._debugger.read(call + CALL_INPUT, 16))
        message = self._debugger.read(place, size)
        length = struct.unpack_from("<I", message, MESSAGE_SIZE)[0]
        self.payloads.append(message[MESSAGE_HEADER:MESSAGE_HEADER + length])


def _address():
    hypervisor = build_directory() / "hypervisor" / "undercroft_elf64"
    symbols = subprocess.run(["nm", "-C", hypervisor], capture_output=True, text=True, check=True)
    address, = [line.split()[0] for line in symbols.stdout.splitlines() if line.endswith(FUNCTION)]
    return int(address, 16)
