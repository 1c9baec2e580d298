# SPDX-License-Identifier: Apache-2.0
"""Children with a kernel of Debian's and the small user land of root/child: how one is started, and
what it says on its console, for tests to judge."""

import hashlib
import re

from root import recipe

from .guest_shell import GuestShell

# The line that comes exactly once, when the child's kernel has done its part.
MARK = "child: reached user land"

SEED = "undercroft"
ROUNDS = 20


def worker(artifacts, processors=1, memory="256M", line="croft.do=poweroff", options=(),
           kernel=None):
    """The words that start one: `line` for its kernel, `options` for the worker."""
    cache = recipe.cache.directory()
    kernel = kernel or artifacts.child_kernel
    return ["/build/worker/croft-worker",
            "--kernel", f"/cache/{kernel.relative_to(cache)}",
            "--initrd", f"/cache/{artifacts.child_userland.relative_to(cache)}",
            "--cmdline", f"console=ttyS0 quiet {line}",
            "--memory", memory, "--processors", str(processors), *options]


class Child:
    """One with a shell, that has loaded `modules`. `line`: more for its kernel's command line;
    `kernel`: one of the artifacts in place of Debian's generic one."""

    def __init__(self, host, artifacts, modules, *options, processors=2, line="", kernel=None):
        self.worker = host.start_command(worker(
            artifacts, processors, options=options, kernel=kernel,
            line=f"loglevel=4 croft.modules={modules} croft.rounds=1 croft.do=shell {line}"))
        self._shell = GuestShell(self.worker)
        self.wait_for_shell()

    def wait_for_shell(self, times=1):
        """Waits until the shell is there for the `times`th time since the child was started."""
        self.worker.wait_for("(?s)" + ".*".join(["child: shell"] * times), timeout=180)

    def run(self, command, status=0, timeout=120):
        """Runs a line in the shell; answers what it says."""
        return self._shell.run(command, status, timeout)

    def end(self):
        """Leaves the shell, and answers how the worker ended."""
        self.worker.write(b"exit\n")
        return self.worker.wait(60)


def expected_computation(seed=SEED, rounds=ROUNDS):
    """What each processor must come to with croft.seed=seed and croft.rounds=rounds."""
    value = seed
    for _ in range(rounds):
        value = hashlib.sha256(value.encode()).hexdigest()
    return value


class Report:
    """The lines of a child's console, understood."""

    def __init__(self, console):
        lines = [line.strip() for line in console.splitlines()]
        self.reached = lines.count(MARK) == 1
        self.kernel = self._word(lines, r"child: kernel (\S+)")
        self.clocksource = self._word(lines, r"child: clocksource (\S+)")
        self.processors = int(self._word(lines, r"child: processors (\d+)") or 0)
        self.memory_kib = int(self._word(lines, r"child: memory (\d+) kB") or 0)
        computed = (re.fullmatch(r"child: computed on processor (\d+): ([0-9a-f]{64})", line)
                    for line in lines)
        self.computed = {int(match[1]): match[2] for match in computed if match}

    def problems(self, processors, seed=SEED, rounds=ROUNDS):
        """What is wrong with it, in words; nothing if it is as it should be."""
        found = []
        if not self.reached:
            found.append(f"'{MARK}' did not come exactly once")
        if self.processors != processors:
            found.append(f"it sees {self.processors} processors; expected {processors}")
        expected = expected_computation(seed, rounds)
        for number in range(processors):
            if self.computed.get(number) != expected:
                found.append(f"processor {number} computed {self.computed.get(number)}; expected "
                             f"{expected}")
        return found

    @staticmethod
    def _word(lines, pattern):
        return next((match[1] for match in (re.fullmatch(pattern, line) for line in lines)
                     if match), None)
