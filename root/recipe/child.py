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

# Of its drivers, those that the user land has at hand, with all that they need.
DRIVERS = ("hv_utils", "hv_storvsc", "hv_netvsc", "sd_mod", "sr_mod")


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
    """The directory with vmlinuz and vmlinuz-cloud, as Debian ships them, and drivers of each under
    modules/<name>, laid out as in a root file system."""
    debian.require("depmod")

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
                debian.extract(deb, tree, "./boot/vmlinuz-*", "./lib/modules/*")
                images = list((tree / "boot").glob("vmlinuz-*"))
                if len(images) != 1:
                    raise RecipeError(f"{record['Package']} holds {len(images)} kernels; expected "
                                      "one boot/vmlinuz-*")
                release = images[0].name.removeprefix("vmlinuz-")
                images[0].rename(product / name)
                _keep_drivers(tree, release, product / "modules" / name)

    return cache.obtain("child-kernel", kernel_inputs(records), make)


def _keep_drivers(tree, release, into):
    """Copies DRIVERS and what they depend on from an unpacked kernel package."""
    modules = pathlib.Path("lib") / "modules" / release
    _depmod(tree, release)
    needed = {}
    for line in (tree / modules / "modules.dep").read_text().splitlines():
        file, _, others = line.partition(":")
        needed[pathlib.PurePath(file).name.partition(".")[0]] = [file, *others.split()]
    missing = [name for name in DRIVERS if name not in needed]
    if missing:
        raise RecipeError(f"the kernel {release} has no module {', '.join(missing)}; expected all "
                          f"of {', '.join(DRIVERS)}")
    for file in {file for name in DRIVERS for file in needed[name]}:
        place = into / modules / file
        place.parent.mkdir(parents=True, exist_ok=True)
        (tree / modules / file).rename(place)
    for name in ("modules.order", "modules.builtin"):
        (tree / modules / name).rename(into / modules / name)
    _depmod(into, release)


def _depmod(tree, release):
    result = subprocess.run(["depmod", "-b", tree, release], capture_output=True, text=True,
                            check=False)
    if result.returncode != 0:
        raise RecipeError(f"depmod failed for {release}: {result.stderr.strip()}")


def userland_inputs(kernel_directory):
    return {
        "kernels": kernel_directory.name,
        "init": cache.digest_of_file(INIT),
        "busybox": cache.digest_of_file("/usr/bin/busybox"),
        "archive": cache.digest_of_file(HERE / "cpio.py"),
        "recipe": cache.digest_of_file(__file__),
    }


def build_userland(kernel_directory):
    """The directory with initramfs.cpio, which has the drivers of all kernels."""
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
        _add_drivers(archive, kernel_directory)
        (product / "initramfs.cpio").write_bytes(archive.bytes())

    return cache.obtain("child-userland", userland_inputs(kernel_directory), make)


def _add_drivers(archive, kernel_directory):
    for top in sorted((kernel_directory / "modules").iterdir()):
        for path in sorted(top.rglob("*")):
            if path.is_file():
                archive.file(str(path.relative_to(top)), path.read_bytes())
