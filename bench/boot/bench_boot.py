#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a Linux guest takes to boot and to work, beside KVM's: Debian's kernels with the child's
user land, on the same emulated machine.

Usage: bench_boot.py OUTPUT.json [--rounds N] [--only instructions|time] [--exits]

Prints a table (ours, the peer's, ratio: lower is better for us) and writes it as JSON. The rows:

  quiet boot     from the start of the VMM until the host reads the first line of the guest's user
                 land on the guest's console: with the VMM's own start, and the peer's firmware. Of
                 Debian's generic kernel, which takes most of that to unpack itself (xz), and of the
                 one for clouds (lz4).
  fork and exec  of a small static program, 500 times
  compile        one file by gcc -O2, twice; the compiler is this machine's, and in the initramfs

each of them in two kinds of runs:

  instructions   of the whole machine, the guest's too: the emulator counts them (-icount), less
                 what the machine is idle. Beside them the world switches of the guest. The peer's
                 are without its polling before it sleeps, and with an exit at the end of each
                 interrupt, as in bench_io.py.
  time           by the host's clock: medians of several rounds, turn about

The peer is Debian's QEMU with KVM, on the root's own kernel with KVM added. Machine and guest have
one processor; bench/io/sides.py says why. All that is read is in memory, by a boot before that is
not measured.
"""

import argparse
import pathlib
import re
import statistics as numbers
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))
sys.dont_write_bytecode = True

from bench import tables  # noqa: E402
from bench.boot import userland  # noqa: E402
from lab import Host, LabError, child, peer, statistics  # noqa: E402
from lab.guest import in_cache  # noqa: E402

MEMORY = "512M"
LINE = "console=ttyS0 quiet"

ROWS = {
    "boot": "quiet boot to user land",
    "boot-cloud": "the same, of the kernel for clouds",
    "forks": "fork and exec, 500 times",
    "compile": "gcc -O2 of one file, twice",
}

# What is measured of each: its unit, in which it is told, in which kind of runs.
VALUES = {
    "busy": ("thousand instructions", "instructions"),
    "switches": ("world switches of the guest", "instructions"),
    "time": ("ms", "time"),
}

# Of each kernel, in each round.
BOOTS = 2

# Interrupts a second that a guest with work has at least: Debian's kernel has 250 ticks.
TICKS = 150

WATCH = pathlib.Path(__file__).with_name("watch")


class Side:
    """A host, and VMMs on it one after the other."""

    name = ""
    options = {}
    files = ""  # that have what the host has spent
    tries = 1

    def __init__(self, counting):
        self.counting = counting
        self.host = Host(processors=1, memory="2G", icount=0 if counting else None,
                         qemu=peer.tools_disk(), boot_timeout=240, name=f"bench-boot-{self.name}",
                         **self.options)

    def prepare(self):
        """Has all that is needed in the host's memory."""
        artifacts = self.host.artifacts
        for name, path in (("boot", artifacts.child_kernel),
                           ("boot-cloud", artifacts.child_cloud_kernel),
                           ("boot.cpio", artifacts.child_userland),
                           ("loads.cpio", userland.build(artifacts))):
            self.host.run(["cp", in_cache(path), f"/tmp/{name}"], check=True, timeout=120)
        self.host.put(WATCH, "/tmp/watch")

    def command(self, kernel, initramfs, line):
        """That of a VMM with a guest whose console is its input and output."""
        raise NotImplementedError

    def spent(self, text):
        """By what the files hold: seconds in which the machine was not idle, and counters of the
        guest, among them how often it was left ("switches"), and its interrupts."""
        raise NotImplementedError

    def boot(self, kernel):
        """Values of a boot, by a row's name."""
        return self._watch(kernel, "boot.cpio", "croft.rounds=0 croft.do=wait", [child.MARK])[0]

    def loads(self):
        """Values by the names of the loads."""
        _, forks, compiled = self._watch(
            "boot-cloud", "loads.cpio", f"rdinit={userland.INIT}",
            ["loads: ready", "loads: fork and exec", "loads: compiled"])
        return {"forks": forks, "compile": compiled}

    def _watch(self, kernel, initramfs, line, marks):
        """Values from each mark of a guest's console to the next; the first is from the VMM's
        start."""
        result = self.host.run(
            ["sh", "/tmp/watch",
             *self.command(f"/tmp/{kernel}", f"/tmp/{initramfs}", f"{LINE} {line}")],
            environment={"MARKS": "\n".join(marks), "FILES": self.files}, check=True, timeout=150)
        if "has failed" in result.error:
            raise LabError(f"a load has failed in the guest: {result.error[-500:]!r}")
        lots = [self._values(text) for text in result.output.split("mark\n")[1:]]
        return [{name: value - before.get(name, 0) for name, value in after.items()}
                for before, after in zip(lots, lots[1:])]

    def _values(self, text):
        busy, counters = self.spent(text)
        now = int(re.search(r"now at (\d+)", text)[1])
        return {"busy": busy * 1e6, "time": now / 1e6, **counters}


class Undercroft(Side):
    name = "undercroft"
    files = (f"/proc/timer_list {statistics.HOME}/lp/*/stats "
             f"{statistics.HOME}/partition/*/vp/*/stats")

    def prepare(self):
        super().prepare()
        # A share forgets what it has read when nobody has it open.
        self.host.run(["cp", "/build/worker/croft-worker", "/tmp/"], check=True)

    def command(self, kernel, initramfs, line):
        return ["/tmp/croft-worker", "--kernel", kernel, "--initrd", initramfs, "--cmdline", line,
                "--memory", MEMORY, "--processors", "1"]

    def spent(self, text):
        # In units of 100 ns, the hypervisor's own included.
        busy = int(re.search(r"LpTotalRunTime *: (\d+)", text)[1]) / 1e7
        counters = {name: int(count) for partition, name, count in
                 re.findall(r"partition/(\d+)/vp/0/stats:(Vp\w+) *: (\d+)", text)
                 if partition != "1"}
        switches = sum(counters.get(name, 0) for name in statistics.EXITS)
        return busy, {**counters, "switches": switches,
                      "interrupts": counters.get("VpVirtualInterrupts", 0)}


class Kvm(Side):
    name = "peer"
    options = peer.kvm()
    files = "/proc/timer_list /sys/kernel/debug/kvm/*"
    tries = 6

    def prepare(self):
        super().prepare()
        self.host.run(peer.MOUNT_TOOLS + peer.WAIT_FOR_CLOCK, check=True, timeout=120)
        if self.counting:
            # It looks for work in a loop before it sleeps: instructions that mean nothing.
            self.host.run("echo 0 >/sys/module/kvm/parameters/halt_poll_ns", check=True)

    def command(self, kernel, initramfs, line):
        processor = "host,kvm-pv-eoi=off" if self.counting else "host"
        return peer.qemu("-M", "q35,accel=kvm,kernel-irqchip=on", "-cpu", processor, "-smp", "1",
                         "-m", MEMORY, "-nodefaults", "-display", "none", "-serial", "stdio",
                         "-kernel", kernel, "-initrd", initramfs, "-append", line)

    def spent(self, text):
        now = int(re.search(r"now at (\d+)", text)[1])
        idle = sum(map(int, re.findall(r"\.(?:idle|iowait)_sleeptime *: (\d+)", text)))
        counters = {name: int(count)
                 for name, count in re.findall(r"debug/kvm/(\w+):(\d+)$", text, re.MULTILINE)}
        return (now - idle) / 1e9, {**counters, "switches": counters["exits"],
                                    "interrupts": counters["irq_injections"]}


SIDES = (Undercroft, Kvm)


def tell(text):
    print(text, file=sys.stderr, flush=True)


def measure(kind, counting):
    """One round: what has been found of each row."""
    side = kind(counting)
    found = {name: [] for name in ROWS}
    with side.host:
        side.prepare()
        for kernel in ("boot-cloud", "boot"):
            side.boot(kernel)
            for _ in range(1 if counting else BOOTS):
                found[kernel].append(side.boot(kernel))
        for name, values in side.loads().items():
            found[name].append(values)
        side.host.power_off()
    check_clock(found["compile"][0])
    return found


def check_clock(work):
    """On some hosts no guest of KVM gets an interrupt from its local APIC's timer, for whatever
    reason. One that computes goes on without, and saves the time of its ticks."""
    ticks = work["interrupts"] / work["time"] * 1e3
    if ticks < TICKS:
        raise LabError(f"the guest has had {ticks:.0f} interrupts a second; expected {TICKS}: its "
                       "timer has stopped")


def measure_patiently(kind, counting):
    """Goes on with another host where the peer's guest has hung, which bench/io/sides.py tells of,
    or has no clock."""
    for number in range(1, kind.tries + 1):
        try:
            return measure(kind, counting)
        except LabError as error:
            if number == kind.tries:
                raise
            tell(f"{kind.name}: {str(error)[:200]}; starts once more")
    return None


def rows_of(runs):
    """`runs` has what has been found, by the kind of run, side and row."""
    rows = []
    for name, words in ROWS.items():
        for value, (unit, kind) in VALUES.items():
            found = [[one[value] for one in runs[kind][side][name]] for side in SIDES]
            if all(found):
                rows.append(tables.row(words, unit, *(round(numbers.median(one))
                                                      for one in found)))
    return rows


def tell_exits(runs):
    for side in SIDES:
        for name, found in runs["instructions"][side].items():
            for values in found:
                counts = sorted(((count, what) for what, count in values.items()
                                 if what not in VALUES and count > 0), reverse=True)
                print(f"{side.name}, {ROWS[name]}:",
                      " ".join(f"{what}: {count:.0f}" for count, what in counts))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3, help="of the runs that take the time")
    parser.add_argument("--only", choices=("instructions", "time"))
    parser.add_argument("--exits", action="store_true", help="say what the guests are left for")
    arguments = parser.parse_args()
    rounds = {"instructions": 1, "time": arguments.rounds}
    runs = {kind: {side: {name: [] for name in ROWS} for side in SIDES} for kind in rounds}
    for kind in [arguments.only] if arguments.only else rounds:
        for number in range(rounds[kind]):
            for side in SIDES if number % 2 == 0 else reversed(SIDES):
                for name, found in measure_patiently(side, kind == "instructions").items():
                    runs[kind][side][name] += found
                tell(f"{kind}: {side.name} done, {number + 1} of {rounds[kind]}")
            # As far as it has come: what is left takes long.
            tables.write(rows_of(runs), arguments.output)
    print(tables.table(rows_of(runs)))
    if arguments.exits:
        tell_exits(runs)


if __name__ == "__main__":
    main()
