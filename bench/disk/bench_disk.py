#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our disks beside QEMU's, turn about in one run.

Usage: bench_disk.py CROFT DISK_QUEUE_BENCH OUTPUT.json [--gib N] [--rounds N] [--folder DIR]
                     [--only PART]…

Prints a table (ours, the peer's, ratio: higher is better for us) of medians, and writes it as JSON.
"""

import argparse
import json
import math
import mmap
import os
import select
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

GIB = 1 << 30
REQUESTS = 20000
DEPTH = 32
MADV_POPULATE_WRITE = 23  # linux/mman.h; Python has no name for it
QEMU = {"raw": "raw", "vhdx": "vhdx", "vhd": "vpc"}


def timed(*words):
    begin = time.monotonic()
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def output_of(words):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True,
                          text=True).stdout


def fill(path, size, every_other):
    """A raw disk of random data; with `every_other`, half of its MiBs are written zeros."""
    block = os.urandom(16 << 20)
    zeros = bytes(1 << 20)
    with open(path, "wb") as file:
        for mib in range(size >> 20):
            start = mib % 16 << 20
            file.write(zeros if every_other and mib % 2 else block[start:start + (1 << 20)])


def forget(path):
    """Takes a file that is on the disk out of the page cache."""
    if os.path.exists(path):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def recall(path):
    """Brings a file into the page cache."""
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(4 << 20)
        while file.readinto(buffer):
            pass


def touch_memory(size):
    """Touches as much free memory. Where the machine is a virtual one, its host may have taken back
    what was free, and gives it again at the first touch, which takes many times as long as filling
    it; which side's time that comes into would be chance.
    """
    with open("/proc/meminfo") as file:
        free = int(next(line.split()[1] for line in file if line.startswith("MemFree:"))) << 10
    size = min(size, free - (1 << 30))
    if size <= 0:
        return
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        memory.madvise(MADV_POPULATE_WRITE)


def scattering_step(size):
    """qemu-img bench knows no random places, only a step, of less than 2 GiB. This one brings it to
    every 4 KiB of the disk once before it comes to one again, and never to a neighbour.
    """
    places = size // 4096
    step = int(min(size, (2 << 30) - 4096) * 0.618) // 4096
    while math.gcd(step, places) != 1:
        step -= 1
    return step * 4096


class Bench:
    def __init__(self, arguments, folder):
        self.arguments = arguments
        self.folder = folder
        self.rows = []

    def path(self, name):
        return os.path.join(self.folder, name)

    def flush(self):
        """What one side has written must not be written back in the other one's time."""
        subprocess.run(["sync", "--file-system", self.folder], check=True)

    def row(self, name, ours, peer, unit="s"):
        self.rows.append({"name": name, "undercroft": round(ours, 4), "peer": round(peer, 4),
                          "ratio": round(peer / ours, 2)})
        print(f"{name:68} {ours:9.3f} {unit} {peer:9.3f} {unit} {peer / ours:8.2f}", flush=True)

    def turn_about(self, name, ours, peer, prepare=lambda side: None, settle=lambda: None):
        """Runs both in turn, the other one first in the next round; each answers its seconds.
        Before each `prepare` says whose turn it is, what that has written is flushed, and `settle`
        makes the caches the same for both.
        """
        times = ([], [])
        for number in range(self.arguments.rounds):
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                prepare(side)
                self.flush()
                settle()
                times[side].append((ours, peer)[side]())
        self.row(name, *(statistics.median(some) for some in times))

    def remove(self, *names):
        for name in names:
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))

    def croft(self, *words):
        return timed(self.arguments.croft, "disk", *words)

    def convert(self, name, source, source_kind, kind, with_cp):
        """Into a new file and into one that is laid out, against qemu-img; and against cp."""
        path = self.path(source)
        ours, theirs = self.path(f"ours.{kind}"), self.path(f"theirs.{kind}")
        qemu = ["qemu-img", "convert", "-f", QEMU[source_kind], "-O", QEMU[kind]]

        def settle():
            for kept in (ours, theirs):
                forget(kept)
            recall(path)
            touch_memory(int(self.arguments.gib * GIB) + GIB)

        def both_new(_side=None):
            self.remove(f"ours.{kind}", f"theirs.{kind}")

        def one_new(side):
            self.remove(f"{('ours', 'theirs')[side]}.{kind}")

        self.turn_about(f"convert {name}, new",
                        lambda: self.croft("convert", "-f", kind, path, ours),
                        lambda: timed(*qemu, path, theirs), one_new, settle)
        self.turn_about(f"convert {name}, laid out",
                        lambda: self.croft("convert", "-n", "-f", kind, path, ours),
                        lambda: timed(*qemu, "-n", path, theirs), settle=settle)
        if with_cp:
            self.turn_about(f"convert {name}, new, against cp of the source",
                            lambda: self.croft("convert", "-f", kind, path, ours),
                            lambda: timed("cp", path, theirs), both_new, settle)
        both_new()

    def conversions_of(self, words, every_other, size, with_cp=True):
        fill(self.path("source.raw"), size, every_other)
        for source_kind, kind in (("raw", "vhdx"), ("vhdx", "raw"), ("vhd", "vhdx")):
            source = f"source.{source_kind}"
            if source_kind != "raw":
                if every_other:  # qemu-img keeps written zeros if it is told to
                    timed("qemu-img", "convert", "-S", "0", "-f", "raw", "-O", QEMU[source_kind],
                          *(["-o", "force_size=on"] if source_kind == "vhd" else []),
                          self.path("source.raw"), self.path(source))
                else:
                    self.croft("convert", self.path("source.raw"), self.path(source))
            self.convert(f"{source_kind} to {kind}, {words}", source, source_kind, kind,
                         with_cp=with_cp and not every_other)
            if source_kind != "raw":
                self.remove(source)
        self.remove("source.raw")

    def conversions(self):
        size = int(self.arguments.gib * GIB)
        self.conversions_of("full", False, size)
        self.conversions_of("half zeros", True, size)

    def sharing(self):
        """The same on file systems that share blocks, each on a loop device of its own."""
        size = int(min(self.arguments.gib, 2) * GIB)
        for kind in ("xfs", "btrfs"):
            if os.geteuid() != 0 or not shutil.which(f"mkfs.{kind}"):
                print(f"convert on {kind}: left out, needs root and mkfs.{kind}")
                continue
            image, mounted = self.path("image"), self.path("mounted")
            with open(image, "wb") as file:
                file.truncate(4 * size + GIB)
            output_of([f"mkfs.{kind}", "-q", image])
            os.makedirs(mounted, exist_ok=True)
            subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
            try:
                inside = Bench(self.arguments, mounted)
                inside.rows = self.rows
                inside.conversions_of(f"full, {kind}", False, size, with_cp=False)
            finally:
                subprocess.run(["umount", mounted], check=True)
                os.unlink(image)

    def ours_at_random(self, operation, path, step):
        """With a step of 0, places that are drawn at random, each once."""
        words = [self.arguments.queue_bench, path, operation, REQUESTS, DEPTH, step]
        return float(output_of(words).split()[0])

    def peer_at_random(self, operation, path, step):
        words = ["qemu-img", "bench", "-f", "vhdx", "-c", REQUESTS, "-d", DEPTH, "-s", 4096, "-S",
                 step, "-t", "writeback", path]
        if operation == "write":
            words[2:2] = ["-w", "--flush-interval", REQUESTS]
        return timed(*words)

    def queues(self):
        disk, raw = self.path("disk.vhdx"), self.path("disk.raw")

        def fresh(_side):
            self.remove("disk.vhdx")
            self.croft("create", disk, "20G")

        self.turn_about(f"{REQUESTS:,} writes a MiB apart, fresh VHDX",
                        lambda: self.ours_at_random("write", disk, 1 << 20),
                        lambda: self.peer_at_random("write", disk, 1 << 20), fresh)
        self.remove("disk.vhdx")
        size = int(min(self.arguments.gib, 4) * GIB)
        fill(raw, size, False)
        self.croft("convert", raw, disk)
        step = scattering_step(size)
        for operation in ("write", "read"):
            self.turn_about(
                f"{REQUESTS:,} {operation}s of 4 KiB, {step >> 20} MiB on each time, written VHDX",
                lambda operation=operation: self.ours_at_random(operation, disk, step),
                lambda operation=operation: self.peer_at_random(operation, disk, step))
        for operation in ("write", "read"):
            self.turn_about(
                f"{REQUESTS:,} random {operation}s of 4 KiB, written VHDX against our raw",
                lambda operation=operation: self.ours_at_random(operation, disk, 0),
                lambda operation=operation: self.ours_at_random(operation, raw, 0))
        self.remove("disk.raw", "disk.vhdx")

    def opening(self):
        """Beside what was promised: others have no chains of VHDX."""
        for depth in range(20):
            parent = ["-p", self.path(f"{depth - 1}.vhdx")] if depth else ["64T"]
            self.croft("create", "-q", self.path(f"{depth}.vhdx"), *parent)
        words = [self.arguments.queue_bench, self.path("19.vhdx"), "read", "1", "1", "0"]
        seconds, kib = [], []
        for _ in range(self.arguments.rounds):
            begin = time.monotonic()
            kib.append(int(output_of(words).split()[1]))
            seconds.append(time.monotonic() - begin)
        name = "open a chain of 20 of 64 TiB and read once"
        self.row(f"{name}, against the limit", statistics.median(seconds), 0.05)
        self.row(f"{name}, memory against the limit", statistics.median(kib) / 1024, 32, "MiB")
        self.remove(*(f"{depth}.vhdx" for depth in range(20)))

    def mounting(self):
        why = no_mounts()
        if why:
            print(f"mounting is not measured: {why}")
            return
        peer = NbdMount if os.path.exists("/dev/nbd0") else DaemonMount
        mounts = (OurMount(self), peer(self))
        try:
            for operation in ("write", "read"):
                self.turn_about(f"sequential {operation} through a mount, against {peer.NAME}",
                                *(getattr(mount, operation) for mount in mounts))
        finally:
            for mount in mounts:
                mount.remove()


