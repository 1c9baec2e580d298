# SPDX-License-Identifier: Apache-2.0
"""File systems of Debian's packages that are only unpacked, for chroot: no script of a package has
to run for a program to."""

import os
import subprocess

from .errors import RecipeError

ROOM = 256 << 20  # bytes beside the files, for what the file system itself needs


def unpack(tree, suite, packages, lines, newest=None):
    """Unpacks packages and all that they depend on; `lines` as in sources.list. With `newest` they
    are taken from that suite, if it has them."""
    preferred = [f'--aptopt=APT::Default-Release "{newest}"'] if newest else []
    run(["mmdebstrap", "--quiet", "--mode=chrootless", "--variant=extract", "--format=dir",
         f"--include={','.join(packages)}", *preferred, suite, str(tree), *lines])


def make_image(tree, label, image):
    """An ext4 file system without partitions that holds the tree."""
    for name in ("dev", "mnt", "proc", "sys", "tmp"):  # for mounts
        (tree / name).mkdir(exist_ok=True)
    size = sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file())
    run(["mke2fs", "-q", "-t", "ext4", "-L", label, "-O", "^has_journal", "-d", str(tree),
         str(image), str((size + ROOM) >> 10)])


def run(command):
    """Runs a program to its end; answers what it said."""
    result = subprocess.run(command, capture_output=True, text=True, check=False,
                            env={**os.environ, "LC_ALL": "C"})
    if result.returncode != 0:
        words = (result.stderr.strip() or "no reason given").splitlines()
        raise RecipeError(f"{command[0]} failed: " + "; ".join(words[-3:]))
    return result.stdout
