# SPDX-License-Identifier: Apache-2.0
"""QEMU with the accelerator for /dev/mshv, as Debian packages it from version 11 on, and what it
needs: a file system for chroot in the root partition."""

import pathlib
import tempfile

from . import cache, debian, unpacked
from .progress import Progress

# base-files has the links that merge the file system with /usr, where the loader is sought.
PACKAGES = ("base-files", "ovmf", "qemu-system-x86")
LABEL = "qemu"


def inputs():
    return {"packages": PACKAGES, "recipe": cache.digest_of_file(__file__),
            "unpacked": cache.digest_of_file(unpacked.__file__)}


def build():
    """The directory with qemu.img, an ext4 file system without partitions."""
    return cache.obtain("qemu", inputs(), _make)


def _make(product):
    debian.require("mmdebstrap", "mke2fs")
    with Progress("QEMU: fetching and unpacking packages"), \
            tempfile.TemporaryDirectory(dir=product) as work:
        tree = pathlib.Path(work) / "tree"
        unpacked.unpack(tree, debian.STABLE, PACKAGES, debian.stable_sources(),
                        newest=debian.BACKPORTS)
        unpacked.make_image(tree, LABEL, product / "qemu.img")