def no_mounts():
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        return "it takes root and /dev/fuse"
    missing = [name for name in ("qemu-storage-daemon", "mkfs.ext4") if not shutil.which(name)]
    return f"not installed: {', '.join(missing)}" if missing else None


class Mount:
    """An ext4 in a dynamic VHDX: a large file is written to a fresh one, and read from a mount that
    has not seen it yet. Each time ends with all on the disk, or all read; mounting is not in it.
    """

    def __init__(self, bench, side):
        self.croft = bench.arguments.croft
        self.disk = bench.path(f"{side}.vhdx")
        self.point = bench.path(side)
        self.size = max(1, int(bench.arguments.gib * 1024 / 4))
        self.block = os.urandom(1 << 20)
        os.mkdir(self.point)

    def write(self):
        if os.path.exists(self.disk):
            os.unlink(self.disk)
        self.create()
        self.mount()
        begin = time.monotonic()
        with open(os.path.join(self.point, "file"), "wb") as file:
            for _ in range(self.size):
                file.write(self.block)
            file.flush()
            os.fsync(file.fileno())
        seconds = time.monotonic() - begin
        self.unmount()
        return seconds

    def read(self):
        self.mount()
        begin = time.monotonic()
        with open(os.path.join(self.point, "file"), "rb", buffering=0) as file:
            buffer = bytearray(1 << 20)
            total = 0
            while count := file.readinto(buffer):
                total += count
        seconds = time.monotonic() - begin
        if total != self.size << 20:
            raise RuntimeError(f"{self.point}: read {total} bytes, expected {self.size << 20}")
        self.unmount()
        return seconds

    def remove(self):
        if os.path.ismount(self.point):  # something went wrong
            self.unmount()
        os.unlink(self.disk)
        os.rmdir(self.point)


