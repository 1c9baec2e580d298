#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our disks beside QEMU's, turn about in one run.

Usage: bench_disk.py CROFT DISK_QUEUE_BENCH OUTPUT.json [--gib N] [--rounds N] [--folder DIR]
                     [--only PART]…

Prints a table (ours, the peer's, ratio: higher is better for us) of medians, and writes it as JSON.
"""

import argparse
import json
import os
import select
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

GIB = 1 << 30


def timed(*words):
    begin = time.monotonic()
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def fill(path, size, every_other):
    """A raw disk of random data; with `every_other`, half of its MiBs are written zeros."""
    block = os.urandom(16 << 20)
    zeros = bytes(1 << 20)
    with open(path, "wb") as file:
        for mib in range(size >> 20):
            start = mib % 16 << 20
            file.write(zeros if every_other and mib % 2 else block[start:start + (1 << 20)])


class Bench:
    def __init__(self, arguments, folder):
        self.arguments = arguments
        self.folder = folder
        self.rows = []

    def path(self, name):
        return os.path.join(self.folder, name)

    def turn_about(self, name, ours, peer, prepare=lambda side: None):
        """Runs both in turn; each answers its seconds."""
        times = ([], [])
        for _ in range(self.arguments.rounds):
            for side, run in enumerate((ours, peer)):
                prepare(side)
                times[side].append(run())
        mine, theirs = (statistics.median(some) for some in times)
        self.rows.append({"name": name, "undercroft": round(mine, 4), "peer": round(theirs, 4),
                          "ratio": round(theirs / mine, 2)})
        print(f"{name:52} {mine:9.3f} s {theirs:9.3f} s {theirs / mine:8.2f}", flush=True)

    def remove(self, *names):
        for name in names:
            if os.path.exists(self.path(name)):
                os.unlink(self.path(name))

    def convert(self, name, source, kind, peer_kind, source_kind="raw", with_cp=False):
        croft = self.arguments.croft
        ours, theirs = self.path(f"ours.{kind}"), self.path(f"theirs.{kind}")
        qemu = ["qemu-img", "convert", "-f", source_kind, "-O", peer_kind]
        for existing in (False, True):
            label = f"convert {name}, {'laid out' if existing else 'new'}"
            into = ["-n"] if existing else []

            def prepare(side, existing=existing):
                if not existing:
                    self.remove(f"{('ours', 'theirs')[side]}.{kind}")

            self.turn_about(
    label,
    lambda into=into: timed(
        croft,
        "disk",
        "convert",
        *into,
        "-f",
        kind,
        self.path(source),
        ours),
        lambda into=into: timed(
            *qemu,
            *into,
            self.path(source),
            theirs),
             prepare)
        if with_cp:
            self.turn_about(
                f"convert {name}, new, against cp",
                lambda: timed(croft, "disk", "convert", "-f", kind, self.path(source), ours),
                lambda: timed("cp", self.path(source), theirs),
                lambda _side: self.remove(f"ours.{kind}", f"theirs.{kind}"))
        self.remove(f"ours.{kind}", f"theirs.{kind}")

    def conversions(self):
        size = int(self.arguments.gib * GIB)
        croft = self.arguments.croft
        fill(self.path("full.raw"), size, False)
        self.convert("raw to VHDX, full", "full.raw", "vhdx", "vhdx", with_cp=True)
        timed(croft, "disk", "convert", self.path("full.raw"), self.path("full.vhdx"))
        self.convert("VHDX to raw, full", "full.vhdx", "raw", "raw", "vhdx")
        self.remove("full.vhdx")
        timed(croft, "disk", "convert", self.path("full.raw"), self.path("full.vhd"))
        self.convert("VHD to VHDX, full", "full.vhd", "vhdx", "vhdx", "vpc")
        self.remove("full.vhd", "full.raw")
        fill(self.path("half.raw"), size, True)
        self.convert("raw to VHDX, half zeros", "half.raw", "vhdx", "vhdx")
        self.remove("half.raw")

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
            subprocess.run([f"mkfs.{kind}", "-q", image], check=True, stderr=subprocess.DEVNULL)
            os.makedirs(mounted, exist_ok=True)
            subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
            try:
                inside = Bench(self.arguments, mounted)
                inside.rows = self.rows
                source = inside.path("source.raw")
                fill(source, size, False)
                for form, peer in (("vhdx", "vhdx"), ("vhd", "vpc")):
                    timed(self.arguments.croft, "disk", "convert", "-q", source,
                          inside.path(f"source.{form}"))
                    subprocess.run(["sync", "-f", mounted], check=True)
                    if form == "vhdx":
                        inside.convert(f"raw to VHDX, full, {kind}", "source.raw", "vhdx", "vhdx")
                        inside.convert(f"VHDX to raw, full, {kind}", "source.vhdx", "raw", "raw",
                                       "vhdx")
                    else:
                        inside.convert(f"VHD to VHDX, full, {kind}", "source.vhd", "vhdx", "vhdx",
                                       peer)
                    inside.remove(f"source.{form}")
            finally:
                subprocess.run(["umount", mounted], check=True)
                os.unlink(image)

    def queues(self):
        croft, bench = self.arguments.croft, self.arguments.queue_bench
        disk = self.path("disk.vhdx")
        count = 20000

        def ours(operation, step, path=disk):
            return float(subprocess.run([bench, path, operation, str(count), "32", str(
                step)], check=True, capture_output=True, text=True).stdout)

        def peer(operation, step):
            words = [
    "qemu-img",
    "bench",
    "-f",
    "vhdx",
    "-c",
    count,
    "-d",
    32,
    "-s",
    4096,
    "-S",
    step,
    "-t",
    "writeback",
     disk]
            if operation == "write":
                words[2:2] = ["-w", "--flush-interval", str(count)]
            return timed(*words)

        def fresh(_side):
            self.remove("disk.vhdx")
            subprocess.run([croft, "disk", "create", disk, "20G"],
                           check=True, stdout=subprocess.DEVNULL)

        step = 1 << 20
        self.turn_about("20,000 writes a MiB apart, fresh VHDX", lambda: ours("write", step),
                        lambda: peer("write", step), fresh)
        self.turn_about("20,000 writes a MiB apart, allocated VHDX", lambda: ours("write", step),
                        lambda: peer("write", step))
        self.turn_about("20,000 reads a MiB apart, allocated VHDX", lambda: ours("read", step),
                        lambda: peer("read", step))
        raw = self.path("disk.raw")
        subprocess.run([croft, "disk", "create", raw, "20G"], check=True, stdout=subprocess.DEVNULL)
        ours("write", step, raw)
        for operation in ("write", "read"):
            self.turn_about(
    f"20,000 {operation}s, VHDX against our raw", lambda: ours(
        operation, step), lambda: ours(
            operation, step, raw))
        self.remove("disk.raw", "disk.vhdx")

    def opening(self):
        croft = self.arguments.croft
        for depth in range(20):
            parent = ["-p", self.path(f"{depth - 1}.vhdx")] if depth else ["64T"]
            subprocess.run([croft, "disk", "create", "-q",
                           self.path(f"{depth}.vhdx"), *parent], check=True)
        bench = [self.arguments.queue_bench, self.path("19.vhdx"), "read", "1", "1", "0"]
        report = subprocess.run(["/usr/bin/env",
    "bash",
    "-c",
    "command time -f '%e %M' \"$@\"",
    "-",
    *bench],
    capture_output=True,
     text=True)
        if report.returncode == 0:
            seconds, kib = report.stderr.split()
            print(
                f"{'open a chain of 20 of 64 TiB, read once':52} {float(seconds):9.3f} s, "
                f"{int(kib) // 1024} MiB")
            self.rows.append({"name": "open a chain of 20 of 64 TiB", "undercroft": float(seconds),
                              "peer": None, "ratio": None, "resident_kib": int(kib)})

    def mounting(self):
        why = no_mounts()
        if why:
            print(f"mounting is not measured: {why}")
            return
        mounts = (OurMount(self), PeerMount(self))
        try:
            for operation in ("write", "read"):
                self.turn_about(f"sequential {operation} through a mount, VHDX",
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
    """qemu-storage-daemon's FUSE export, and a loop device over it as mount -o loop makes it. With
    one past the page cache, the file system is damaged after such a write to QEMU 7.2.
    """

    def __init__(self, bench):
        super().__init__(bench, "theirs")
        self.export = bench.path("theirs.export")
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

    def create(self):
        subprocess.run(["qemu-img", "create", "-q", "-f", "vhdx", self.disk, "64G"], check=True)
        self.start()
        subprocess.run([*MKFS, self.export], check=True)
        self.stop()

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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("croft")
    parser.add_argument("queue_bench")
    parser.add_argument("output")
    parser.add_argument("--gib", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder")
    parser.add_argument("--only", action="append",
                        choices=("queues", "opening", "mounting", "conversions"))
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="croft-bench-", dir=arguments.folder)
    try:
        bench = Bench(arguments, folder)
        print(f"{'':52} {'ours':>11} {'peer':>11} {'ratio':>8}")
        for part in arguments.only or ("queues", "opening", "mounting", "conversions", "sharing"):
            getattr(bench, part)()
    finally:
        shutil.rmtree(folder)
    os.makedirs(os.path.dirname(os.path.abspath(arguments.output)), exist_ok=True)
    with open(arguments.output, "w") as file:
        json.dump(bench.rows, file, indent=2)


if __name__ == "__main__":
    main()
