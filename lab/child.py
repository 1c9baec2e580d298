# SPDX-License-Identifier: Apache-2.0
"""What the user land of root/child/init says on a child's console, for tests to judge."""

import hashlib
import re

# The line that comes exactly once, when the child's kernel has done its part.
MARK = "child: reached user land"

SEED = "undercroft"
ROUNDS = 20


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
