#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`croft disk cp`, with real file systems.

Usage: copy_test.py CROFT [unittest options]

Ends with 77 where nothing can be mounted.
"""

import contextlib
import fcntl
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import unittest

from command import CROFT, MIB, croft, croft_error, needs, run
from mounting import Mounting, abort_connections, fill, make_disk, no_mounts, partitioned, sums


class Copies(Mounting):
    def tree(self):
        os.makedirs("tree/folder/deep")
        fill("tree", 1, 4)
        fill("tree/folder/deep", 2, 3)
        os.symlink("/etc/passwd", "tree/link")
        os.chmod("tree/file1", 0o4750)
        os.utime("tree/file1", (1000000000, 1000000000))
        with open("tree/sparse", "wb") as file:
            file.truncate(40 * MIB)
            file.seek(20 * MIB)
            file.write(b"data")
        return "tree"

    @needs("sfdisk", "mkfs.ext4", "mkfs.ntfs", "ntfs-3g")
    def test_in_and_out(self):
        disk = partitioned("disk.vhdx", "label: dos\nsize=150M\nsize=100M,type=7\n",
                           {1: "ext4", 2: "ntfs"})
        expected = sums(self.tree())
        done = run(CROFT, "disk", "cp", "tree", f"{disk}:/", expect=2)
        self.assertIn("1 (ext4), 2 (ntfs)", done.stderr)
        croft("cp", "tree", f"{disk}:1:/")
        croft("cp", "tree", "-p", "1", f"{disk}:/renamed")
        self.assert_nothing_left()
        self.assert_sound(disk)
        os.mkdir("out")
        croft("cp", f"{disk}:1:/tree", f"{disk}:1:/renamed", "out")
        for name in ("tree", "renamed"):
            self.assertEqual(sums(f"out/{name}"), expected)
            self.assertEqual(os.readlink(f"out/{name}/link"), "/etc/passwd")
            status = os.stat(f"out/{name}/file1")
            self.assertEqual(status.st_mode & 0o7777, 0o750)
            self.assertEqual(status.st_mtime, 1000000000)
            self.assertLess(os.stat(f"out/{name}/sparse").st_blocks, 1000)
        croft("cp", "tree/file1", "tree/file2", f"{disk}:2:/")
        croft("cp", f"{disk}:2:/file2", "again")
        self.assertEqual(sums("tree")["file2"], sums(".")["again"])
        croft("cp", "-a", "tree/file1", f"{disk}:1:/")
        croft("cp", "-a", f"{disk}:1:/file1", "whole")
        self.assertEqual(os.stat("whole").st_mode & 0o7777, 0o4750)
        error = croft_error("cp", f"{disk}:1:/nothing", ".")
        self.assertIn("disk.vhdx:1:/nothing", error["file"])
        self.assert_nothing_left()
        self.assert_sound(disk)

    @needs("mkfs.ext4")
    def test_links_of_a_guest_lead_nowhere_else(self):
        disk = make_disk("disk.vhdx", "ext4")
        os.mkdir("secret")
        with open("secret/file", "w") as file:
            file.write("of the host")
        os.mkdir("guest")
        os.symlink(os.path.abspath("secret"), "guest/absolute")
        os.symlink("../" * 20 + os.path.abspath("secret")[1:], "guest/relative")
        croft("cp", "guest", f"{disk}:/")
        for name in ("absolute", "relative"):
            croft("cp", f"{disk}:/guest/{name}/file", "stolen", expect=2)
            croft("cp", "secret/file", f"{disk}:/guest/{name}/planted", expect=2)
        self.assertEqual(os.listdir("secret"), ["file"])
        self.assertFalse(os.path.exists("stolen"))
        self.assert_nothing_left()

    @contextlib.contextmanager
    def held(self, name):
        """Makes a file whose opening waits. Yields what waits until somebody wants to open it."""
        pathlib.Path(name).write_bytes(b"held")
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
        descriptor = os.open(name, os.O_WRONLY)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)

        def wait():
            self.assertIsNotNone(signal.sigtimedwait([signal.SIGIO], 60), f"nobody opens {name}")
        try:
            yield wait
        finally:
            os.close(descriptor)
            signal.sigtimedwait([signal.SIGIO], 0)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGIO])

    @contextlib.contextmanager
    def copy_under_way(self, disk):
        """A copy in the middle of its work, where it stays until it is told to stop."""
        if not os.path.exists("big"):
            pathlib.Path("big").write_bytes(os.urandom(64 * MIB))
        with self.held("held") as wait, \
             subprocess.Popen([CROFT, "disk", "cp", "big", "held", f"{disk}:/", "-q"],
                              stderr=subprocess.DEVNULL) as copy:
            try:
                wait()
                yield copy
            finally:
                copy.kill()

    @needs("mkfs.ext4", "mkfs.ntfs", "ntfs-3g")
    def test_a_stopped_copy_leaves_nothing(self):
        expected = sums(self.tree())
        for kind in ("ext4", "ntfs"):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                with self.subTest(kind=kind, signal=number):
                    disk = make_disk("disk.vhdx", kind)
                    croft("cp", "tree", f"{disk}:/")
                    with self.copy_under_way(disk) as copy, self.ends(self.server_of(disk)):
                        copy.send_signal(number)
                        code = copy.wait(60)
                    self.assertEqual(code, -number if number == signal.SIGKILL else 130)
                    self.assert_nothing_left()
                    self.assert_sound(disk)
                    os.makedirs("out", exist_ok=True)
                    croft("cp", f"{disk}:/tree", "out")
                    self.assertEqual(sums("out/tree"), expected)
                    shutil.rmtree("out")

    @needs("mkfs.ntfs", "ntfs-3g")
    def test_all_processes_of_a_copy_killed_at_once(self):
        """The one that serves the file system ends as the last, and waits for nobody."""
        disk = make_disk("disk.vhdx", "ntfs")
        with self.copy_under_way(disk) as copy:
            server = os.pidfd_open(self.server_of(disk))
            helper = self.child_of(copy, b"ntfs-3g")
            self.assertNotIn("/run/croft/private",
                             pathlib.Path(f"/proc/{helper}/mountinfo").read_text())
            self.kill_all(copy, server, helper)
        os.close(server)
        self.assertEqual([it["alive"] for it in self.mounts()], [False])
        self.assertIn("ended early", run(CROFT, "disk", "umount", disk, expect=2).stderr)
        self.assert_nothing_left()

    def kill_all(self, copy, server, helper):
        last = os.pidfd_open(helper)
        signal.pidfd_send_signal(last, signal.SIGSTOP)
        copy.kill()
        signal.pidfd_send_signal(server, signal.SIGKILL)
        self.assertTrue(select.select([server], [], [], 60)[0])
        signal.pidfd_send_signal(last, signal.SIGKILL)
        ended = select.select([last], [], [], 60)[0]
        if not ended:
            abort_connections()
        self.assertTrue(ended, "the file system's server waits for itself")
        os.close(last)

    def server_of(self, disk):
        """The process that has the disk open."""
        return next(it["process"] for it in self.mounts()
                    if it["file"] == os.path.abspath(disk))

    def child_of(self, process, name):
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        return next(int(it) for it in children.split()
                    if name in pathlib.Path(f"/proc/{it}/cmdline").read_bytes())


if __name__ == "__main__":
    why = no_mounts()
    if why:
        print(f"tests of copies are skipped: {why}")
        sys.exit(77)
    unittest.main()
