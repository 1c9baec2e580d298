# SPDX-License-Identifier: Apache-2.0
"""What `make run` shows: a host comes up, and a child partition with Debian's own kernel on it.
Each stage is named as it begins, and a table of times closes the whole."""

import re
import sys
import time

from root import recipe
from root.recipe import child, filesystem, kernel

from .child import MARK
from .errors import LabError
from .terminal import attach, write_output


def add_options(parser):
    parser.add_argument("--done", action="append", default=[], metavar="STAGE=SECONDS",
                        help="a stage that is over, for the table of times")
    parser.add_argument("--child-processors", type=int, default=2, metavar="N")
    parser.add_argument("--child-memory", default="512M", metavar="SIZE")
    parser.add_argument("--keep", action="store_true",
                        help="leave the child up, with a shell on its console, also without a "
                             "terminal")


class Stages:
    """Times of stages, in the order in which they came."""

    def __init__(self, done):
        self._times = [(name, float(seconds)) for name, _, seconds in
                       (entry.partition("=") for entry in done)]
        self._begun = time.monotonic()

    def begin(self, name):
        print(f"==> {name}", flush=True)
        self._begun = time.monotonic()

    def end(self, name, note=""):
        self.add(name, time.monotonic() - self._begun, note)

    def add(self, name, seconds, note=""):
        self._times.append((f"{name} ({note})" if note else name, seconds))

    def table(self):
        width = max(len(name) for name, _ in self._times)
        lines = [f"  {name:<{width}}  {seconds:7.1f} s" for name, seconds in self._times]
        total = sum(seconds for _, seconds in self._times)
        return "\n".join([*lines, f"  {'in all':<{width}}  {total:7.1f} s"])


def main(options, host):
    stages = Stages(options.done)
    artifacts = _obtain(stages)
    host.use(artifacts)
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    what = "root kernel on the bare machine" if options.bare else "hypervisor and root partition"
    stages.begin(what)
    with host:
        _add_boot_times(stages, host, options.bare)
        if host.run(["test", "-c", "/dev/mshv"]).status != 0:
            raise LabError("the root has no /dev/mshv; expected its kernel to find the hypervisor: "
                           f"see {host.logs}/console.log")
        package = child.kernels()[artifacts.child_kernel.name]
        stages.begin(f"child partition: {package['Package']} {package['Version']}, as Debian ships "
                     f"it, with {options.child_processors} processors")
        if interactive:
            print("    (its console is yours; 'exit' powers it off, Ctrl-] q ends it)")
        stay = "croft.do=shell" if interactive or options.keep else "croft.do=poweroff"
        cache = recipe.cache.directory()
        words = [
            "/build/worker/croft-worker",
            "--kernel", f"/cache/{artifacts.child_kernel.relative_to(cache)}",
            "--initrd", f"/cache/{artifacts.child_userland.relative_to(cache)}",
            "--cmdline", f"console=ttyS0 quiet {stay}",
            "--memory", options.child_memory, "--processors", str(options.child_processors)]
        begun = time.monotonic()
        reached = []
        seen = bytearray()

        def watch(content):
            write_output(content)
            if reached:
                return
            seen.extend(content)
            if MARK.encode() in seen:
                reached.append(time.monotonic())
                stages.add("child to its user land", reached[0] - begun)
                print(f"\n{stages.table()}\n".replace("\n", "\r\n" if interactive else "\n"),
                      flush=True)

        status, error = attach(host, words, watch)
        if not reached:
            raise LabError(f"the worker ended with status {status} before the child said "
                           f"'{MARK}'; it said: {error.strip()[-500:] or 'nothing'}")
        if status != 0:
            raise LabError(f"the worker ended with status {status}; expected 0; it said: "
                           f"{error.strip()[-500:] or 'nothing'}")
        print("==> power off", flush=True)
        host.power_off()
    return 0


def _obtain(stages):
    """The artifacts, each with its time in the table."""
    record = kernel.source()
    note = "cached" if kernel.cached(record) else "built"
    stages.begin(f"root kernel: {record['Package']} {record['Version']}")
    kernel.build(record)
    stages.end("root kernel", note)
    note = "cached" if filesystem.cached() else "built"
    stages.begin("root file system")
    filesystem.build()
    stages.end("root file system", note)
    stages.begin("child's kernel and user land")
    child.build_kernels(child.kernels())
    artifacts = recipe.obtain()
    stages.end("child's kernel and user land")
    return artifacts


def _add_boot_times(stages, host, bare):
    def first(pattern):
        return next((when for when, line in host.console.timed_lines if re.search(pattern, line)),
                    None)

    kernel_begins = first(r"Linux version")
    user_land = first(r"root: reached user land")
    now = time.monotonic()
    kernel_begins = kernel_begins or now
    user_land = user_land or now
    stages.add("emulator and firmware" if bare else "emulator, firmware and hypervisor",
               kernel_begins - host.started)
    stages.add("root kernel to its user land", user_land - kernel_begins)
    stages.add("lab's agent and /dev/mshv", now - user_land)
