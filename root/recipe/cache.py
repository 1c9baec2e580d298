# SPDX-License-Identifier: Apache-2.0
"""A store for what takes long to make, outside the checkout, keyed by what it is made from.

    <cache>/<kind>/<key>/      a finished product: its files, and inputs.json
    <cache>/<kind>.lock        held while one is being made

The key is a hash of the inputs: the same inputs find the product again, from any checkout. A
product appears under its name only when it is complete.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile
import threading

from .errors import RecipeError

# Of each kind the products that were used last stay; the rest goes when a new one is made.
KEPT = 4


def directory():
    """Where the cache is: CROFT_CACHE, else undercroft/ in the user's cache directory."""
    override = os.environ.get("CROFT_CACHE")
    if override:
        return pathlib.Path(override).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base).resolve() / "undercroft"


def digest_of_file(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def key_of(inputs):
    """The key of a dictionary of inputs; the order of its entries is of no account."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def find(kind, inputs):
    """The directory of the product that was made from `inputs`, or None."""
    product = directory() / kind / key_of(inputs)
    if not product.is_dir():
        return None
    with contextlib.suppress(OSError):
        os.utime(product)
    return product


def obtain(kind, inputs, make):
    """The directory of the product for `inputs`; if there is none, make(directory) fills a new one.

    A second process that wants a product of the same kind waits for the first.
    """
    product = find(kind, inputs)
    if product:
        return product
    with locked(kind):
        product = find(kind, inputs)
        if product:
            return product
        home = directory() / kind
        home.mkdir(parents=True, exist_ok=True)
        # What a killed build left behind: nobody else can be writing it, the lock is ours.
        for path in (*home.glob(".making-*"), *directory().glob(".rubbish-*")):
            discard(path)
        unfinished = pathlib.Path(tempfile.mkdtemp(prefix=".making-", dir=home))
        try:
            make(unfinished)
            (unfinished / "inputs.json").write_text(
                json.dumps(inputs, indent=2, sort_keys=True) + "\n")
            unfinished.chmod(0o755)
            product = home / key_of(inputs)
            unfinished.rename(product)
        finally:
            if unfinished.exists():
                discard(unfinished)
        _drop_old(home, product)
        return product


def discard(path):
    """Removes a directory while this process goes on with other things; it ends only when that is
    done. A source tree has tens of thousands of files, which takes long on some file systems."""
    path = pathlib.Path(path)
    rubbish = directory() / f".rubbish-{os.getpid()}-{path.name.lstrip('.')[-40:]}"
    with contextlib.suppress(FileNotFoundError):  # another process may have been faster
        path.rename(rubbish)
    threading.Thread(target=shutil.rmtree, args=(rubbish, True)).start()


@contextlib.contextmanager
def locked(kind):
    root = directory()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecipeError(f"cannot make the cache directory {root} ({error.strerror}); expected a "
                          "writable place: set CROFT_CACHE to one") from error
    with open(root / f"{kind}.lock", "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{kind}: another process is making it; waiting for that", file=sys.stderr,
                  flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _drop_old(home, newest):
    products = sorted((path for path in home.iterdir() if not path.name.startswith(".")),
                      key=lambda path: path.stat().st_mtime, reverse=True)
    for path in products[KEPT:]:
        if path != newest:
            shutil.rmtree(path, ignore_errors=True)
