# SPDX-License-Identifier: Apache-2.0
"""A guest as people have them: Debian on a disk, with systemd and the daemons for Hyper-V, made by
mmdebstrap. Its kernel and initial RAM disk are kept beside the disk too.

No mount and, where mmdebstrap can do without, no privilege: the file system is made from a folder.
"""

import os
import pathlib
import re
import subprocess
import tarfile
import tempfile

from . import cache, debian
from .errors import RecipeError
from .progress import Progress

HERE = pathlib.Path(__file__).resolve().parent
GUEST = HERE.parent / "guest"
PACKAGES = GUEST / "packages"
BEFORE = GUEST / "before"
SETUP = GUEST / "setup"

LABEL = "debian"
SIZE = "2G"

# What nobody reads in a guest of the lab.
EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*",
            "/usr/share/lintian/*", "/usr/share/bug/*", "/usr/share/gcc/*", "/usr/share/gdb/*",
            # See root/guest/before.
            "/usr/share/initramfs-tools/hooks/udev", "/usr/share/initramfs-tools/scripts/*/udev")

# From a tar file on standard input to an image of the file system on standard output.
MAKE_IMAGE = """
set -e
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/root"
tar -x -C "$work/root" --numeric-owner --xattrs --xattrs-include='*'
mke2fs -q -t ext4 -L "$1" -m 1 -J size=16 -E lazy_itable_init=0,lazy_journal_init=0 \
    -d "$work/root" "$work/image" "$2" >"$work/log"
cat "$work/image"
"""


def packages():
    lines = (line.partition("#")[0].strip() for line in PACKAGES.read_text().splitlines())
    return [line for line in lines if line]


def inputs():
    return {
        "packages": packages(),
        "before": cache.digest_of_file(BEFORE),
        "setup": cache.digest_of_file(SETUP),
        "recipe": cache.digest_of_file(__file__),
    }


def cached():
    return cache.find("guest", inputs())


def build():
    """The directory with disk.img, a raw disk that holds an ext4 file system and no partitions, and
    the vmlinuz and initrd.img that are in its /boot."""
    return cache.obtain("guest", inputs(), _make)


def _make(product):
    debian.require("mmdebstrap", "mke2fs", "tar")
    with tempfile.TemporaryDirectory(dir=product) as work:
        tar = pathlib.Path(work) / "root.tar"
        with Progress("guest: installing Debian"):
            _install(tar)
        with Progress("guest: making its disk"):
            _make_image(tar, product / "disk.img")
        _copy_boot_files(tar, product)


def _install(tar):
    lines, _ = debian.sources()
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--format=tar",
               # Without it the machine id would go, and each boot of a copy be a first one.
               "--skip=cleanup/reproducible",
               f"--include={','.join(packages())}",
               *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED),
               f"--essential-hook={BEFORE.read_text()}", f"--customize-hook={SETUP.read_text()}",
               debian.RELEASE, str(tar), *lines]
    result = subprocess.run(command, capture_output=True, text=True, check=False,
                            env={**os.environ, "LC_ALL": "C"})
    if result.returncode != 0:
        words = (result.stderr.strip() or "no reason given").splitlines()
        raise RecipeError("mmdebstrap failed: " + "; ".join(words[-3:]))


def _make_image(tar, image):
    # Owners and device nodes are the name space's where mmdebstrap has one.
    helper = [] if os.geteuid() == 0 else ["mmdebstrap", "--unshare-helper"]
    with open(tar, "rb") as source, \
            subprocess.Popen([*helper, "sh", "-c", MAKE_IMAGE, "make-image", LABEL, SIZE],
                             stdin=source, stdout=subprocess.PIPE) as maker:
        size = _copy_sparse(maker.stdout, image)
    if maker.returncode != 0 or size == 0:
        raise RecipeError(f"cannot make the file system of {image} (see above); expected room for "
                          "1 GB in the folder for temporary files: TMPDIR names another")


def _copy_sparse(source, path, block=1 << 20):
    """Copies a stream into a file, in which zeros take no room; answers its size."""
    with open(path, "wb") as target:
        while content := source.read(block):
            if content.count(0) == len(content):
                target.seek(len(content), os.SEEK_CUR)
            else:
                target.write(content)
        target.truncate(target.tell())
        return target.tell()


def _copy_boot_files(tar, product):
    wanted = {"vmlinuz": r"\./boot/vmlinuz-.*", "initrd.img": r"\./boot/initrd\.img-.*"}
    with tarfile.open(tar) as packed:
        for member in packed:
            for name, pattern in wanted.items():
                if member.isfile() and re.fullmatch(pattern, member.name):
                    (product / name).write_bytes(packed.extractfile(member).read())
    missing = [name for name in wanted if not (product / name).is_file()]
    if missing:
        raise RecipeError(f"the guest's /boot has no {' and no '.join(missing)}; expected what "
                          "Debian's kernel package and update-initramfs put there")
