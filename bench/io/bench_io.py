#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Disks and networks of a stock Debian guest beside KVM with QEMU's virtio, turn about in one run.

Usage: bench_io.py OUTPUT.json [--rounds N] [--seconds N] [--only PART]… [--no-instructions]

Prints a table (ours, the peer's, ratio: higher is better for us) of medians and writes it as JSON.
All hosts are up together, and each load is run by one after the other, the others standing still.
Emulated machine, guest, its kernel and the loads are the same. The peer's host has the root's
kernel with KVM added, and Debian's QEMU, whose disk is a block device with cache=none, aio=io_uring
and an I/O thread. Networks are measured beside QEMU's own and beside vhost. On the machine there is
one processor (sides.PROCESSORS says why), so a guest and what serves it take turns.

Rates are what fio and iperf3 say. What one I/O or packet costs is measured in the midst of a load:

  instructions    of the whole machine, the guest's too: a plugin of the emulator counts them in a
                  pass of its own. (With -icount no guest of KVM lives long, see
                  sides.PROCESSORS.) The peer's are without its polling before it sleeps.
  world switches  of the guest and of the host
  worker          processor time of the process that serves the guest, all threads, less what the
                  guest has had, and of its vhost thread. The root's kernel takes for a task's
                  own what the hypervisor has given to the child while that task was running;
                  that is taken off in proportion (sides.Undercroft.correct).
"""

import argparse
import contextlib
import functools
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import sides  # noqa: E402
from bench import tables  # noqa: E402
from lab.errors import LabError  # noqa: E402

DISK_BYTES = 1 << 30

# bytes beside the guest's memory
MOST_MEMORY = 8 << 20
MEMORY = "memory of a worker with one disk and one NIC, against the limit"

# name, fio's words, what is counted
DISK_LOADS = (
    ("random read 4 KiB, depth 1", "--rw=randread --bs=4k --iodepth=1", "iops"),
    ("random write 4 KiB, depth 1", "--rw=randwrite --bs=4k --iodepth=1", "iops"),
    ("random read 4 KiB, depth 32", "--rw=randread --bs=4k --iodepth=32", "iops"),
    ("random write 4 KiB, depth 32", "--rw=randwrite --bs=4k --iodepth=32", "iops"),
    ("sequential read 128 KiB", "--rw=read --bs=128k --iodepth=16", "bw"),
    ("sequential write 128 KiB", "--rw=write --bs=128k --iodepth=16", "bw"),
)


# What is counted, and how many of them show that a load is under way.
IN_MIDST = {"I/O": 30, "MB": 200000, "packet": 50, "round trip": 20}


def costs_of(name, side, costs, what):
    """Rows of what one of something has cost. Less is better."""
    if side.counting:
        return {(name, f"thousand instructions per {what}"): costs["instructions"] / 1e3}
    rows = {(name, f"µs of the worker per {what}"): costs["worker"] * 1e6}
    for whose in ("guest's", "host's"):
        rows[name, f"{whose} world switches per {what}"] = costs[f"{whose} switches"]
    return rows


def run_disk(side, seconds):
    """Loads by their names, each of which answers values by (name, unit)."""
    def run(name, words, counted):
        rate, kib, costs = sides.fio(
            side, f"--filename=/dev/{side.disk} --direct=1 --ioengine=libaio {words}",
            "disk", IN_MIDST["I/O"], seconds)
        fast = {(name, "I/O per second"): rate} if counted == "iops" else {
            (name, "MiB/s"): kib / 1024}
        return {**fast, **costs_of(name, side, costs, "I/O")}

    return {words[0]: functools.partial(run, *words) for words in DISK_LOADS}


# name, iperf3's words; by "-R" the host sends
STREAMS = (
    ("one stream to the host", ""),
    ("one stream to the guest", "-R"),
    ("four streams to the host", "-P 4"),
    ("four streams to the guest", "-P 4 -R"),
)

# How large TCP makes its segments hangs on the shortest round trip that a connection has met: two
# of one guest may differ by more than two guests do.
CONNECTIONS = 3
SMALL_PACKETS = (
    ("packets of 64 bytes to the host", ""),
    ("packets of 64 bytes to the guest", "-R"),
)
ROUND_TRIP = "TCP round trips of 64 bytes"


def run_network(side, seconds):
    """Loads by their names, each of which answers values by (name, unit)."""
    def connect(name, words):
        sums, costs = sides.iperf3(side, words, "bytes", IN_MIDST["MB"], seconds)
        costs = {key: value * 1e6 for key, value in costs.items()}
        return {(name, "Mbit/s"): sums["sum_received"]["bits_per_second"] / 1e6,
                **costs_of(name, side, costs, "MB")}

    def stream(name, words):
        found = [connect(name, words) for _ in range(1 if side.counting else CONNECTIONS)]
        return {row: statistics.median(values[row] for values in found) for row in found[0]}

    def small_packets(name, words):
        sums, costs = sides.iperf3(side, f"-u -b 0 -l 64 {words}", "packets", IN_MIDST["packet"],
                                   seconds)
        total = sums["sum"]
        return {(name, "packets/s"): (total["packets"] - total["lost_packets"]) / total["seconds"],
                **costs_of(name, side, costs, "packet")}

    def round_trips(name):
        rate, costs = sides.round_trips(side, "packets", 2 * IN_MIDST["round trip"], seconds)
        costs = {key: value * 2 for key, value in costs.items()}  # a packet each way
        return {(name, "round trips/s"): rate, **costs_of(name, side, costs, "round trip")}

    return {**{words[0]: functools.partial(stream, *words) for words in STREAMS},
            **{words[0]: functools.partial(small_packets, *words) for words in SMALL_PACKETS},
            ROUND_TRIP: functools.partial(round_trips, ROUND_TRIP)}


PARTS = {"disk": run_disk, "network": run_network}
NAMES = {"disk": [name for name, *_ in DISK_LOADS],
         "network": [*(name for name, *_ in (*STREAMS, *SMALL_PACKETS)), ROUND_TRIP]}
LOADS = [*NAMES["disk"], *NAMES["network"]]


def tell(kind, values):
    """A line for each as they come: all together take long."""
    for (name, unit), value in values.items():
        print(f"  {kind.name}: {name}: {value:,.1f} {unit}", file=sys.stderr, flush=True)


class Turns:
    """One side that has its turns, a load each, and stands still while others have theirs. It is
    started anew where the peer's guest has hung: the fault of the emulator that sides.PROCESSORS
    tells of is rare with one processor."""

    def __init__(self, kind, disk, arguments, counting):
        self.kind = kind
        self._start = functools.partial(kind, disk, counting)
        self._seconds = arguments.seconds
        self._parts = [part for part in kind.parts if part in (arguments.only or PARTS)]
        self._tries = 1 if kind is sides.Undercroft else 6
        self._side = None

    def loads(self):
        return [name for part in self._parts for name in NAMES[part]]

    def run(self, name):
        """Values by (name, unit)."""
        while True:
            try:
                self._go_on()
                part = next(part for part in self._parts if name in NAMES[part])
                values = PARTS[part](self._side, self._seconds)[name]()
                self._side.host.machine.command("stop")
                return values
            except LabError as error:
                self._tries -= 1
                self._end(error)
                if self._tries == 0:
                    raise
                print(f"{self.kind.name}: {str(error)[-300:]}; starts once more", file=sys.stderr,
                      flush=True)

    def memory(self):
        """Bytes of the worker that are its own."""
        self._go_on()
        return self._side.memory()

    def close(self):
        if self._side is not None:
            self._go_on()
            self._end(None)

    def _go_on(self):
        if self._side is None:
            self._side = self._start().__enter__()
        else:
            self._side.host.machine.command("cont")

    def _end(self, error):
        side, self._side = self._side, None
        if side is not None:
            side.__exit__(type(error) if error else None, error, None)


def run_round(kinds, folder, arguments, counting):
    """Values of each kind: each load by one side after the other, so that what else this machine
    does, and how fast it is just then, meets all of them alike."""
    found = {kind: {} for kind in kinds}
    with contextlib.ExitStack() as stack:
        turns = [stack.enter_context(contextlib.closing(Turns(kind, disk, arguments, counting)))
                 for kind, disk in zip(kinds, disks(folder, kinds))]
        for load in LOADS:
            for side in turns:
                if load in side.loads():
                    values = side.run(load)
                    tell(side.kind, values)
                    found[side.kind].update(values)
        for side in turns:
            if side.kind is sides.Undercroft:
                found[side.kind][MEMORY, "KiB"] = side.memory() / 1024
    return found


def disks(folder, kinds):
    """One for each side, all alike: full of what can't be made smaller."""
    first = folder / "disk"
    if not first.exists():
        with open(first, "wb") as file:
            for _ in range(DISK_BYTES >> 24):
                file.write(os.urandom(1 << 24))
    for kind in kinds:
        disk = folder / kind.name
        if not disk.exists():
            shutil.copyfile(first, disk)
        yield disk


def is_cost(unit):
    return " per " in unit and "second" not in unit


def ratio(ours, peer, unit):
    """Higher is better for us, of rates as of costs."""
    over, under = (peer, ours) if is_cost(unit) else (ours, peer)
    return round(over / under, 2) if over and under else None


def compare(runs, peer):
    """Rows of medians, ours beside those of one peer."""
    rows = []
    for name, unit in sorted(runs[peer], key=lambda row: LOADS.index(row[0])):
        ours, theirs = (statistics.median(runs[kind][name, unit])
                        for kind in (sides.Undercroft, peer))
        rows.append({"name": f"{name}, {peer.words}" if peer.words else name, "unit": unit,
                     "undercroft": round(ours, 2), "peer": round(theirs, 2),
                     "ratio": ratio(ours, theirs, unit)})
    return rows


def rows_of(runs):
    """All rows: ours, its first, beside each peer's, and what has a limit."""
    rows = [row for peer in list(runs)[1:] for row in compare(runs, peer)]
    sizes = runs[sides.Undercroft].get((MEMORY, "KiB"))
    if sizes:
        memory = statistics.median(sizes)
        rows.append({"name": MEMORY, "unit": "KiB", "undercroft": memory,
                     "peer": MOST_MEMORY >> 10, "ratio": round((MOST_MEMORY >> 10) / memory, 2)})
    return rows


COLUMNS = ("thousand instructions", "guest's world switches", "host's world switches",
           "µs of the worker")


def table(rows):
    """A line for each load: how fast it is, and in columns of their own what one has cost."""
    loads = {}
    for row in rows:
        loads.setdefault(row["name"], []).append(row)
    lines = [f"{'':44} {'':12} {'':>26}  {'10^3 instr.':>13} {'switches':>13} {'of host':>13} "
             f"{'worker, µs':>13}",
             f"{'':44} {'':12} {'ours':>9} {'kvm':>9} {'ratio':>6}  " +
             " ".join(f"{'ours':>6} {'kvm':>6}" for _ in COLUMNS) + "  per"]
    for name, parts in loads.items():
        line = f"{name:44} {'':41}"
        for what in parts:
            if not is_cost(what["unit"]):
                line = (f"{name:44} {what['unit'].replace(' per second', '/s'):>12} "
                        f"{what['undercroft']:9,.0f} {what['peer']:9,.0f} {what['ratio']:6.2f} ")
        costs = {row["unit"].partition(" per ")[0]: row for row in parts if is_cost(row["unit"])}
        for column in COLUMNS if costs else ():
            pair = (costs[column]["undercroft"], costs[column]["peer"]) if column in costs else ()
            line += "".join(f" {value:6,.{1 if abs(value) < 100 else 0}f}" for value in pair) \
                or f" {'-':>6} {'-':>6}"
        if costs:
            line += "  " + next(iter(costs.values()))["unit"].partition(" per ")[2]
        lines.append(line)
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3, help="0: the pass that counts only")
    parser.add_argument("--seconds", type=float,
                        default=float(os.environ.get("BENCH_SECONDS", "3")),
                        help="for which each load is measured; 1 is a try")
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--no-instructions", action="store_true",
                        help="without the pass in which the emulator counts them")
    arguments = parser.parse_args()
    kinds = [sides.Undercroft, sides.Kvm]
    if "network" in (arguments.only or PARTS):
        kinds.append(sides.KvmVhost)
    passes = [(f"round {number + 1}", False) for number in range(arguments.rounds)]
    if not arguments.no_instructions:
        passes.append(("instructions", True))
    runs = {kind: {} for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="croft-bench-") as folder:
        for number, (name, counting) in enumerate(passes):
            begin = time.monotonic()
            order = kinds if number % 2 == 0 else kinds[::-1]
            found = run_round(order, pathlib.Path(folder), arguments, counting)
            for kind, values in found.items():
                for row, value in values.items():
                    # Of the pass that counts only what costs count: its time is no time.
                    if not counting or is_cost(row[1]):
                        runs[kind].setdefault(row, []).append(value)
            print(f"{name}: done in {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
            # As far as it has come: what is left takes long.
            rows = rows_of(runs)
            tables.write(rows, arguments.output)
    print(table(rows))


if __name__ == "__main__":
    main()
