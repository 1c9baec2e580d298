# SPDX-License-Identifier: Apache-2.0
"""The child's user land with work for it: the file `loads`, and this machine's C compiler with a
file to compile."""

import pathlib
import re
import subprocess

from root.recipe import cache, debian
from root.recipe.cpio import Archive

HERE = pathlib.Path(__file__).resolve().parent

# What the kernel starts in place of the user land's own first process.
INIT = "/loads"

# Where it stands there, and here.
COMPILER = {"usr/bin/gcc": "/usr/bin/gcc", "usr/bin/as": "/usr/bin/as"}


def build(artifacts):
    """The initramfs."""
    debian.require("gcc", "as", "ldd")
    files = {name: pathlib.Path(path) for name, path in _compiler().items()}
    files[INIT] = HERE / "loads"
    files["subject.c"] = HERE / "subject.c"
    inputs = {"base": artifacts.child_userland.parent.name,
              "recipe": cache.digest_of_file(__file__),
              "files": {name: cache.digest_of_file(path) for name, path in files.items()}}

    def make(product):
        archive = Archive()
        for name, path in files.items():
            archive.file(name, path.read_bytes(), 0o755)
        (product / "initramfs.cpio").write_bytes(
            artifacts.child_userland.read_bytes() + archive.bytes())

    return cache.obtain("bench-boot", inputs, make) / "initramfs.cpio"


def _compiler():
    """Its programs and their libraries: paths there and here."""
    inner = _said("/usr/bin/gcc", "-print-prog-name=cc1").strip()
    programs = {**COMPILER, inner: inner}
    libraries = {path for here in programs.values()
                 for path in re.findall(r"(/\S+) \(0x", _said("ldd", here))}
    return {**programs, **{path: path for path in libraries}}


def _said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
