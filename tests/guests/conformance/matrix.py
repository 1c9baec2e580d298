#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which checks of the conformance suite hold on Undercroft, and which on KVM.

Usage: matrix.py [OUTPUT.json] [--only undercroft|kvm] [--guest NAME]…

Boots each program of the suite (tests/guests/conformance) on either, on the same emulated machine:
on Undercroft by croft-worker, on KVM by Debian's QEMU with its Hyper-V enlightenments. Prints a row
for each check (ok, FAILED, skipped, or - where it wasn't made), under it what was found where
it does not hold, and writes all as JSON.

The exit status is 0 if nothing has failed on Undercroft and all its programs have come to their
end; what KVM makes of the suite is shown, and no more.
"""

import argparse
import json
import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP))
sys.dont_write_bytecode = True

from lab import Host, bare_guest, peer, tap  # noqa: E402

GUESTS = ("interface", "hypercalls", "flush", "ipi", "time", "synic", "timers", "apic", "modes",
          "tasks", "debug", "memory-types")

# As QEMU's docs/system/i386/hyperv.rst names them; the last has KVM refuse what isn't announced.
ENLIGHTENMENTS = (
    "hv-relaxed", "hv-vapic", "hv-time", "hv-vpindex", "hv-runtime", "hv-synic", "hv-stimer",
    "hv-stimer-direct", "hv-tlbflush", "hv-ipi", "hv-frequencies", "hv-crash", "hv-reset",
    "hv-spinlocks=0x1fff", "hv-enforce-cpuid")

SHOWN = {"ok": "ok", "failed": "FAILED", "skipped": "skipped"}


# Seconds that a program may take on KVM, where some wait for ever; on Undercroft they have more.
PATIENCE = 120


def tell(text):
    """What is under way: all takes minutes."""
    print(text, file=sys.stderr, flush=True)


def path_of(guest):
    return f"/build/tests/guests/conformance/conformance-{guest}"


def run_undercroft(guests):
    with Host(memory="2G", name="conformance") as host:
        reports = {}
        for guest in guests:
            tell(f"undercroft: {guest}")
            reports[guest] = tap.parse(bare_guest.run(host, bare_guest.worker(path_of(guest))))
        host.power_off()
    return reports


def run_on_kvm(guest):
    tell(f"kvm: {guest}")
    # Of one processor: with two the emulator may deliver an interrupt that KVM injects twice
    # (bench/io/sides.py). A host for each, since the emulator may end under KVM.
    with Host(memory="2G", name="conformance-kvm", processors=1, boot_timeout=240,
              qemu=peer.tools_disk(), **peer.kvm()) as host:
        host.run(f"{peer.MOUNT_TOOLS}cp {path_of(guest)} /tmp/\n{peer.WAIT_FOR_CLOCK}",
                 check=True, timeout=120)
        processor = ",".join(("host", *ENLIGHTENMENTS))
        return tap.parse(bare_guest.run(host, peer.qemu_for_bare_guest(
            f"/tmp/conformance-{guest}", processor=processor), timeout=PATIENCE))


def run_kvm(guests):
    return {guest: run_on_kvm(guest) for guest in guests}


SIDES = {"undercroft": run_undercroft, "kvm": run_kvm}


def rows_of(guest, reports):
    """A row for each check that any side has made, in the order of the program."""
    rows = {}
    for side, report in reports.items():
        for check in report.checks:
            rows.setdefault(check.words, {})[side] = check
    return [{"guest": guest, "check": words, **{
        side: {"result": by_side[side].result, "found": by_side[side].found,
               "reason": by_side[side].reason} if side in by_side else None
        for side in reports}} for words, by_side in rows.items()]


def print_rows(guest, rows, reports):
    sides = list(reports)
    print(f"\n{guest:76}" + "".join(f" {side:>10}" for side in sides))
    for row in rows:
        shown = "".join(f" {SHOWN[row[side]['result']] if row[side] else '-':>10}"
                        for side in sides)
        print(f"  {row['check']:74}{shown}")
        for side in sides:
            if row[side] and (row[side]["found"] or row[side]["reason"]):
                print(f"      {side}: {row[side]['found'] or row[side]['reason']}")
    for side, report in reports.items():
        if not report.complete:
            print(f"  {side}: made {len(report.checks)} checks of {report.planned or 'more'}; "
                  f"its last word: {report.ending or 'none'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0],
                                     epilog=__doc__.split("\n\n")[-1])
    parser.add_argument("output", type=pathlib.Path, nargs="?", help="JSON with all results")
    parser.add_argument("--only", choices=tuple(SIDES))
    parser.add_argument("--guest", choices=GUESTS, action="append",
                        help="this program only; may be given more than once")
    arguments = parser.parse_args()
    guests = arguments.guest or GUESTS
    sides = [arguments.only] if arguments.only else list(SIDES)
    found = {side: SIDES[side](guests) for side in sides}
    all_rows = []
    for guest in guests:
        reports = {side: found[side][guest] for side in sides}
        rows = rows_of(guest, reports)
        print_rows(guest, rows, reports)
        all_rows += rows
    print()
    for side in sides:
        counts = {result: sum(1 for row in all_rows if row[side] and row[side]["result"] == result)
                  for result in SHOWN}
        print(f"{side}: " + ", ".join(f"{count} {SHOWN[result]}" for result, count in
                                      counts.items()))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(all_rows, indent=2) + "\n")
    ours = found.get("undercroft", {}).values()
    return 0 if all(report.complete and not report.failed for report in ours) else 1


if __name__ == "__main__":
    sys.exit(main())
