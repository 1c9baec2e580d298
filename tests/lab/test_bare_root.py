# SPDX-License-Identifier: Apache-2.0
"""The root's kernel and user land on the bare machine: what they bring has to be right before the
hypervisor is below them."""

import io
import os
import pathlib
import select
import socket
import subprocess
import sys
import threading
import unittest

from lab import Host, LabError


class BareRootTest(unittest.TestCase):
    def test_machines(self):
        for machine in ("q35", "pc"):
            with self.subTest(machine=machine), \
                    Host(hypervisor=False, machine=machine, name=f"bare-{machine}") as host:
                self.assertEqual(host.run(["nproc"]).output, "2\n")
                self._check_disk(host)
                self._check_network(host)
                self._check_kernel(host)
                host.power_off()
                self.assertEqual(host.machine.reason, "guest-shutdown")

    def _check_disk(self, host):
        host.run("mke2fs -F /dev/vda && mount -t ext4 /dev/vda /mnt && echo kept >/mnt/file && "
                 "umount /mnt && mount -t ext4 /dev/vda /mnt", check=True)
        self.assertEqual(host.run("cat /mnt/file; umount /mnt").output, "kept\n")

    def _check_network(self, host):
        with socket.create_server(("127.0.0.1", 0)) as server:
            received = []

            def serve():
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"from outside\n")
                    received.append(connection.makefile("rb").readline())

            thread = threading.Thread(target=serve)
            thread.start()
            port = server.getsockname()[1]
            result = host.run(f"(echo from inside; sleep 1) | nc 10.0.2.2 {port}")
            thread.join(10)
        self.assertEqual(result.output, "from outside\n", result)
        self.assertEqual(received, [b"from inside\n"])

    def _check_kernel(self, host):
        config = host.run("zcat /proc/config.gz").output
        self.assertIn("CONFIG_MSHV_ROOT=y", config)
        large_pages = host.run("cat /sys/kernel/mm/transparent_hugepage/enabled").output
        self.assertIn("[always]", large_pages)
        self.assertEqual(host.run("test -e /dev/mshv").status, 1, "there is no hypervisor here")

    def test_reset_ends_the_run(self):
        with Host(hypervisor=False, processors=1, name="bare-reset") as host:
            host.reboot()
            self.assertEqual(host.machine.reason, "guest-reset")

    def test_reset_and_back(self):
        with Host(hypervisor=False, reboot="allow", name="bare-reboot") as host:
            lost = host.start_command(["sleep", "1000"])
            first = host.run("cat /proc/sys/kernel/random/boot_id").output
            host.reboot()
            self.assertNotEqual(host.run("cat /proc/sys/kernel/random/boot_id").output, first)
            with self.assertRaisesRegex(LabError, "started anew"):
                lost.wait()
            host.power_off()

    def test_panic_is_told_at_once(self):
        with Host(hypervisor=False, kernel_options=["panic=0"], name="bare-panic") as host:
            host.start_command("echo c >/proc/sysrq-trigger")
            with self.assertRaisesRegex(LabError, "Kernel panic"):
                host.console.wait_for("never", timeout=60)
            words = io.StringIO()
            host.report(words)
            self.assertIn("Kernel panic", words.getvalue())
            self.assertIn(str(host.logs), words.getvalue())

    def test_a_root_that_never_comes_up(self):
        with self.assertRaisesRegex(LabError, "before its root's user land"):
            with Host(hypervisor=False, kernel_options=["croft.do=poweroff"], name="bare-off"):
                pass

    def test_counting_instructions(self):
        with Host(hypervisor=False, processors=1, icount=0, name="bare-icount") as host:
            self.assertEqual(host.run("echo counted").output, "counted\n")

    def test_emulator_dies_with_its_owner(self):
        script = ("import os, sys\n"
                  "from lab import Host\n"
                  "host = Host(hypervisor=False, name='bare-orphan')\n"
                  "host.start()\n"
                  "print(host.machine.pid, flush=True)\n"
                  "os.kill(os.getpid(), 9)\n")
        result = subprocess.run([sys.executable, "-B", "-c", script], capture_output=True,
                                text=True, check=False, timeout=120)
        self.assertEqual(result.returncode, -9, result.stderr)
        pid = int(result.stdout)
        # The kernel kills it when its parent dies; a process descriptor tells when that is done.
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        ready, _, _ = select.select([descriptor], [], [], 10)
        os.close(descriptor)
        self.assertTrue(ready or not pathlib.Path(f"/proc/{pid}").exists())

    def test_no_qemu(self):
        path = os.environ["PATH"]
        os.environ["PATH"] = "/nonesuch"
        try:
            with self.assertRaisesRegex(LabError, "make deps"):
                Host(hypervisor=False, name="bare-no-qemu").start()
        finally:
            os.environ["PATH"] = path


if __name__ == "__main__":
    unittest.main()
