# SPDX-License-Identifier: Apache-2.0
"""Packages from Debian's archive, by apt's own means, without touching the machine's apt state.

The mirror is the one that the machine's apt uses. Suites that the machine doesn't know are taken
from the same site. Everything is verified against the archive's keys, as apt does.
"""

import os
import pathlib
import re
import shutil
import subprocess

from . import cache
from .errors import RecipeError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
RELEASE = "bookworm"

# Where linux-source of 6.15 and later comes from: the backports of the stable release.
BACKPORTS = "trixie-backports"
STABLE = "trixie"


def sources():
    """The machine's own lines for this Debian release, in the one-line form of sources.list, and
    the address of its main archive."""
    fields = ("$(REPO_URI)", "$(RELEASE)", "$(COMPONENT)", "$(CODENAME)")
    targets = _run(["apt-get", "indextargets", "--format", " ".join(fields),
                    "Created-By: Packages"], "cannot ask apt for its sources").splitlines()
    lines = []
    main = None
    for target in dict.fromkeys(targets):
        parts = target.split()
        if len(parts) < 3 or parts[2] != "main":
            continue
        address, suite, component = parts[:3]
        names = {suite, parts[3] if len(parts) > 3 else suite}
        if names & {RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security"}:
            line = f"deb [signed-by={KEYRING}] {address} {suite} {component}"
            if line not in lines:
                lines.append(line)
        if RELEASE in names:
            main = main or address
    if main is None:
        raise RecipeError(f"apt knows no archive of Debian '{RELEASE}' (see 'apt-get "
                          "indextargets'); expected its main component: run this on Debian 12, or "
                          "add it to apt's sources")
    return lines, main


def stable_sources():
    """Lines for the stable release and its backports, from the same site."""
    _, main = sources()
    return [f"deb [signed-by={KEYRING}] {main} {suite} main" for suite in (STABLE, BACKPORTS)]


class Archive:
    """A private apt state in the cache with this release and the backports suite."""

    def __init__(self):
        if not os.path.exists(KEYRING):
            raise RecipeError(f"found no {KEYRING}; expected the keys of Debian's archive: install "
                              "debian-archive-keyring ('make deps')")
        self._home = cache.directory() / "apt"
        lines, main = sources()
        lines.append(f"deb [signed-by={KEYRING}] {main} {BACKPORTS} main")
        for folder in ("state/lists/partial", "cache/archives/partial", "preferences.d"):
            (self._home / folder).mkdir(parents=True, exist_ok=True)
        (self._home / "status").touch()
        (self._home / "sources.list").write_text("\n".join(lines) + "\n")
        options = {
            "Dir::State": self._home / "state",
            "Dir::State::status": self._home / "status",
            "Dir::Cache": self._home / "cache",
            "Dir::Etc::sourcelist": self._home / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": self._home / "preferences.d",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            # The downloads stay with the one who builds; apt's own user couldn't write there.
            "APT::Sandbox::User": "root",
        }
        self._options = [word for name, value in options.items()
                         for word in ("-o", f"{name}={value}")]

    def update(self):
        # A suite that is missing must be an error here, not a surprise two steps later.
        # And apt gives up where another of these is at it, which may be making something else.
        with cache.locked("apt"):
            _run(["apt-get", *self._options, "-o", "APT::Update::Error-Mode=any", "update", "-qq"],
                 "cannot fetch Debian's package lists")

    def newest(self, pattern, at_least=None):
        """Name and version of the newest package whose name matches `pattern`; its first group is
        the version that is compared, e.g. linux-source-(\\d+\\.\\d+)."""
        names = _run(["apt-cache", *self._options, "pkgnames"], "cannot read the package lists")
        found = []
        for name in names.split():
            match = re.fullmatch(pattern, name)
            if match:
                found.append((tuple(int(part) for part in match[1].split(".")), name))
        if not found or (at_least and max(found)[0] < at_least):
            wanted = ".".join(str(part) for part in at_least) if at_least else "any"
            raise RecipeError(f"the newest package like '{pattern}' is "
                              f"{max(found)[1] if found else 'none'}; expected version {wanted} or "
                              "later: does the mirror carry " + BACKPORTS + "?")
        return self.candidate(max(found)[1])

    def candidate(self, name):
        """Record of the newest version of a package: Package, Version, SHA256, Depends …"""
        text = _run(["apt-cache", *self._options, "show", "--no-all-versions", name],
                    f"Debian's package lists have no {name}")
        record = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", text.split("\n\n")[0], re.MULTILINE))
        return record

    def download(self, record, into):
        """Fetches the package of a record into a directory; answers its file."""
        into = pathlib.Path(into)
        before = set(into.glob("*.deb"))
        _run(["apt-get", *self._options, "download", "-qq",
              f"{record['Package']}={record['Version']}"],
             f"cannot download {record['Package']} {record['Version']}", cwd=into)
        files = set(into.glob("*.deb")) - before
        if len(files) != 1:
            raise RecipeError(f"apt-get download left {len(files)} files in {into}; expected one "
                              f"of {record['Package']}")
        file = files.pop()
        if cache.digest_of_file(file) != record["SHA256"]:
            raise RecipeError(f"{file.name} has not the SHA-256 that the package lists state; "
                              "try again, and if it stays so, distrust the mirror")
        return file


def extract(deb, into, *members):
    """Unpacks a package, or only the given paths of it ("./boot/…"), without installing it."""
    into.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as deb_:
        result = subprocess.run(["tar", "-x", "--no-same-owner", "-C", str(into), "--wildcards",
                                 *members], stdin=deb_.stdout, check=False)
    if result.returncode != 0:
        raise RecipeError(f"cannot unpack {' '.join(members) or 'all'} of {deb}: is the disk full?")


def require(*commands):
    for command in commands:
        if shutil.which(command) is None:
            raise RecipeError(f"found no '{command}'; expected it on the PATH: run 'make deps'")


def _run(command, failure, cwd=None):
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False,
                            env={**os.environ, "LC_ALL": "C"})
    if result.returncode != 0:
        words = (result.stderr.strip() or result.stdout.strip()).splitlines()
        raise RecipeError(f"{failure}: {'; '.join(words[-3:]) or 'no reason given'}")
    return result.stdout
