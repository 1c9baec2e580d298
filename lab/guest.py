# SPDX-License-Identifier: Apache-2.0
"""A stock Debian guest on a host: a throwaway disk made from the recipe's, `croft vm run`, and the
shell of root on its console."""

import json
import pathlib
import re
import subprocess

from root import recipe
from root.recipe import guest as guest_recipe

from .errors import LabError
from .guest_shell import GuestShell
from .host import build_directory

CROFT = "/build/cli/croft"

# The first words of the guest's user land, which is its initial RAM disk.
USER_LAND = "Loading, please wait"

# What the console shows when root is logged in.
LOGIN = r"login: root \(automatic login\)"


def parent_disk():
    """A VHDX with what the recipe's disk has, for any number of children."""
    system = guest_recipe.build()

    def make(product):
        result = subprocess.run(
            [build_directory() / "cli" / "croft", "disk", "convert", "--quiet", "-F", "raw",
             system / "disk.img", product / "disk.vhdx"], capture_output=True, text=True,
            check=False)
        if result.returncode != 0:
            raise LabError(f"cannot convert the guest's disk: {result.stderr.strip()}")

    return recipe.cache.obtain("guest-disk", {"guest": system.name}, make) / "disk.vhdx"


def in_cache(path):
    """Where the root sees a file of the cache."""
    return f"/cache/{path.relative_to(recipe.cache.directory())}"


def make_disk(host, path):
    """Makes a disk in the root that begins as Debian's, and has what is changed."""
    host.run([CROFT, "disk", "create", "--quiet", "-p", in_cache(parent_disk()), path], check=True)


def boot_line():
    """The kernel's command line that goes with the recipe's disk."""
    return (f"root=LABEL={guest_recipe.LABEL} ro console=ttyS0 loglevel=4 "
            "systemd.show_status=false")


def boot_words(disk, *words, own_kernel=False, line=""):
    """`croft vm run` with the recipe's copy of what is in the disk's /boot; with `own_kernel` croft
    looks for that itself, which takes a while. `line`: more for the kernel's command line."""
    system = guest_recipe.build()
    boot = [] if own_kernel else ["--kernel", in_cache(system / "vmlinuz"), "--initrd",
                                  in_cache(system / "initrd.img")]
    return [CROFT, "vm", "run", disk, *boot, "--cmdline",
            f"{boot_line()} {line}".rstrip(), *words]


class DebianGuest:
    """A VM with a disk of its own, and this process at its console. `line`: more for its kernel's
    command line. The disk is made in `folder`, if it isn't there."""

    def __init__(self, host, name="debian", words=("--processors", "2"), line="", folder="/tmp"):
        self.host = host
        self.name = name
        self.disk = f"{folder}/{name}.vhdx"
        self._words = list(words)
        self._line = line
        self._shell = None
        self.console = None
        if host.run(["test", "-e", self.disk]).status != 0:
            make_disk(host, self.disk)

    def start(self, *more, own_kernel=False, timeout=240):
        """Boots it, and waits until root is logged in."""
        self.start_machine(*more, own_kernel=own_kernel)
        self.wait_for_login(timeout=timeout)

    def start_machine(self, *more, own_kernel=False):
        """Boots it, and waits for nothing."""
        words = ["--name", self.name, *self._words, *more]
        self.console = self.host.start_command(
            boot_words(self.disk, *words, own_kernel=own_kernel, line=self._line))
        self._shell = GuestShell(self.console)

    def put_program(self, text, path):
        """Puts a script on its disk while it isn't running."""
        program = self.host.scratch / pathlib.Path(path).name
        program.write_text(text)
        program.chmod(0o755)
        self.host.run([CROFT, "disk", "cp", f"/scratch/{program.name}", f"{self.disk}:{path}"],
                      check=True)

    def wait_for_login(self, count=1, timeout=240):
        """Waits until root has been logged in for the `count`th time since it was started."""
        self.console.wait_for(rf"(?s)({LOGIN}.*?# .*?){{{count}}}", timeout=timeout)

    def run(self, command, status=0, timeout=120):
        """Runs a line in the guest's shell; answers what it says."""
        return self._shell.run(command, status, timeout)

    def croft(self, *words, check=True, timeout=120):
        return self.host.run([CROFT, "vm", *words], check=check, timeout=timeout)

    def info(self):
        return json.loads(self.croft("info", self.name, "--json").output)

    def shut_down(self, timeout=100):
        """Asks it to power off; answers how `croft vm run` ended."""
        self.croft("shutdown", self.name, "--wait", str(timeout), timeout=timeout + 20)
        return self.console.wait(30)

    def kill_worker(self):
        """Ends its worker as nothing else does."""
        log = self.host.run(["sh", "-c", 'pidof croft-worker'], check=True).output
        if not re.fullmatch(r"\d+\n", log):
            raise LabError(f"found workers {log!r}; expected one")
        self.host.run(["kill", "-KILL", log.strip()], check=True)
        return self.console.wait(30)
