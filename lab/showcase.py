# SPDX-License-Identifier: Apache-2.0
"""What `make run` shows: a host comes up, and on it a stock Debian from its disk, which is then on
line and shuts down when asked. Each stage is named as it begins; a table of times comes with the
guest's login."""

import json
import re
import sys
import threading
import time

from root import recipe
from root.recipe import filesystem, guest, kernel

from . import kernel_image
from .errors import LabError
from .guest import CROFT, LOGIN, USER_LAND, boot_words, make_disk, parent_disk
from .terminal import attach, write_output

NETWORK = "/build/network/croft-network"
NAME = "debian"
DISK = f"/tmp/{NAME}.vhdx"


def add_options(parser):
    parser.add_argument("--done", action="append", default=[], metavar="STAGE=SECONDS",
                        help="a stage that is over, for the table of times")
    parser.add_argument("--child-processors", type=int, default=2, metavar="N")
    parser.add_argument("--child-memory", default="512M", metavar="SIZE")
    parser.add_argument("--keep", action="store_true",
                        help="leave the guest up until somebody ends it, also without a terminal")


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
    what = "root kernel on the bare machine" if options.bare else "hypervisor and root partition"
    stages.begin(what)
    with host:
        _add_boot_times(stages, host, options.bare)
        if host.run(["test", "-c", "/dev/mshv"]).status != 0:
            raise LabError("the root has no /dev/mshv; expected its kernel to find the hypervisor: "
                           f"see {host.logs}/console.log")
        host.run([NETWORK, "up"], check=True)
        make_disk(host, DISK)
        release = kernel_image.release((guest.build() / "vmlinuz").read_bytes())
        stages.begin(f"child partition: Debian from its disk, Linux {release} as Debian ships it, "
                     f"with {options.child_processors} processors")
        _Show(stages, host, options).run()
        print("==> power off", flush=True)
        host.power_off()
    return 0


class _Show:
    """A Debian whose console is shown while it is asked for what there is to see."""

    def __init__(self, stages, host, options):
        self._stages = stages
        self._host = host
        self._interactive = sys.stdin.isatty() and sys.stdout.isatty()
        self._stays = self._interactive or options.keep
        self._words = boot_words(DISK, "--name", NAME, "--memory", options.child_memory,
                                 "--processors", str(options.child_processors))
        self._seen = bytearray()
        self._user_land = None  # when it was there
        self._reached = threading.Event()
        self._failure = None

    def run(self):
        """To the end of the guest."""
        if self._interactive:
            print("    (its console is yours; 'poweroff' ends it, and so does Ctrl-])")
        self._begun = time.monotonic()
        guide = threading.Thread(target=self._guide, name="guide", daemon=True)
        guide.start()
        status, error = attach(self._host, self._words, self._watch)
        reached = self._reached.is_set()
        self._reached.set()
        if not reached:
            raise LabError(f"the guest ended with status {status} before its login; croft said: "
                           f"{error.strip()[-500:] or 'nothing'}")
        guide.join()
        if self._failure:
            raise self._failure
        if status != 0:
            raise LabError(f"croft vm run ended with status {status}; expected 0; it said: "
                           f"{error.strip()[-500:] or 'nothing'}")
        if self._runs():
            self._shut_down()

    def _watch(self, content):
        write_output(content)
        if self._reached.is_set():
            return
        self._seen.extend(content)
        now = time.monotonic()
        if self._user_land is None and USER_LAND.encode() in self._seen:
            self._user_land = now
        if re.search(LOGIN.encode(), self._seen):
            user_land = self._user_land or now
            self._stages.add("child to its user land", user_land - self._begun)
            self._stages.add("child's user land to its login", now - user_land)
            self._say(f"\n{self._stages.table()}\n")
            self._reached.set()

    def _guide(self):
        """Beside the console: from the login on."""
        self._reached.wait()
        try:
            if not self._runs():
                return
            address = self._wait_for_address()
            if address is None:
                return
            self._say(f"\n==> the guest's address, by its own word: {address}")
            ping = self._host.run(["ping", "-c", "3", "-i", "0.3", address], timeout=30)
            if ping.status != 0:
                raise LabError(f"the guest doesn't answer at {address}: {ping.output.strip()}")
            self._say(f"==> a round trip to it: {ping.output.strip().splitlines()[-1]}")
            if not self._stays:
                self._shut_down()
        except LabError as error:
            self._failure = error
            self._host.run([CROFT, "vm", "kill", NAME])

    def _runs(self):
        return self._host.run([CROFT, "vm", "info", NAME]).status == 0

    def _wait_for_address(self, timeout=60):
        """The guest's; None if it ends before it has one."""
        limit = time.monotonic() + timeout
        while time.monotonic() < limit:
            result = self._host.run([CROFT, "vm", "info", NAME, "--json"])
            if result.status != 0:
                return None
            address = json.loads(result.output)["guest"].get("NetworkAddressIPv4", "")
            if address:
                return address.split(";")[0]
        raise LabError(f"the guest has no address after {timeout} s; expected one by DHCP")

    def _shut_down(self):
        begun = time.monotonic()
        result = self._host.run([CROFT, "vm", "shutdown", NAME, "--wait", "60"], timeout=90)
        if result.status != 0:
            raise LabError(f"the guest did not shut down: {result.error.strip()}")
        self._say(f"\n==> it was asked to shut down, and has, in {time.monotonic() - begun:.1f} s")

    def _say(self, text):
        end = "\r\n" if self._interactive else "\n"
        print((text + "\n").replace("\n", end), end="", flush=True)


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
    note = "cached" if guest.cached() else "built"
    stages.begin("child's disk")
    guest.build()
    parent_disk()
    stages.end("child's disk", note)
    return recipe.obtain()


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
