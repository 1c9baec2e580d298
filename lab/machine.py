# SPDX-License-Identifier: Apache-2.0
"""The emulated machine: QEMU's process and its control connection."""

import functools
import json
import os
import re
import socket
import subprocess
import threading

from root.recipe import qemu
from root.recipe.errors import RecipeError

from .errors import LabError

# Older ones note a virtual interrupt at VMRUN, and take it back at #VMEXIT, without the care that
# threads of devices might note theirs just then (CPUState::interrupt_request): one or the other is
# lost, and one guest in some hundreds waits for ever.
OLDEST = 11


@functools.cache
def program():
    """The command of QEMU: the machine's own if it is new enough, else the recipe's."""
    try:
        said = subprocess.run([qemu.NAME, "--version"], capture_output=True, text=True,
                              check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        said = ""
    version = re.match(r"QEMU emulator version (\d+)\.", said)
    if version and int(version[1]) >= OLDEST:
        return qemu.NAME
    try:
        return str(qemu.build() / qemu.NAME)
    except RecipeError as error:
        raise LabError(f"found no QEMU of version {OLDEST} or newer on the PATH, and can't make "
                       f"one: {error}") from error



def accelerator(icount=None):
    """QEMU's options for the processors.

    Hardware virtualization only where the processor shows `svm` itself: there are machines whose
    /dev/kvm works without it by interpreting kernels, too slowly to boot one.

    One thread emulates all processors. With one for each, QEMU (7.2 and 11.1) is not safe with
    AMD-V: whenever a processor restores its x87 state, it writes the first one's flags of
    virtualization (cpu_clear_ignne) while that one may be at VMRUN or #VMEXIT, and hosts go wrong.
    What is lost by it is little: a host that boots keeps one processor busy at a time.
    """
    if icount is not None:
        return ["-accel", "tcg,thread=single", "-cpu", "EPYC,+svm,+npt", "-icount",
                f"shift={icount},sleep=off"]
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
        svm = re.search(r"^flags\s*:.*\bsvm\b", cpuinfo.read(), re.MULTILINE)
    if svm and os.access("/dev/kvm", os.R_OK | os.W_OK):
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=single", "-cpu", "EPYC,+svm,+npt"]


class Machine:
    """One run of QEMU. `streams` names character devices that become socket pairs: the machine's
    end goes to QEMU as -chardev of that name, ours is streams[name]."""

    def __init__(self, arguments, streams, directory, on_end):
        self._on_end = on_end
        self._reason = None
        self._ended = threading.Event()
        self._reply = threading.Condition()
        self._replies = []
        self._departed = []
        self._resets = 0
        self.streams = {}
        inherited = []
        # The parent's death is QEMU's too, however the parent dies.
        command = ["setpriv", "--pdeathsig", "KILL", program()]
        for name in (*streams, "control"):
            ours, theirs = socket.socketpair()
            self.streams[name] = ours
            inherited.append(theirs)
            log = f",logfile={name}.log" if name == "console" else ""
            command += ["-chardev", f"socket,id={name},fd={theirs.fileno()}{log}"]
        command += ["-mon", "chardev=control,mode=control", *arguments]
        (directory / "command").write_text(" ".join(command) + "\n")
        with open(directory / "qemu.log", "wb") as log:
            self._process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
                pass_fds=[end.fileno() for end in inherited])
        for end in inherited:
            end.close()
        threading.Thread(target=self._listen, name="machine control", daemon=True).start()
        try:
            self.command("qmp_capabilities")
        except LabError as error:
            self.kill()
            words = (directory / "qemu.log").read_text(errors="replace").strip().splitlines()
            raise LabError(f"QEMU did not start: {words[-1] if words else 'it said nothing'} (the "
                           f"command is in {directory}/command)") from error

    @property
    def pid(self):
        return self._process.pid

    @property
    def resets(self):
        """How often the machine was reset since it started."""
        return self._resets

    @property
    def reason(self):
        """Why it ended ("guest-shutdown", "guest-reset", "host-qmp-quit" …), or None."""
        return self._reason if self._ended.is_set() else None

    def wait(self, timeout):
        """Waits for the end of the process; answers whether it came."""
        return self._ended.wait(timeout)

    def command(self, name, **arguments):
        """A command of QEMU's machine protocol; answers its result."""
        request = {"execute": name}
        if arguments:
            request["arguments"] = arguments
        with self._reply:
            try:
                self.streams["control"].sendall(json.dumps(request).encode() + b"\n")
            except OSError as error:
                raise LabError(f"QEMU is gone ({error.strerror})") from error
            if not self._reply.wait_for(lambda: self._replies or self._ended.is_set(), 30):
                raise LabError(f"QEMU has not answered '{name}' within 30 s")
            if not self._replies:
                raise LabError("QEMU is gone")
            reply = self._replies.pop(0)
        if "error" in reply:
            raise LabError(f"QEMU refuses '{name}': {reply['error'].get('desc')}")
        return reply["return"]

    def remove_device(self, name, timeout):
        """Has the guest let go of a device, and waits until it has left the machine."""
        self.command("device_del", id=name)
        with self._reply:
            if not self._reply.wait_for(
                    lambda: name in self._departed or self._ended.is_set(), timeout):
                raise LabError(f"the guest has not let go of '{name}' within {timeout} s")
            if name not in self._departed:
                raise LabError("QEMU is gone")
            self._departed.remove(name)

    def kill(self):
        """Ends the process at once."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._ended.wait(10)
        for stream in self.streams.values():
            stream.close()

    def _listen(self):
        with self.streams["control"].makefile("r", encoding="utf-8", errors="replace") as lines:
            while True:
                try:
                    line = lines.readline()
                except (OSError, ValueError):
                    line = ""
                if not line:
                    break
                message = json.loads(line)
                if message.get("event") == "SHUTDOWN":
                    self._reason = message["data"]["reason"]
                elif message.get("event") == "RESET" and message["data"]["guest"]:
                    self._resets += 1
                elif message.get("event") == "DEVICE_DELETED":
                    with self._reply:
                        self._departed.append(message["data"].get("device"))
                        self._reply.notify_all()
                elif "return" in message or "error" in message:
                    with self._reply:
                        self._replies.append(message)
                        self._reply.notify_all()
        status = self._process.wait()
        self._reason = self._reason or f"QEMU ended with status {status}"
        self._ended.set()
        with self._reply:
            self._reply.notify_all()
        self._on_end(self._reason)