MKFS = ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]


class OurMount(Mount):
    def __init__(self, bench):
        super().__init__(bench, "ours")

    def create(self):
        disk = [self.croft, "disk"]
        subprocess.run([*disk, "create", "-q", self.disk, "64G"], check=True)
        subprocess.run([*disk, "mount", "-q", "--raw", "-w", self.disk, self.point], check=True)
        subprocess.run([*MKFS, f"{self.point}/disk"], check=True)
        subprocess.run([*disk, "umount", self.point], check=True)

    def mount(self):
        subprocess.run([self.croft, "disk", "mount", "-q", "-w", self.disk, self.point], check=True)

    def unmount(self):
        subprocess.run([self.croft, "disk", "umount", self.point], check=True)


class PeerMount(Mount):
    def __init__(self, bench):
        super().__init__(bench, "theirs")
        self.export = bench.path("theirs.export")

    def create(self):
        subprocess.run(["qemu-img", "create", "-q", "-f", "vhdx", self.disk, "64G"], check=True)
        self.start()
        subprocess.run([*MKFS, self.export], check=True)
        self.stop()


class NbdMount(PeerMount):
    NAME = "qemu-nbd"

    def __init__(self, bench):
        super().__init__(bench)
        self.export = "/dev/nbd0"

    def start(self):
        subprocess.run(["qemu-nbd", "--format", "vhdx", "--connect", self.export, self.disk],
                       check=True)

    def stop(self):
        subprocess.run(["qemu-nbd", "--disconnect", self.export], check=True,
                       stdout=subprocess.DEVNULL)

    def mount(self):
        self.start()
        subprocess.run(["mount", self.export, self.point], check=True)

    def unmount(self):
        subprocess.run(["umount", self.point], check=True)
        self.stop()


