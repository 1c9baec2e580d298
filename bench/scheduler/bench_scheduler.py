#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How the processors are shared out among guests, beside KVM with cgroups: the same bare guests on
the same emulated machine of two processors.

Usage: bench_scheduler.py OUTPUT.json [--rounds N] [--seconds N]

Prints a table (ours, the peer's, ratio: lower is better for us) and writes it as JSON. The rows:

  weights   two guests that compute on two processors each, at weights 1 and 3: by how many
            percentage points the first one's share is not a quarter of what both had
  cap       a guest that computes on one processor, capped at 25 %: by how many percentage points
            its share of a processor is not that
  wake-up   an idle guest with a timer, beside 16 virtual processors that compute: how late it runs,
            in ticks of the time-stamp counter; the median, and what one in twenty exceeds

The times of the first two are the hypervisor's (VpTotalRunTime) or the cgroup's (usage_usec), and
the clock is the root's. All values are medians of several rounds, turn about.
"""

import argparse
import contextlib
import pathlib
import re
import statistics as numbers
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))
sys.dont_write_bytecode = True

from bench import tables  # noqa: E402
from lab import Host, LabError, bare_guest, peer, statistics  # noqa: E402

BUSY = bare_guest.BUSY
WAKE = "/build/bench/scheduler/wake-guest"

ROWS = {
    "weights": ("weights 1 and 3: off a share of 25 %", "percentage points"),
    "cap": ("cap of 25 %: off it", "percentage points"),
    "wake-median": ("wake-up beside 16 busy VPs: late by", "cycles"),
    "wake-late": ("wake-up beside 16 busy VPs: one in twenty by more than", "cycles"),
}
CAP = 25
CLOCK = "cut -d' ' -f1 /proc/uptime"
LIGHT, HEAVY = 100, 300


class Undercroft:
    """Guests of croft-worker."""

    def __init__(self):
        self.host = Host(memory="2G", name="bench-scheduler")
        self._partitions = {}

    def prepare(self):
        pass

    def command(self, kernel, _name, processors, weight=None, cap=None):
        words = bare_guest.worker(kernel, memory="64M", processors=processors)
        words += ["--weight", str(weight)] if weight else []
        return words + (["--cap", str(cap)] if cap else [])

    def note(self, name):
        """The guest has just been started."""
        self._partitions[name] = max(
            set(statistics.children(self.host)) - set(self._partitions.values()))

    def times(self, names):
        """The clock, and what each of the guests has had; both in seconds."""
        # A virtual processor's time is written when it gives way, as it does to the root's.
        script = "; ".join(
            [f"taskset -c {number} true" for number in range(self.host.processors)] +
            [CLOCK] + [f"echo; cat {statistics.HOME}/partition/{self._partitions[name]}"
                               "/vp/*/stats" for name in names])
        clock, *texts = self.host.run(script, check=True).output.split("\n\n")
        return float(clock), [
            sum(int(ticks) for ticks in re.findall(r"^VpTotalRunTime *: (\d+)$", text, re.M)) / 1e7
            for text in texts]


class Kvm:
    """Guests of Debian's QEMU, each in a cgroup of its own."""

    HOME = "/sys/fs/cgroup"

    def __init__(self):
        self.host = Host(memory="2G", name="bench-scheduler-kvm", boot_timeout=240,
                         qemu=peer.tools_disk(), **peer.kvm())

    def prepare(self):
        self.host.run(f"{peer.MOUNT_TOOLS}cp {BUSY} {WAKE} /tmp/\n"
                      f"grep -q ' {self.HOME} ' /proc/mounts || "
                      f"mount -t cgroup2 none {self.HOME}\n"
                      f"echo +cpu >{self.HOME}/cgroup.subtree_control\n{peer.WAIT_FOR_CLOCK}",
                      check=True, timeout=120)

    def command(self, kernel, name, processors, weight=LIGHT, cap=None):
        home = f"{self.HOME}/{name}"
        qemu = peer.qemu("-M", "q35,accel=kvm", "-cpu", "host", "-smp", str(processors), "-m",
                         "64M", "-nodefaults", "-display", "none", "-serial", "stdio", "-kernel",
                         f"/tmp/{pathlib.Path(kernel).name}")
        limit = f"echo {cap * 1000} 100000 >{home}/cpu.max; " if cap else ""
        return ["sh", "-c", f"mkdir -p {home}; echo {weight} >{home}/cpu.weight; {limit}"
                            f"echo $$ >{home}/cgroup.procs; exec \"$@\"", "guest", *qemu]

    def note(self, name):
        pass

    def times(self, names):
        script = "; ".join([CLOCK] +
                           [f"echo; cat {self.HOME}/{name}/cpu.stat" for name in names])
        clock, *texts = self.host.run(script, check=True).output.split("\n\n")
        return float(clock), [
            int(re.search(r"^usage_usec (\d+)$", text, re.M)[1]) / 1e6 for text in texts]


@contextlib.contextmanager
def busy(side, guests):
    """Guests that compute while the block lasts: {name: options of `command`}."""
    with contextlib.ExitStack() as stack:
        running = []
        for name, options in guests.items():
            one = stack.enter_context(side.host.start_command(side.command(BUSY, name, **options)))
            running.append(one)
            one.wait_for(bare_guest.BUSY_WORD, 300)
            side.note(name)
        yield
        for one in running:
            one.signal(9)
            one.wait(30)


def shares(side, guests, seconds):
    """What each guest has of one processor."""
    with busy(side, guests):
        time.sleep(1)  # they have begun one after the other
        clock, had = side.times(guests)
        time.sleep(seconds)  # what is measured
        end, have = side.times(guests)
    return [(b - a) / (end - clock) for a, b in zip(had, have)]


def measure(side, seconds):
    found = {}
    with side.host as host:
        side.prepare()
        light, heavy = shares(side, {"light": {"processors": 2, "weight": LIGHT},
                                     "heavy": {"processors": 2, "weight": HEAVY}}, seconds)
        found["weights"] = abs(100 * light / (light + heavy) - 25)
        capped, = shares(side, {"capped": {"processors": 1, "cap": CAP}}, seconds)
        found["cap"] = abs(100 * capped - CAP)
        with busy(side, {f"busy{number}": {"processors": 4} for number in range(4)}):
            said = bare_guest.run(host, side.command(WAKE, "idle", 1))
        rows = re.findall(r"^row (\S+) (\d+)\r?$", said, re.M)
        if len(rows) != 2:
            raise LabError(f"the guest did not come to its end; its last words: {said[-500:]!r}")
        found.update({name: int(value) for name, value in rows})
        host.power_off()
    return found


SIDES = {"undercroft": Undercroft, "peer": Kvm}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="each share is measured")
    parser.add_argument("--only", choices=sorted(SIDES), help="one side")
    arguments = parser.parse_args()
    sides = [arguments.only] if arguments.only else list(SIDES)
    found = {side: {} for side in SIDES}
    for number in range(arguments.rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            for name, value in measure(SIDES[side](), arguments.seconds).items():
                found[side].setdefault(name, []).append(value)
            print(f"{side} done", file=sys.stderr, flush=True)
    rows = []
    for name, (words, unit) in ROWS.items():
        ours, theirs = (round(numbers.median(found[side][name]), 2) if name in found[side] else None
                        for side in SIDES)
        rows.append(tables.row(words, unit, ours, theirs))
    print(tables.table(rows))
    tables.write(rows, arguments.output)


if __name__ == "__main__":
    main()
