# SPDX-License-Identifier: Apache-2.0
"""A host: an emulated machine with (or without) the hypervisor, and Linux as its root."""

import atexit
import hashlib
import os
import pathlib
import shutil
import sys
import time
import weakref

from root import recipe
from root.recipe.cpio import Archive
from root.recipe.errors import RecipeError

from . import grub
from .agent_link import AgentLink
from .console import Console
from .errors import LabError
from .machine import Machine, accelerator
from .volatile_disk import VolatileDisk

TOP = pathlib.Path(__file__).resolve().parent.parent

# Directories of earlier runs that have no name of their own; older ones go.
RUNS_KEPT = 20

# What a root is asked when a test has failed: whether it still answers, what its processors and
# those of its children do, and what its threads wait for.
SYMPTOMS = r"""uptime
/build/cli/croft host stats --interval 2
grep -E ' [1-9][0-9]* ' /proc/interrupts
for task in /proc/[0-9]*/task/[0-9]*; do
    state=$(sed 's/.*) //; s/ .*//' $task/stat)
    case "$state $(cat $task/comm)" in
    [DR]*|*croft*|*vp*) echo "$state $(cat $task/comm) $(cat $task/wchan)" ;;
    esac
done 2>/dev/null"""

_running = weakref.WeakSet()


def build_directory():
    """What was built: CROFT_BUILD, else build/release of this checkout."""
    return pathlib.Path(os.environ.get("CROFT_BUILD") or TOP / "build" / "release").resolve()


