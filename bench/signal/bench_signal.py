#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The way of a signal from a guest to a thread of its host and back, beside KVM's.

Usage: bench_signal.py OUTPUT.json [--rounds N] [--exits]

Prints a table (ours, the peer's, ratio: higher is better for us) and writes it as JSON. The
emulator counts: each instruction takes a nanosecond of its time (-icount), so a reading of the
time-stamp counter is a number of instructions, and world switches are the #VMEXITs that it logs.
The peer is ioeventfd and irqfd of KVM, in the root's kernel with KVM added.
"""

import argparse
import collections
import json
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))
sys.dont_write_bytecode = True

from bench import tables  # noqa: E402
from lab import Host, peer  # noqa: E402

PROGRAM = "/build/bench/signal/signal-bench"
WARM_UP = 100  # rounds of the program that aren't counted

ROWS = (
    ("signal", "guest's signal until the guest runs on", "instructions"),
    ("there", "the same until the thread of its host runs", "instructions"),
    ("back", "the thread's answer until the guest's handler runs", "instructions"),
    ("round", "round trip, from a signal to the next", "instructions"),
    ("exits", "world switches of a round trip", "#VMEXITs"),
)


def measure(kind, rounds, options):
    """One run: medians by the names in ROWS, and the #VMEXITs of a round by their codes."""
    with Host(processors=1, memory="2G", icount=0, qemu=["-D", "trace.log"],
              name=f"bench-signal-{kind}", **options) as host:
        bench = host.start_command([PROGRAM, kind, rounds])
        bench.wait_for("ready")
        # QEMU tells of each #VMEXIT with the instructions that it translates.
        host.machine.command("human-monitor-command", **{"command-line": "log in_asm"})
        bench.write(b"\n")
        bench.wait_for("done", timeout=120)
        host.machine.command("human-monitor-command", **{"command-line": "log none"})
        bench.close_input()
        said = bench.wait(30).output
        log = (host.logs / "trace.log").read_text(errors="replace")
        host.power_off()
    result = json.loads(said.splitlines()[-1])
    codes = collections.Counter(re.findall(r"^vmexit\(([0-9a-f]+),", log, re.MULTILINE))
    counted = rounds - WARM_UP
    result["exits"] = round(sum(codes.values()) / counted, 1)
    return result, {code: count / counted for code, count in codes.most_common()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=1100)
    parser.add_argument("--exits", action="store_true", help="say which #VMEXITs there are")
    arguments = parser.parse_args()
    ours, our_exits = measure("mshv", arguments.rounds, {})
    theirs, their_exits = measure("kvm", arguments.rounds, peer.kvm())
    rows = []
    print(f"{'':54} {'ours':>10} {'peer':>10} {'ratio':>7}")
    for key, name, unit in ROWS:
        ratio = round(theirs[key] / ours[key], 2)
        rows.append({"name": name, "unit": unit, "undercroft": ours[key], "peer": theirs[key],
                     "ratio": ratio})
        print(f"{name:54} {ours[key]:10,} {theirs[key]:10,} {ratio:7}  {unit}")
    if arguments.exits:
        for who, exits in (("ours", our_exits), ("peer", their_exits)):
            print(who, " ".join(f"{code.lstrip('0') or '0'}: {count:.2f}"
                                for code, count in exits.items() if count >= 0.05))
    tables.write(rows, arguments.output)


if __name__ == "__main__":
    main()
