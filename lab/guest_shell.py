# SPDX-License-Identifier: Apache-2.0
"""A shell on a guest's console, for commands one after the other."""

from .errors import LabError


class GuestShell:
    """`console` is a Command at whose other end a shell reads lines. It may echo them. `lost` is a
    regular expression for what says that no answer will come any more."""

    def __init__(self, console, lost=None):
        self._console = console
        self._lost = f"|({lost})" if lost else ""
        self._number = 0

    def run(self, command, status=0, timeout=120):
        """Runs a line; answers what it says. It has to end with `status`."""
        self._number += 1
        number = self._number
        # The marks that are looked for are not in an echo as such.
        self._console.write(
            f"echo \"[\"'{number}'; {command}; echo \"<$?:\"'{number}>'\n".encode())
        match = self._console.wait_for(rf"(?s)\[{number}\r?\n(.*?)<(\d+):{number}>{self._lost}",
                                       timeout=timeout)
        if match[2] is None:
            raise LabError(f"{command}: the guest is lost: {match[0].decode(errors='replace')}")
        output = match[1].decode(errors="replace").replace("\r\n", "\n")
        if int(match[2]) != status:
            raise LabError(f"{command}: status {int(match[2])} in the guest; expected {status}; it "
                           f"said {output[-500:]!r}")
        return output
