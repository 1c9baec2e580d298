# SPDX-License-Identifier: Apache-2.0
"""The root partition's file system: Debian's packages as an initramfs.

An initramfs and not a disk image: under emulation both boot in the same time, and an initramfs
needs no device, so the root comes up and can be asked even when something is wrong with its
interrupts. It isn't compressed, because unpacking costs an emulated processor more than reading.
Only what programs need at run time goes in: no documentation, no package manager.
"""

import os
import pathlib
import re
import subprocess
import tarfile
import tempfile

from . import cache, debian
from .cpio import Archive
from .errors import RecipeError
from .progress import Progress

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = HERE.parent / "filesystem" / "packages"
INIT = HERE.parent / "filesystem" / "init"

KEPT = re.compile(r"(usr/)?(bin|sbin|lib|lib64)(/|$)|etc(/|$)|usr/share/terminfo(/|$)")
DROPPED = re.compile(
    r"usr/(bin|sbin)/(perl|dpkg|deb|apt|update-|pod|x86_64-linux-gnu)"
    r"|usr/lib/(x86_64-linux-gnu/(perl|gconv|krb5|engines|ossl)|dpkg|apt|systemd|git|mime|init)"
    r"|usr/lib/x86_64-linux-gnu/lib(perl|db-)"
    r"|(usr/)?lib/(systemd|udev|init|modules|lsb)"
    r"|etc/(perl|init\.d|cron|alternatives|apt|dpkg|systemd|default|rc)")


def packages():
    lines = (line.partition("#")[0].strip() for line in PACKAGES.read_text().splitlines())
    return [line for line in lines if line]


def inputs():
    return {
        "packages": packages(),
        "recipe": cache.digest_of_file(__file__),
        "archive": cache.digest_of_file(HERE / "cpio.py"),
        "init": cache.digest_of_file(INIT),
    }


def cached():
    return cache.find("filesystem", inputs())


def build():
    """The directory with initramfs.cpio."""
    return cache.obtain("filesystem", inputs(), _make)


def _make(product):
    debian.require("mmdebstrap")
    lines, _ = debian.sources()
    with Progress("root file system: fetching and unpacking packages"), \
            tempfile.TemporaryDirectory(dir=product) as work:
        tar = pathlib.Path(work) / "root.tar"
        command = ["mmdebstrap", "--quiet", "--mode=chrootless", "--variant=extract",
                   f"--include={','.join(packages())}", debian.RELEASE, str(tar), *lines]
        result = subprocess.run(command, capture_output=True, text=True, check=False,
                                env={**os.environ, "LC_ALL": "C"})
        if result.returncode != 0:
            words = (result.stderr.strip() or "no reason given").splitlines()
            raise RecipeError("mmdebstrap failed: " + "; ".join(words[-3:]))
        (product / "initramfs.cpio").write_bytes(_convert(tar).bytes())


def _convert(tar):
    archive = Archive()
    for name in ("dev", "proc", "sys", "run", "tmp", "root", "mnt", "var", "usr", "etc"):
        archive.directory(name)
    archive.device("dev/console", "c", 5, 1)
    archive.device("dev/null", "c", 1, 3, 0o666)
    archive.file("init", INIT.read_bytes(), 0o755)
    archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n"
                 b"nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n")
    archive.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    archive.file("etc/hosts", b"127.0.0.1 localhost undercroft\n")
    # Debian's own merged layout, with the links first: what packages ship under /bin lands in /usr.
    for name in ("bin", "sbin", "lib", "lib64"):
        archive.symlink(name, f"usr/{name}")
    with tarfile.open(tar) as packed:
        for member in packed:
            _add(archive, packed, member)
    for name in _applets():
        if f"usr/bin/{name}" not in archive and f"usr/sbin/{name}" not in archive:
            archive.symlink(f"usr/bin/{name}", "/usr/bin/busybox")
    return archive


def _add(archive, packed, member):
    name = member.name.removeprefix("./").strip("/")
    if not KEPT.match(name) or DROPPED.match(name):
        return
    if re.match(r"(bin|sbin|lib|lib64)(/|$)", name):
        name = f"usr/{name}"
    if member.isdir():
        archive.directory(name, member.mode)
    elif member.issym():
        archive.symlink(name, member.linkname)
    elif member.isfile():
        archive.file(name, packed.extractfile(member).read(), member.mode)
    elif member.islnk():
        archive.file(name, packed.extractfile(member).read(), member.mode)


def _applets():
    debian.require("busybox")
    return subprocess.run(["busybox", "--list"], capture_output=True, text=True,
                          check=True).stdout.split()
