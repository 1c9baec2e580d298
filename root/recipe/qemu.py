# SPDX-License-Identifier: Apache-2.0
"""QEMU as Debian packages it from version 11 on, and what it needs. In the root partition it has
the accelerator for /dev/mshv: a file system for chroot. On any machine it is the lab's emulator:
older ones lose interrupts."""

from . import cache, debian, unpacked
from .progress import Progress

# base-files has the links that merge the file system with /usr, where the loader is sought.
PACKAGES = ("base-files", "ovmf", "qemu-system-x86")
LABEL = "qemu"
NAME = "qemu-system-x86_64"

# The packages' loader finds the packages' libraries, whatever those of the machine are.
RUN = f"""#!/bin/sh
tree=$(dirname "$(readlink -f "$0")")/tree
export QEMU_MODULE_DIR="$tree/usr/lib/x86_64-linux-gnu/qemu"
exec "$tree/usr/lib64/ld-linux-x86-64.so.2" --library-path "$tree/usr/lib/x86_64-linux-gnu" \\
    --argv0 {NAME} "$tree/usr/bin/{NAME}" -L "$tree/usr/share/qemu" \\
    -L "$tree/usr/share/seabios" -L "$tree/usr/lib/ipxe/qemu" "$@"
"""


def inputs():
    return {"packages": PACKAGES, "recipe": cache.digest_of_file(__file__),
            "unpacked": cache.digest_of_file(unpacked.__file__)}


def build():
    """The directory with qemu.img, an ext4 file system without partitions, and a program NAME for
    any machine."""
    return cache.obtain("qemu", inputs(), _make)


def _make(product):
    debian.require("mmdebstrap", "mke2fs")
    tree = product / "tree"
    with Progress("QEMU: fetching and unpacking packages"):
        unpacked.unpack(tree, debian.STABLE, PACKAGES, debian.stable_sources(),
                        newest=debian.BACKPORTS)
        unpacked.make_image(tree, LABEL, product / "qemu.img")
    program = product / NAME
    program.write_text(RUN)
    program.chmod(0o755)
