# SPDX-License-Identifier: Apache-2.0
"""How many instructions an emulated machine has executed, of all that runs on it: by a plugin of
the emulator, which changes nothing but how long they take."""

import os
import socket

from .host import build_directory

PLUGIN = "lab/croft-instructions.so"
SOCKET = "instructions"


def arguments():
    """For the emulator of a Host."""
    plugin = str(build_directory() / PLUGIN).replace(",", ",,")
    return ["-plugin", f"{plugin},socket={SOCKET}"]


def count(host):
    """So many until now."""
    with socket.socket(socket.AF_UNIX) as connection:
        # Seen from the directory, however long its name is.
        directory = os.open(host.logs, os.O_PATH | os.O_DIRECTORY)
        try:
            connection.connect(f"/proc/self/fd/{directory}/{SOCKET}")
        finally:
            os.close(directory)
        return int(connection.makefile().readline())
