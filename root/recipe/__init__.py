# SPDX-License-Identifier: Apache-2.0
"""How the root partition's kernel and file system, and a child's, are made and cached."""

import dataclasses
import pathlib

from . import child, filesystem, kernel


@dataclasses.dataclass(frozen=True)
class Artifacts:
    """Files that a host is brought up with."""

    kernel: pathlib.Path  # the root's kernel, a bzImage
    kernel_symbols: pathlib.Path  # the same as ELF with symbols
    filesystem: pathlib.Path  # the root's user land, an initramfs without the lab's agent
    child_kernel: pathlib.Path  # Debian's generic kernel
    child_cloud_kernel: pathlib.Path  # Debian's kernel for cloud images
    child_newest_kernel: pathlib.Path  # the same of Debian's backports
    child_userland: pathlib.Path  # the child's initramfs


def obtain(refresh=False):
    """All of them, from the cache, or made now."""
    built = kernel.build(kernel.source(refresh))
    kernels = child.build_kernels(child.kernels(refresh))
    return Artifacts(
        kernel=built / "bzImage",
        kernel_symbols=built / "vmlinux",
        filesystem=filesystem.build() / "initramfs.cpio",
        child_kernel=kernels / "vmlinuz",
        child_cloud_kernel=kernels / "vmlinuz-cloud",
        child_newest_kernel=kernels / child.NEWEST,
        child_userland=child.build_userland(kernels) / "initramfs.cpio",
    )
