#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What exits cost a guest, beside KVM's: the same bare guest on the same emulated machine.

Usage: bench_exits.py OUTPUT.json [--rounds N] [--only instructions|cycles]

Prints a table (ours, the peer's, ratio: lower is better for us) and writes it as JSON. The guest
measures by its own time-stamp counter, in two kinds of runs:

  instructions  one processor; each instruction takes a nanosecond (-icount), exactly repeatable; a
                world switch counts as one
  cycles        two processors, medians of several rounds, turn about

The peer is Debian's QEMU with KVM, on the root's own kernel with KVM added. A row of its own is
the emulator's bare VMRUN and #VMEXIT, below which nobody goes. What a VMM answers in user land is
measured with the I/O APIC in QEMU (kernel-irqchip=split), ours once more with scheduler=root;
first touches once with pages of 4 KiB and once of 2 MiB.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))
sys.dont_write_bytecode = True

from bench import tables  # noqa: E402
from lab import Host, LabError, bare_guest, peer  # noqa: E402
from lab.host import build_directory  # noqa: E402
from lab.machine import accelerator, program  # noqa: E402

GUEST = "/build/bench/exits/exits-guest"
BARE_SWITCH = "bench/exits/bare-switch"

# The guest's words, and what they mean.
ROWS = {
    "bare-switch": "the emulator's bare VMRUN and #VMEXIT",
    "cpuid": "CPUID",
    "msr-read": "MSR read",
    "msr-write": "MSR write",
    "hypercall": "null hypercall",
    "apic-read": "local APIC read",
    "apic-write": "local APIC write",
    "apic-timer-arm": "local APIC timer armed",
    "self-ipi": "IPI to itself until it is handled",
    "timer-delivery": "timer armed and delivered",
    "ipi-round-trip": "IPI to another VP that is halted, and one back",
    "port-read": "port read answered by the VMM",
    "mmio-read": "MMIO read answered by the VMM",
    "root-port-read": "port read, where the root schedules",
    "root-mmio-read": "MMIO read, where the root schedules",
    "first-touch-4k": "first touch of 4 KiB, of 64 MiB in order",
    "first-touch-2m": "first touch of 2 MiB, the same",
}
TOUCHED = 64 << 20

# Beside the same row of the peer's, whose VMM schedules guests as any thread.
BY_ROOT = {"root-port-read": "port-read", "root-mmio-read": "mmio-read"}


def rows_of(text):
    return {name: int(value) for name, value in
            re.findall(r"^row (\S+) (\d+)\r?$", text, re.MULTILINE)}


def run_guest(host, command):
    """The rows that the guest has measured."""
    said = bare_guest.run(host, command)
    if not said.rstrip().endswith("done"):
        raise LabError(f"the guest did not come to its end; its last words: {said[-500:]!r}")
    return rows_of(said)


def machine(counting):
    return {"processors": 1, "icount": 0} if counting else {"processors": 2}


def run_all(host, run):
    """By `run()` with pages of either size."""
    found = {}
    for pages, name, size in (("always", "first-touch-2m", 2 << 20),
                              ("never", "first-touch-4k", 4096)):
        host.run(f"echo {pages} >/sys/kernel/mm/transparent_hugepage/enabled", check=True)
        found.update(run())
        found[name] = found.pop("first-touches") // (TOUCHED // size)
    return found


def undercroft(counting):
    with Host(memory="2G", name="bench-exits", boot_timeout=240, **machine(counting)) as host:
        found = run_all(host, lambda: run_guest(host, bare_guest.worker(GUEST)))
        host.power_off()
    with Host(memory="2G", name="bench-exits-root", boot_timeout=240,
              hypervisor_options=["scheduler=root"], **machine(counting)) as host:
        by_root = run_guest(host, bare_guest.worker(GUEST))
        found.update({name: by_root[row] for name, row in BY_ROOT.items()})
        host.power_off()
    return found


def kvm(counting):
    with Host(memory="2G", name="bench-exits-kvm", boot_timeout=240, qemu=peer.tools_disk(),
              **peer.kvm(), **machine(counting)) as host:
        host.run(f"{peer.MOUNT_TOOLS}cp {GUEST} /tmp/\n{peer.WAIT_FOR_CLOCK}", check=True,
                 timeout=120)

        def run(irqchip="on"):
            return run_guest(host, peer.qemu_for_bare_guest("/tmp/exits-guest", irqchip=irqchip))

        found = run_all(host, run)
        found["mmio-read"] = run("split")["mmio-read"]
        host.power_off()
    return found


def bare_switch(counting):
    """No host at all: the emulator boots the guest itself."""
    said = subprocess.run(
        ["timeout", "60", program(), *accelerator(0 if counting else None), "-m", "256M",
         "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
         "-kernel", str(build_directory() / BARE_SWITCH)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        check=False).stdout
    return rows_of(said)


SIDES = {"undercroft": undercroft, "peer": kvm, "bare": bare_switch}


def measure(unit, rounds):
    """The rows of one unit: medians of what the runs have found, turn about."""
    counting = unit == "instructions"
    found = {side: {} for side in SIDES}
    for number in range(1 if counting else rounds):
        for side in SIDES if number % 2 == 0 else reversed(SIDES):
            for name, value in SIDES[side](counting).items():
                found[side].setdefault(name, []).append(value)
            print(f"{unit}: {side} done", file=sys.stderr, flush=True)
    rows = []
    for name, words in ROWS.items():
        ours, theirs = (
            statistics.median(found[side][row]) if row in found[side] else None
            for side, row in (("bare" if name == "bare-switch" else "undercroft", name),
                              ("peer", BY_ROOT.get(name, name))))
        rows.append(tables.row(words, unit, ours, theirs))
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5, help="of the runs that count cycles")
    parser.add_argument("--only", choices=("instructions", "cycles"))
    arguments = parser.parse_args()
    units = [arguments.only] if arguments.only else ["instructions", "cycles"]
    rows = [row for unit in units for row in measure(unit, arguments.rounds)]
    print(tables.table(rows))
    tables.write(rows, arguments.output)


if __name__ == "__main__":
    main()