class DaemonMount(PeerMount):
    """Where the kernel has no network block devices: a FUSE export, and a loop device over it as
    mount -o loop makes it. (One past the page cache was tried, as ours is. After such a write fsck
    found the file system damaged, with QEMU 7.2 and the kernel of that machine; which of them is
    to blame was not looked into.)
    """
    NAME = "qemu-storage-daemon"

    def __init__(self, bench):
        super().__init__(bench)
        self.pid_file = bench.path("theirs.pid")

    def start(self):
        with open(self.export, "w"):
            pass
        subprocess.run(
            ["qemu-storage-daemon", "--daemonize", "--pidfile", self.pid_file, "--blockdev",
             f"driver=file,filename={self.disk},node-name=file", "--blockdev",
             "driver=vhdx,file=file,node-name=disk", "--export",
             f"type=fuse,id=export,node-name=disk,mountpoint={self.export},writable=on"],
            check=True)

    def stop(self):
        with open(self.pid_file) as file:
            process = int(file.read())
        descriptor = os.pidfd_open(process)
        os.kill(process, signal.SIGTERM)
        select.select([descriptor], [], [])
        os.close(descriptor)

    def mount(self):
        self.start()
        self.loop = subprocess.run(
            ["losetup", "--find", "--show", self.export],
            check=True, capture_output=True, text=True).stdout.strip()
        subprocess.run(["mount", self.loop, self.point], check=True)

    def unmount(self):
        subprocess.run(["umount", self.point], check=True)
        subprocess.run(["losetup", "--detach", self.loop], check=True)
        self.stop()


PARTS = ("queues", "opening", "mounting", "conversions", "sharing")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("croft")
    parser.add_argument("queue_bench")
    parser.add_argument("output")
    parser.add_argument("--gib", type=float, default=float(os.environ.get("BENCH_GIB", "8")),
                        help="how much is converted; a quarter is a try")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder")
    parser.add_argument("--only", action="append",
                        choices=PARTS)
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="croft-bench-", dir=arguments.folder)
    try:
        bench = Bench(arguments, folder)
        print(f"{'':68} {'ours':>11} {'peer':>11} {'ratio':>8}")
        for part in arguments.only or PARTS:
            getattr(bench, part)()
    finally:
        shutil.rmtree(folder)
    os.makedirs(os.path.dirname(os.path.abspath(arguments.output)), exist_ok=True)
    with open(arguments.output, "w") as file:
        json.dump(bench.rows, file, indent=2)


if __name__ == "__main__":
    main()
