# SPDX-License-Identifier: Apache-2.0
"""What benches run beside us: a kernel as the root's for a host with KVM, QEMU for its guests, and
the other ends of network loads, in a file system of Debian's packages, for chroot."""

import pathlib
import tempfile

from . import cache, debian, kernel, unpacked
from .progress import Progress

PACKAGES = ("busybox", "fio", "iperf3", "qemu-system-x86")
LABEL = "tools"

KVM_CONFIG = kernel.CONFIG.with_name("config-kvm")


def inputs():
    return {"packages": PACKAGES, "recipe": cache.digest_of_file(__file__),
            "unpacked": cache.digest_of_file(unpacked.__file__)}


def build_kernel():
    """The bzImage of the host with KVM: the root's source and config, and KVM."""
    return kernel.build(kernel.source(), KVM_CONFIG) / "bzImage"


def build():
    """The directory with tools.img, an ext4 file system without partitions."""
    return cache.obtain("bench-tools", inputs(), _make)


def _make(product):
    debian.require("mmdebstrap", "mke2fs")
    lines, _ = debian.sources()
    with Progress("bench tools: fetching and unpacking packages"), \
            tempfile.TemporaryDirectory(dir=product) as work:
        tree = pathlib.Path(work) / "tree"
        unpacked.unpack(tree, debian.RELEASE, PACKAGES, lines)
        unpacked.make_image(tree, LABEL, product / "tools.img")
