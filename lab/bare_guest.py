# SPDX-License-Identifier: Apache-2.0
"""Bare guests (tests/guests/bare): kernels of one program, which say "done" and don't end."""

from .errors import LabError

# One whose processors compute for ever; it says so when all do.
BUSY = "/build/tests/guests/bare/busy-guest"
BUSY_WORD = "spins on"

# Two processors that spin for one another: how long that takes without and with telling so.
SPINNING = "/build/tests/guests/bare/spin-guest"

LAST_WORD = r"^(done|Bail out!.*)\r?$"


def worker(kernel, *, memory="256M", processors=2):
    """The command that boots it on Undercroft."""
    return ["/build/worker/croft-worker", "--kernel", kernel, "--memory", memory, "--processors",
            str(processors)]


def run(host, command, timeout=400):
    """Runs such a guest's VM to its last word, until it ends without one, or until it has taken too
    long; answers what it has said."""
    with host.start_command(command) as running:
        try:
            running.wait_for(LAST_WORD, timeout)
        except LabError:
            return (running.output + running.error).decode(errors="replace")
        said = running.output.decode(errors="replace")
        running.signal(9)
        running.wait(30)
    return said
