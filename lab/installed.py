# SPDX-License-Identifier: Apache-2.0
"""What `make install` puts on a machine to boot it, in a directory, and the entries that GRUB's
menu gets there."""

import os
import pathlib
import subprocess

from .errors import LabError

LIBRARY = pathlib.Path("/usr/share/grub/grub-mkconfig_lib")

# In place of GRUB's own, which look at the disks of the machine that they run on.
MACHINE = """
prepare_grub_to_access_device() { echo "# access to $1"; }
make_system_path_relative_to_its_root() {
    case $1 in
    /) echo /@ ;; # where btrfs has it
    *) echo "${1#"$UNDERCROFT_TOP"}" ;;
    esac
}
uses_abstraction() { return 1; }
grub_get_device_id() { echo "id-of-${1##*/}"; }
"""

SETTINGS = {"GRUB_DEVICE": "/dev/sda2", "GRUB_DEVICE_UUID": "0a1b-2c3d", "GRUB_FS": "ext4",
            "GRUB_DEVICE_BOOT": "/dev/sda1", "GRUB_DISTRIBUTOR": "Debian"}


def install(build, top, prefix="/usr/local"):
    """Installs from a build directory into `top`; answers the list of what was installed."""
    _run(["cmake", "--install", str(build), "--component", "boot", "--prefix", prefix],
         DESTDIR=str(top))
    return pathlib.Path(build) / "install_manifest_boot.txt"


def grub_entries(top, **settings):
    """The entries that the installed script makes, as grub-mkconfig would run it."""
    if not LIBRARY.is_file():
        raise LabError(f"found no {LIBRARY}; expected GRUB's: run 'make deps'")
    library = pathlib.Path(top) / "grub-mkconfig_lib"
    library.write_text(f". {LIBRARY}\n{MACHINE}")
    return _run([str(pathlib.Path(top) / "etc/grub.d/20_undercroft")], UNDERCROFT_TOP=str(top),
                pkgdatadir=str(top), **{**SETTINGS, **settings})


def _run(command, **environment):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False, env={**os.environ, **environment})
    if done.returncode != 0:
        raise LabError(f"{command[0]} ended with status {done.returncode}; expected 0: "
                       f"{done.stderr.strip()[-1000:]}")
    return done.stdout
