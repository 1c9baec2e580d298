# SPDX-License-Identifier: Apache-2.0
"""What benches run beside us: Debian's kernel as a host with KVM, QEMU for its guests, and the
other ends of network loads. A file system of Debian's packages, for chroot, and what boots the
kernel."""

import pathlib
import shutil
import tempfile

from . import cache, debian, filesystem, unpacked
from .cpio import Archive
from .errors import RecipeError
from .progress import Progress

PACKAGES = ("busybox", "fio", "iperf3", "linux-image-amd64", "qemu-system-x86")
LABEL = "tools"

# What a host of the lab needs, which the root's own kernel has built in, and what QEMU does.
MODULES = ("virtio_pci", "virtio_console", "virtio_blk", "virtio_net", "9pnet_virtio", "9p", "ext4",
           "bridge", "tun", "vhost_net", "kvm_amd")

# The kernel's command line asks for it in place of the file system's own.
INIT = "load-modules"
INIT_TEXT = """#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# First process: loads all modules that there are, and goes on with the file system's own.
while read -r module; do
    insmod "/modules/$module"
done </modules/order
exec /init "$@"
"""


def inputs():
    return {"packages": PACKAGES, "recipe": cache.digest_of_file(__file__),
            "unpacked": cache.digest_of_file(unpacked.__file__)}


def build():
    """The directory with tools.img, an ext4 file system without partitions, vmlinuz, and
    modules.cpio, which goes with it and behind the root's file system."""
    return cache.obtain("bench-tools", inputs(), _make)


def build_host_filesystem():
    """The initramfs for that kernel: the root's, with the modules."""
    parts = (filesystem.build() / "initramfs.cpio", build() / "modules.cpio")

    def make(product):
        (product / "initramfs.cpio").write_bytes(b"".join(part.read_bytes() for part in parts))

    return cache.obtain("bench-host", {"parts": [part.parent.name for part in parts]},
                        make) / "initramfs.cpio"


def _make(product):
    debian.require("mmdebstrap", "mke2fs", "depmod", "modprobe")
    lines, _ = debian.sources()
    with Progress("bench tools: fetching and unpacking packages"), \
            tempfile.TemporaryDirectory(dir=product) as work:
        tree = pathlib.Path(work) / "tree"
        unpacked.unpack(tree, debian.RELEASE, PACKAGES, lines)
        _take_kernel(tree, product)
        unpacked.make_image(tree, LABEL, product / "tools.img")


def _take_kernel(tree, product):
    """Moves it out of the tree, with the modules that are wanted, and drops the others."""
    images = list((tree / "boot").glob("vmlinuz-*"))
    if len(images) != 1:
        raise RecipeError(f"linux-image-amd64 came with {len(images)} kernels; expected one "
                          "boot/vmlinuz-*")
    release = images[0].name.removeprefix("vmlinuz-")
    unpacked.run(["depmod", "-b", str(tree), release])
    order = {}
    for name in MODULES:
        said = unpacked.run(["modprobe", "-d", str(tree), "-S", release, "--show-depends", name])
        for kind, _, file in (line.rstrip().partition(" ") for line in said.splitlines()):
            if kind == "insmod":
                order[pathlib.Path(file).name] = file
    archive = Archive()
    archive.file(INIT, INIT_TEXT.encode(), 0o755)
    archive.file("modules/order", "".join(f"{name}\n" for name in order).encode())
    for name, file in order.items():
        archive.file(f"modules/{name}", pathlib.Path(file).read_bytes())
    (product / "modules.cpio").write_bytes(archive.bytes())
    shutil.move(images[0], product / "vmlinuz")
    for folder in ("boot", "lib/modules"):
        shutil.rmtree(tree / folder)
