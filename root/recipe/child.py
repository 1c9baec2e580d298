# SPDX-License-Identifier: Apache-2.0
"""What a child partition boots in run and test: Debian's stock kernel, unmodified, and a small user
land that says what it sees."""

import contextlib
import json
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

# The kernel that a Debian 12 installation has, and the one of its cloud images.
KERNELS = {"vmlinuz": "linux-image-amd64", "vmlinuz-cloud": "linux-image-cloud-amd64"}


def kernels(refresh=False):
    """Records of the kernel packages in use; chosen once, then kept (see kernel.source)."""
    file = cache.directory() / "child-kernels.json"
    if not refresh:
        with contextlib.suppress(OSError, ValueError):
            return json.loads(file.read_text())
    archive = debian.Archive()
    records = {}
    with Progress("child: looking for Debian's kernels"):
        archive.update()
        for file_name, package in KERNELS.items():
            depends = archive.candidate(package).get("Depends", "")
            match = re.search(r"linux-image-[0-9][^ ,]*", depends)
            if not match:
                raise RecipeError(f"{package} depends on '{depends}'; expected a linux-image-* "
                                  "package: is the mirror complete?")
            record = archive.candidate(match[0])
            records[file_name] = {name: record[name] for name in ("Package", "Version", "SHA256")}
    file.write_text(json.dumps(records, indent=2) + "\n")
    return records


def kernel_inputs(records):
    return {"kernels": records, "recipe": cache.digest_of_file(__file__)}


def build_kernels(records):
    """The directory with vmlinuz and vmlinuz-cloud, as Debian ships them."""
    def make(product):
        archive = debian.Archive()
        with Progress("child: downloading Debian's kernels"), \
                tempfile.TemporaryDirectory(dir=product) as work:
            archive.update()
            for name, record in records.items():
                current = archive.candidate(record["Package"])
                if current.get("SHA256") != record["SHA256"]:
                    raise RecipeError(f"the mirror has {record['Package']} {current.get('Version')}"
                                      f"; expected {record['Version']}, which was chosen before: "
                                      "run 'root/build --refresh' to take the new one")
                deb = archive.download(current, work)
                tree = pathlib.Path(work) / name
                debian.extract(deb, tree, "./boot/vmlinuz-*")
                images = list((tree / "boot").glob("vmlinuz-*"))
                if len(images) != 1:
                    raise RecipeError(f"{record['Package']} holds {len(images)} kernels; expected "
                                      "one boot/vmlinuz-*")
                images[0].rename(product / name)

    return cache.obtain("child-kernel", kernel_inputs(records), make)


def userland_inputs():
    return {
        "init": cache.digest_of_file(INIT),
        "busybox": cache.digest_of_file("/usr/bin/busybox"),
        "archive": cache.digest_of_file(HERE / "cpio.py"),
        "recipe": cache.digest_of_file(__file__),
    }


def build_userland():
    """The directory with initramfs.cpio."""
    debian.require("busybox")

    def make(product):
        archive = Archive()
        for name in ("dev", "proc", "sys", "tmp", "bin"):
            archive.directory(name)
        archive.device("dev/console", "c", 5, 1)
        archive.device("dev/null", "c", 1, 3, 0o666)
        archive.file("init", INIT.read_bytes(), 0o755)
        archive.file("bin/busybox", pathlib.Path("/usr/bin/busybox").read_bytes(), 0o755)
        applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True)
        for name in applets.stdout.split():
            archive.symlink(f"bin/{name}", "busybox")
        (product / "initramfs.cpio").write_bytes(archive.bytes())

    return cache.obtain("child-userland", userland_inputs(), make)
