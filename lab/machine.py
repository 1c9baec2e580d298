# SPDX-License-Identifier: Apache-2.0
"""The emulated machine: QEMU's process and its control connection."""

import json
import os
import re
import shutil
import socket
import subprocess
import threading

from .errors import LabError

QEMU = "qemu-system-x86_64"


def accelerator(icount=None):
    """QEMU's options for the processors.

    Hardware virtualization only where the processor shows `svm` itself: there are machines whose
    /dev/kvm works without it by interpreting kernels, too slowly to boot one.

    One thread emulates all processors. With one for each, QEMU 7.2 is not safe with AMD-V:
    whenever a processor restores its x87 state, it writes the first one's flags of virtualization
    (cpu_clear_ignne) while that one may be at VMRUN or #VMEXIT, and one host in a hundred goes
    wrong. What is lost by it is little: a host that boots keeps one processor busy at a time.
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
        self._resets = 0
        if shutil.which(QEMU) is None:
            raise LabError(f"found no {QEMU}; expected it on the PATH: run 'make deps'")
        self.streams = {}
        inherited = []
        # The parent's death is QEMU's too, however the parent dies.
        command = ["setpriv", "--pdeathsig", "KILL", QEMU]
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