class Host:
    """A host that is up inside a `with` block.

    In the root, /build is the build directory, /cache the cache of kernels and the like (both
    read-only), /scratch a directory that is `host.scratch` here; /dev/vda is an empty disk, the
    first network device has QEMU's user network, where 10.0.2.2 is this machine.

    processors, memory   of the machine, memory as QEMU writes it ("4G")
    hypervisor           True: the hypervisor, with Linux as its root partition; False: that Linux
                         on the bare machine; a path: that hypervisor image
    hypervisor_options   words for the hypervisor's command line ("loglevel=5")
    kernel_options       words for the root kernel's command line
    machine              QEMU's machine type: "q35" or "pc"
    firmware             "bios" or "uefi": that firmware starts GRUB from a CD, and GRUB the
                         hypervisor; without one QEMU does it all
    disc                 what is on that CD, as grub.plain_disc
    disk                 a disk image (raw) in place of the empty disk; it is written to; or a
                         VolatileDisk
    disk_size            of the empty disk
    shares               more directories for the root: {"/there": "here"}, read-only
    reboot               what a reset of the machine does: "stop" ends the run, "allow" goes on
    qemu                 more arguments for QEMU
    trace                what QEMU logs into trace.log, as -d takes it ("int,cpu_reset")
    gdb                  a TCP port: QEMU's gdb stub listens there, and the machine waits for it
    icount               N: each instruction takes 2^N ns, exactly repeatable; one processor
    name                 of the directory for logs under build/lab/; without one, date and time
    boot_timeout         seconds until the root's user land must be there
    on_line              called with each line of the console
    """

    def __init__(self, *, processors=2, memory="4G", hypervisor=True, hypervisor_options=(),
                 kernel_options=(), machine="q35", firmware=None, disc=grub.plain_disc, disk=None,
                 disk_size=64 << 20, shares=None, reboot="stop", qemu=(), trace=None, gdb=None,
                 icount=None, name=None, boot_timeout=90, on_line=None, artifacts=None):
        if reboot not in ("stop", "allow"):
            raise ValueError(f"reboot is {reboot!r}; expected 'stop' or 'allow'")
        if firmware not in (None, *grub.FIRMWARE) or (firmware and not hypervisor):
            raise ValueError(f"firmware is {firmware!r}; expected 'bios' or 'uefi', and a "
                             "hypervisor for it to start")
        if icount is not None and processors != 1:
            raise ValueError(f"icount with {processors} processors; expected 1: QEMU counts "
                             "instructions on one processor only")
        self.processors = processors
        self.memory = memory
        self.hypervisor = hypervisor
        self.build = build_directory()
        self.machine = None
        self.console = None
        self._hypervisor_options = list(hypervisor_options)
        self._kernel_options = list(kernel_options)
        self._machine_type = machine
        self._firmware = firmware
        self._disc = disc
        self._disk = disk
        self._disk_size = disk_size
        self._shares = dict(shares or {})
        self._reboot = reboot
        self._qemu = list(qemu)
        self._trace = trace
        self._gdb = gdb
        self._icount = icount
        self._name = name
        self._boot_timeout = boot_timeout
        self._on_line = on_line
        self._artifacts = artifacts
        self._agent = None

    def use(self, artifacts):
        """Boots these instead of what the cache has: a recipe.Artifacts."""
        self._artifacts = artifacts

    # Life

    def __enter__(self):
        try:
            self.start()
        except BaseException as error:
            # A `with` block that isn't entered isn't left either.
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and not issubclass(kind, (KeyboardInterrupt, GeneratorExit)):
            self.report()
            self._report_symptoms()
        self.stop()

    def start(self):
        """Starts the machine and waits for the root's user land."""
        self.start_machine()
        self.wait_for_root()

    def start_machine(self):
        """Starts the machine without waiting for anything on it."""
        try:
            self.artifacts = self._artifacts or recipe.obtain()
        except RecipeError as error:
            raise LabError(str(error)) from error
        self.logs = self._make_directory()
        self.scratch = self.logs / "scratch"
        self.scratch.mkdir(exist_ok=True)
        arguments = self._arguments()
        self.started = time.monotonic()
        self.machine = Machine(arguments, ("console", "agent"), self.logs, self._ended)
        _running.add(self)
        self.console = Console(self.machine.streams["console"], self._on_line)
        self._agent = AgentLink(self.machine.streams["agent"])

    def wait_for_root(self, timeout=None, count=1):
        """Waits until the root's user land is there, for the `count`th time since the start."""
        timeout = timeout or self._boot_timeout
        limit = time.monotonic() + timeout
        while not self._agent.wait_for_hello(count, min(0.5, max(0, limit - time.monotonic()))):
            if self.machine.reason:
                raise LabError(f"the host ended ({self.machine.reason}) before its root's user land"
                               " was there")
            if self.console.fatal:
                raise LabError(f"the host panicked before its root's user land was there: "
                               f"{self.console.fatal}")
            if time.monotonic() >= limit:
                raise LabError(f"the root's user land was not there within {timeout} s")

    def stop(self):
        """Ends the machine as if its plug were pulled; does nothing if it has ended."""
        if self.machine is not None:
            self.machine.kill()
        _running.discard(self)

    def power_off(self, timeout=30):
        """Has the root power the machine off, and waits until that is done."""
        self._leave("poweroff")
        self.wait_for_end("guest-shutdown", timeout)

    def reboot(self, timeout=None):
        """Has the root reset the machine. With reboot="allow" waits for the root to be back, else
        for the end of the run."""
        hellos = self._agent.hellos
        self._leave("reboot")
        if self._reboot == "allow":
            self.wait_for_root(timeout, hellos + 1)
        else:
            self.wait_for_end("guest-reset", timeout or 30)

    def wait_for_end(self, reason=None, timeout=60):
        """Waits for the end of the run; answers why it ended, which must be `reason` if given:
        "guest-shutdown" (powered off), "guest-reset" (reset while reboot="stop")."""
        if not self.machine.wait(timeout):
            raise LabError(f"the host is still up after {timeout} s; expected it to end"
                           + (f" ({reason})" if reason else ""))
        if reason and self.machine.reason != reason:
            raise LabError(f"the host ended by '{self.machine.reason}'; expected '{reason}'")
        return self.machine.reason

    # Commands in the root

    def start_command(self, command, *, directory="", environment=None, terminal=None,
                      on_output=None):
        """Starts a command in the root and answers a Command; its input is open. A text is a line
        for the shell, a list a program with its arguments."""
        if isinstance(command, str):
            command = ["sh", "-c", command]
        return self._agent.start([str(word) for word in command], directory, environment, terminal,
                                 on_output)

    def run(self, command, *, timeout=60, input=b"", check=False, directory="", environment=None):
        """Runs a command in the root to its end; answers a Result. With `check`, an exit status
        that isn't 0 raises LabError."""
        running = self.start_command(command, directory=directory, environment=environment)
        if isinstance(input, str):
            input = input.encode()
        if input:
            running.write(input)
        running.close_input()
        result = running.wait(timeout)
        if check and result.status != 0:
            raise LabError(f"{running.name}: status {result.status}; expected 0; it said "
                           f"{result.output[-500:]!r}, {result.error[-500:]!r}")
        return result

    def put(self, local, remote):
        """Copies a file of this machine into the root."""
        content = pathlib.Path(local).read_bytes()
        self.run(["sh", "-c", 'cat >"$1"', "put", str(remote)], input=content, check=True)

    def get(self, remote, local):
        """Copies a file of the root to this machine."""
        running = self.start_command(["cat", str(remote)])
        running.close_input()
        result = running.wait(60)
        if result.status != 0:
            raise LabError(f"cannot read {remote} in the root: {result.error.strip()}")
        pathlib.Path(local).write_bytes(running.output)

    # Looking at it

    def report(self, stream=None, lines=25):
        """Prints where the logs are and the console's last words."""
        stream = stream or sys.stderr
        if self.console is not None:
            print(f"--- the console's last {lines} lines:", file=stream)
            for line in self.console.lines[-lines:]:
                print(f"  {line}", file=stream)
        if self.machine is not None:
            print(f"--- logs: {self.logs}", file=stream, flush=True)

    # Inside

    def _report_symptoms(self):
        if self._agent is None or self.machine.reason:
            return
        try:
            said = self.run(SYMPTOMS, timeout=20).output
        except LabError as error:
            said = f"does not answer: {error}"
        for line in said.splitlines():
            print(f"root: {line}", file=sys.stderr)

    def _ended(self, reason):
        text = f"the host ended ({reason})"
        if self.console:
            self.console.end(text)
        if self._agent:
            self._agent.give_up(text)

    def _leave(self, how):
        # The answer may be lost with the machine, so nobody waits for one.
        self.start_command(f"sync; exec {how} -f")

    def _make_directory(self):
        home = TOP / "build" / "lab"
        if self._name:
            directory = home / self._name
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            return directory
        home.mkdir(parents=True, exist_ok=True)
        old = sorted(home.glob("run-*"), key=lambda path: path.stat().st_mtime)
        for path in old[:max(0, len(old) - RUNS_KEPT + 1)]:
            shutil.rmtree(path, ignore_errors=True)
        stamp = time.strftime("run-%Y%m%d-%H%M%S")
        for number in range(1000):
            directory = home / (stamp if number == 0 else f"{stamp}-{number}")
            try:
                directory.mkdir()
                return directory
            except FileExistsError:
                continue
        raise LabError(f"cannot make a directory for logs in {home}")

    def _initramfs(self):
        """The root's file system with the agent of this build in it. The kernel takes archives one
        after the other; the base is aligned to 512 bytes."""
        agent = self.build / "lab" / "croft-agent"
        if not agent.is_file():
            raise LabError(f"found no {agent}; expected the lab's agent: build the tree "
                           "('make build')")
        content = agent.read_bytes()
        name = hashlib.sha256(str(self.artifacts.filesystem).encode() + content).hexdigest()[:16]
        home = TOP / "build" / "lab" / "initramfs"
        file = home / name
        if not file.is_file():
            home.mkdir(parents=True, exist_ok=True)
            # Other hosts may be starting with the one that was made last.
            for old in sorted(home.glob("[!.]*"), key=os.path.getmtime)[:-1]:
                old.unlink(missing_ok=True)
            overlay = Archive()
            overlay.file("usr/sbin/croft-agent", content, 0o755)
            unfinished = home / f".{name}.{os.getpid()}"
            unfinished.write_bytes(self.artifacts.filesystem.read_bytes() + overlay.bytes())
            unfinished.rename(file)
        return file

    def _arguments(self):
        shares = {"/build": self.build, "/cache": recipe.cache.directory(), **self._shares}
        entries = []
        arguments = [
            "-M", self._machine_type, "-smp", str(self.processors), "-m", self.memory,
            *accelerator(self._icount),
            "-nodefaults", "-no-user-config", "-display", "none",
            "-serial", "chardev:console",
            "-device", "virtio-serial-pci",
            "-device", "virtserialport,chardev=agent,name=croft.agent",
        ]
        for number, (there, here) in enumerate(shares.items()):
            arguments += self._share(f"share{number}", here, read_only=True)
            entries.append(f"share{number}:{there}:ro")
        arguments += self._share("scratch", self.scratch, read_only=False)
        entries.append("scratch:/scratch:rw")
        arguments += self._disk_arguments()
        arguments += ["-netdev", "user,id=network",
                      "-device", "virtio-net-pci,netdev=network,romfile="]
        if self._reboot == "stop":
            arguments.append("-no-reboot")
        if self._trace:
            arguments += ["-d", self._trace, "-D", "trace.log"]
        if self._gdb:
            arguments += ["-gdb", f"tcp:127.0.0.1:{self._gdb}", "-S"]
        arguments += self._boot_arguments([
            "console=ttyS0", "earlyprintk=serial,ttyS0,115200", "panic=-1", "printk.time=1",
            "croft.address=10.0.2.15/24", "croft.gateway=10.0.2.2",
            f"croft.share={';'.join(entries)}", *self._kernel_options])
        return arguments + self._qemu

    def _boot_arguments(self, kernel_words):
        kernel_line = " ".join(kernel_words)
        # Short names, seen from the run's directory: a path with a space or a comma in it would
        # end QEMU's module string early.
        for name, target in (("kernel", self.artifacts.kernel), ("initramfs", self._initramfs())):
            (self.logs / name).symlink_to(target)
        if not self.hypervisor:
            return ["-kernel", "kernel", "-initrd", "initramfs", "-append", kernel_line]
        image = self.hypervisor
        if image is True:
            image = self.build / "hypervisor" / "undercroft"
        if not pathlib.Path(image).is_file():
            raise LabError(f"found no {image}; expected the hypervisor: build the tree "
                           "('make build')")
        if self._firmware:
            return self._firmware_arguments(image, kernel_words)
        escaped = kernel_line.replace(",", ",,")
        return ["-kernel", str(image), "-append", " ".join(self._hypervisor_options),
                "-initrd", f"kernel {escaped},initramfs"]

    def _firmware_arguments(self, image, kernel_words):
        disc = self._disc(self.logs, self._hypervisor_options, kernel_words,
                          {"hypervisor": image, "kernel": self.logs / "kernel",
                           "initramfs": self.logs / "initramfs"})
        grub.make_disc(self.logs / "disc.iso", *disc)
        return [*grub.firmware_arguments(self._firmware, self.logs),
                "-drive", "file=disc.iso,if=none,id=disc,format=raw,readonly=on",
                "-device", "ide-cd,drive=disc,bootindex=0"]

    def _disk_arguments(self):
        image = self._disk
        if image is None:
            image = self.logs / "disk"
            with open(image, "wb") as file:
                file.truncate(self._disk_size)
        if isinstance(image, VolatileDisk):
            drive = image.drive
        else:
            drive = f"file={str(image).replace(',', ',,')},format=raw,cache=unsafe"
        return ["-drive", f"{drive},if=none,id=disk", "-device", "virtio-blk-pci,drive=disk"]

    @staticmethod
    def _share(tag, path, read_only):
        where = str(path).replace(",", ",,")
        options = f"local,id={tag},path={where},security_model=none,multidevs=remap"
        if read_only:
            options += ",readonly=on"
        return ["-fsdev", options, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


@atexit.register
def _stop_all():
    for host in list(_running):
        host.stop()
