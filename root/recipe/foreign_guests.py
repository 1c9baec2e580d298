# SPDX-License-Identifier: Apache-2.0
"""Guests that know nothing of the hypervisor, and most of them nothing of Linux, as Debian packages
them: memory tester, network boot loader, GRUB's rescue disc, Linux for processors of 32 bits."""

import pathlib
import re
import subprocess
import tempfile

from . import cache, debian
from .cpio import Archive
from .errors import RecipeError
from .progress import Progress

HERE = pathlib.Path(__file__).resolve().parent
INIT = HERE.parent / "child" / "init"

# What is taken out of each package: {name here: path in the package}.
FILES = {
    "memtest86+": {"memtest32.bin": "boot/memtest86+ia32.bin",
                   "memtest64.bin": "boot/memtest86+x64.bin"},
    "ipxe": {"ipxe.lkrn": "usr/lib/ipxe/ipxe.lkrn"},
    "grub-rescue-pc": {"rescue.iso": "usr/lib/grub-rescue/grub-rescue-cdrom.iso"},
    "busybox-static": {"busybox": "bin/busybox"},
}

# The kernels for 32-bit processors, the first without PAE.
KERNELS = {"vmlinuz-686": "linux-image-686", "vmlinuz-686-pae": "linux-image-686-pae"}

# What the user land of root/child needs of busybox.
APPLETS = ("awk", "cat", "cut", "date", "echo", "grep", "modprobe", "mount", "poweroff", "printf",
           "reboot", "setsid", "sh", "sha256sum", "sleep", "taskset", "tr", "uname")

# The disc's own configuration is a sample, with entries for systems that aren't there.
RESCUE_CONFIG = """\
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
"""


class I386Archive(debian.Archive):
    """Packages for 32-bit processors, of this release, the last that has kernels for them, and of
    the stable one. Its state is its own: apt drops the lists of architectures that aren't asked
    for."""

    def __init__(self):
        super().__init__()
        home = cache.directory() / "apt-i386"
        for folder in ("state/lists/partial", "cache/archives/partial"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        _, main = debian.sources()
        (home / "sources.list").write_text("".join(
            f"deb [signed-by={debian.KEYRING}] {main} {suite} main\n"
            for suite in (debian.RELEASE, debian.STABLE)))
        for name, value in {"Dir::State": home / "state", "Dir::Cache": home / "cache",
                            "Dir::Etc::sourcelist": home / "sources.list",
                            "APT::Architecture": "i386", "APT::Architectures": "i386"}.items():
            self._options += ["-o", f"{name}={value}"]


def inputs():
    return {"files": FILES, "kernels": KERNELS, "recipe": cache.digest_of_file(__file__),
            "init": cache.digest_of_file(INIT), "archive": cache.digest_of_file(HERE / "cpio.py")}


def build():
    """The directory with the files of FILES and KERNELS; rescue.iso has its terminal on the first
    serial port, and initramfs.cpio is the user land of root/child for 32-bit processors."""
    return cache.obtain("foreign-guests", inputs(), _make)


def _make(product):
    debian.require("xorriso")
    archive = I386Archive()
    with Progress("foreign guests: fetching and unpacking packages"), \
            tempfile.TemporaryDirectory(dir=product) as work:
        work = pathlib.Path(work)
        archive.update()
        for package, files in FILES.items():
            _take(archive, archive.candidate(package), files, work, product)
        for name, package in KERNELS.items():
            image = _image_of(archive, package)
            release = image["Package"].removeprefix("linux-image-")
            _take(archive, image, {name: f"boot/vmlinuz-{release}"}, work, product)
        _set_up_disc(product / "rescue.iso", work)
    (product / "initramfs.cpio").write_bytes(_userland((product / "busybox").read_bytes()))


def _image_of(archive, package):
    """The package of a kernel's files that one without files depends on."""
    depends = archive.candidate(package).get("Depends", "")
    match = re.search(r"linux-image-[0-9][^ ,]*", depends)
    if not match:
        raise RecipeError(f"{package} depends on '{depends}'; expected a linux-image-* package: is "
                          "the mirror complete?")
    return archive.candidate(match[0])


def _take(archive, record, files, work, product):
    tree = work / record["Package"]
    debian.extract(archive.download(record, work), tree)
    for name, path in files.items():
        file = tree / path
        if not file.is_file() and (tree / "usr" / path).is_file():
            file = tree / "usr" / path
        if not file.is_file():
            raise RecipeError(f"{record['Package']} {record['Version']} has no {path}")
        file.rename(product / name)


def _set_up_disc(disc, work):
    """Gives the disc a configuration, and leaves all else as it is, how it boots included."""
    config = work / "grub.cfg"
    config.write_text(RESCUE_CONFIG)
    changed = work / "changed.iso"
    result = subprocess.run(
        ["xorriso", "-indev", disc, "-outdev", changed, "-boot_image", "any", "replay",
         "-update", config, "/boot/grub/grub.cfg"], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RecipeError(f"xorriso failed for {disc.name}: {result.stderr.strip()[-300:]}")
    changed.rename(disc)


def _userland(busybox):
    archive = Archive()
    for name in ("dev", "proc", "sys", "tmp", "bin"):
        archive.directory(name)
    archive.device("dev/console", "c", 5, 1)
    archive.device("dev/null", "c", 1, 3, 0o666)
    archive.file("init", INIT.read_bytes(), 0o755)
    archive.file("bin/busybox", busybox, 0o755)
    for name in APPLETS:
        archive.symlink(f"bin/{name}", "busybox")
    return archive.bytes()
