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

# The newest that Debian has for cloud images, in its backports.
NEWEST = "vmlinuz-newest"
NEWEST_PACKAGE = r"linux-image-(\d+(?:\.\d+)+)\+\S*-cloud-amd64"

# Of its drivers, those that the user land has at hand, with all that they need.
DRIVERS = ("hv_utils", "hv_storvsc", "hv_netvsc", "sd_mod", "sr_mod")


def kernels(refresh=False):
    """Records of the packages of each kernel in use; chosen once, then kept (see kernel.source)."""
    file = cache.directory() / "child-kernel-packages.json"
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
            records[file_name] = _parts(archive, archive.candidate(match[0]))
        records[NEWEST] = _parts(archive, archive.newest(NEWEST_PACKAGE))
    file.write_text(json.dumps(records, indent=2) + "\n")
    return records


def _parts(archive, image):
    """Of an image's package, or of those with its parts that newer ones depend on."""
    names = re.findall(r"linux-(?:base|binary|modules)-[0-9][^ ,]*", image.get("Depends", ""))
    return [{name: record[name] for name in ("Package", "Version", "SHA256")}
            for record in [archive.candidate(name) for name in names] or [image]]


def kernel_inputs(records):
    return {"kernels": records, "recipe": cache.digest_of_file(__file__)}


def build_kernels(records):
    """The directory with the kernels, as Debian ships them, and drivers of each under
    modules/<name>, laid out as in a root file system."""
    debian.require("depmod")

    def make(product):
        archive = debian.Archive()
        with Progress("child: downloading Debian's kernels"), \
                tempfile.TemporaryDirectory(dir=product) as work:
            archive.update()
            for name, parts in records.items():
                tree = pathlib.Path(work) / name
                for part in parts:
                    debian.extract(_download(archive, part, work), tree)
                _take_kernel(tree, product / name)
                _keep_drivers(tree, product / "modules" / name)

    return cache.obtain("child-kernel", kernel_inputs(records), make)


def _download(archive, record, into):
    current = archive.candidate(record["Package"])
    if current.get("SHA256") != record["SHA256"]:
        raise RecipeError(f"the mirror has {record['Package']} {current.get('Version')}; expected "
                          f"{record['Version']}, which was chosen before: run 'root/build "
                          "--refresh' to take the new one")
    return archive.download(current, into)


def _take_kernel(tree, to):
    """Moves the kernel out of its unpacked packages, and its modules to /lib/modules, where older
    ones have them."""
    if (tree / "usr/lib/modules").is_dir():
        (tree / "lib").mkdir()
        (tree / "usr/lib/modules").rename(tree / "lib/modules")
    images = [*tree.glob("boot/vmlinuz-*"), *tree.glob("lib/modules/*/vmlinuz")]
    if len(images) != 1:
        raise RecipeError(f"the packages of {to.name} hold {len(images)} kernels; expected one")
    images[0].rename(to)


def _keep_drivers(tree, into):
    """Copies DRIVERS and what they depend on from unpacked packages of a kernel."""
    release, = [folder.name for folder in (tree / "lib/modules").iterdir()]
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
