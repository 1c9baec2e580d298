# SPDX-License-Identifier: Apache-2.0
"""The root partition's kernel: upstream Linux with our own small config, from Debian's source."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from . import cache, debian
from .errors import RecipeError
from .progress import Progress

HERE = pathlib.Path(__file__).resolve().parent
CONFIG = HERE.parent / "kernel" / "config"

# 6.15 is the first release with /dev/mshv.
OLDEST = (6, 15)

# Compiler runs and the like of one build; only the percentage that is shown depends on it.
STEPS = 2050

# Parts of the source whose code our config never compiles, more than half of all files: what isn't
# unpacked needn't be removed. Their Kconfig files stay, the configuration reads them all.
UNUSED = [
    "sound", "rust", "samples", "tools/testing", "tools/perf", "drivers/accel", "drivers/comedi",
    "drivers/crypto", "drivers/gpu", "drivers/hid", "drivers/hwmon", "drivers/iio",
    "drivers/infiniband", "drivers/media", "drivers/mtd", "drivers/net/ethernet",
    "drivers/net/wireless", "drivers/phy", "drivers/pinctrl", "drivers/regulator", "drivers/s390",
    "drivers/scsi", "drivers/soc", "drivers/staging", "drivers/usb", "drivers/video/fbdev",
    "drivers/watchdog", "fs/btrfs", "fs/ocfs2", "fs/smb", "fs/xfs",
    *(f"arch/{name}" for name in (
        "alpha", "arc", "arm", "arm64", "csky", "hexagon", "loongarch", "m68k", "microblaze",
        "mips", "nios2", "openrisc", "parisc", "powerpc", "riscv", "s390", "sh", "sparc",
        "xtensa"))]
UNUSED_FILES = [
    *(f"linux-source-*/{part}/*.[chS]" for part in UNUSED),
    "linux-source-*/rust/*.rs", "linux-source-*/tools/testing/*", "linux-source-*/tools/perf/*",
    "linux-source-*/arch/*/boot/dts/*",
    "linux-source-*/Documentation/*.rst", "linux-source-*/Documentation/*.yaml",
    "linux-source-*/Documentation/*.txt", "linux-source-*/Documentation/ABI/*"]


def source(refresh=False):
    """The record of the source package in use: Package, Version, SHA256.

    Chosen once, then kept: which source is the newest must not depend on the day, nor need the
    network. `refresh` looks for a newer one.
    """
    file = cache.directory() / "linux-source.json"
    if not refresh:
        with contextlib.suppress(OSError, ValueError):
            return json.loads(file.read_text())
    archive = debian.Archive()
    with Progress("kernel: looking for Debian's newest Linux source"):
        archive.update()
        record = archive.newest(r"linux-source-(\d+\.\d+)", OLDEST)
    record = {name: record[name] for name in ("Package", "Version", "SHA256")}
    file.write_text(json.dumps(record, indent=2) + "\n")
    return record


def inputs(record, addition=None):
    return {
        "source": record,
        "config": [cache.digest_of_file(file) for file in _fragments(addition)],
        "recipe": cache.digest_of_file(__file__),
    }


def cached(record):
    """The product for this source and config if it is there: bzImage, vmlinux, config."""
    return cache.find("kernel", inputs(record))


def build(record, addition=None):
    """The directory with bzImage, vmlinux (with symbols, for a debugger) and the full config.

    With `addition`, a file like `CONFIG`, it is a kernel that has that as well.
    """
    return cache.obtain("kernel", inputs(record, addition),
                        lambda product: _make(record, addition, product))


def _fragments(addition):
    return [CONFIG, *([addition] if addition else [])]


def _make(record, addition, product):
    debian.require("make", "gcc", "bison", "flex", "bc", "lz4", "xz")
    deb = _download(record)
    work = pathlib.Path(tempfile.mkdtemp(dir=product))
    try:
        tree = _unpack(deb, work)
        objects = tree / "objects"
        objects.mkdir()
        log = cache.directory() / "kernel-build.log"
        fragment = "".join(file.read_text() for file in _fragments(addition))
        _configure(tree, objects, fragment, log)
        _compile(tree, objects, log)
        shutil.copy(objects / "arch/x86/boot/bzImage", product / "bzImage")
        shutil.copy(objects / "vmlinux", product / "vmlinux")
        shutil.copy(objects / ".config", product / "config")
    finally:
        cache.discard(work)


def _download(record):
    def fetch(product):
        archive = debian.Archive()
        with Progress(f"kernel: downloading {record['Package']} {record['Version']}"):
            archive.update()
            debian_record = archive.candidate(record["Package"])
            if debian_record.get("SHA256") != record["SHA256"]:
                raise RecipeError(
                    f"the mirror has {record['Package']} {debian_record.get('Version')}; expected "
                    f"{record['Version']}, which was chosen before: run 'root/build --refresh' to "
                    "take the new one")
            archive.download(debian_record, product).rename(product / "source.deb")

    return cache.obtain("linux-source", record, fetch) / "source.deb"


def _unpack(deb, work):
    with Progress("kernel: unpacking the source"):
        archive = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)],
                                   stdout=subprocess.PIPE)
        inner = subprocess.Popen(["tar", "-xO", "--wildcards", "./usr/src/linux-source-*.tar.xz"],
                                 stdin=archive.stdout, stdout=subprocess.PIPE)
        plain = subprocess.Popen(["xz", "-dc", "-T0"], stdin=inner.stdout, stdout=subprocess.PIPE)
        excludes = [f"--exclude={pattern}" for pattern in UNUSED_FILES]
        result = subprocess.run(["tar", "-x", "--no-same-owner", "-C", str(work), "--anchored",
                                 "--wildcards", *excludes], stdin=plain.stdout, check=False)
        for process in (archive, inner, plain):
            process.stdout.close()
            process.wait()
    trees = list(work.glob("linux-source-*"))
    if result.returncode != 0 or len(trees) != 1:
        raise RecipeError(f"cannot unpack {deb} into {work}; expected one linux-source tree: is "
                          "the disk full (2 GB are needed)?")
    return trees[0]


def _environment():
    # The image must not depend on who builds it, where and when.
    return {**os.environ, "LC_ALL": "C", "KBUILD_BUILD_USER": "undercroft",
            "KBUILD_BUILD_HOST": "undercroft", "KBUILD_BUILD_TIMESTAMP": "@0"}


def _configure(tree, objects, fragment, log):
    wanted = objects / "wanted"
    wanted.write_text(fragment)
    with open(log, "wb") as output:
        result = subprocess.run(
            ["make", f"O={objects}", f"KCONFIG_ALLCONFIG={wanted}", "allnoconfig"],
            cwd=tree, env=_environment(), stdout=output, stderr=subprocess.STDOUT, check=False)
    if result.returncode != 0:
        raise RecipeError(f"the kernel's configuration failed: {_first_error(log)} (all of it: "
                          f"{log})")
    problems = unmet(fragment, (objects / ".config").read_text())
    if problems:
        raise RecipeError(f"the kernel's configuration: {', '.join(problems)} did not come out as "
                          "written; expected each line to take effect: the symbol is unknown to "
                          "this kernel or depends on one that is off")


def unmet(fragment, result):
    """The settings of a config fragment that a full config does not hold."""
    got = dict(re.findall(r"^(CONFIG_\w+)=(.*)$", result, re.MULTILINE))
    wanted = dict(re.findall(r"^(CONFIG_\w+)=(.*)$", fragment, re.MULTILINE))
    problems = [name for name, value in wanted.items() if got.get(name) != value]
    off = re.findall(r"^# (CONFIG_\w+) is not set$", fragment, re.MULTILINE)
    return problems + [name for name in off if name in got]


def _compile(tree, objects, log):
    jobs = len(os.sched_getaffinity(0))
    command = ["make", f"-j{jobs}", f"O={objects}", "bzImage"]
    steps = 0
    with Progress("kernel: compiling (some minutes)") as progress, \
            open(log, "w", encoding="utf-8", errors="replace") as output, \
            subprocess.Popen(command, cwd=tree, env=_environment(), stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        for line in process.stdout:
            output.write(line)
            if re.match(r"  (CC|AS|HOSTCC|LD) ", line):
                steps += 1
                progress.update(steps / STEPS, line.split()[-1])
        if process.wait() != 0:
            output.flush()
            raise RecipeError(f"the kernel's build failed: {_first_error(log)} (all of it: {log})")


def _first_error(log):
    lines = log.read_text(errors="replace").splitlines()
    wrong = [line for line in lines if re.search(r"\berror:|\*\*\*|can't open|Killed", line)]
    return (wrong or lines or ["it said nothing"])[0].strip()
