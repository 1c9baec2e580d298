# SPDX-License-Identifier: Apache-2.0
"""Linux as the root partition: it knows what it is, has all processors and its devices, switches
the machine off and resets it."""

import os
import re
import subprocess
import threading
import socket
import unittest

from lab import Host
from lab.host import build_directory
from lab.machine import program


class RootTest(unittest.TestCase):
    def test_processors_and_machines(self):
        for processors, machine in ((1, "q35"), (2, "q35"), (2, "pc"), (4, "q35")):
            with self.subTest(processors=processors, machine=machine), \
                    Host(processors=processors, machine=machine,
                         name=f"root-{machine}-{processors}") as host:
                messages = host.run("dmesg").output
                self.assertIn("Hyper-V: running as root partition", messages)
                self.assertEqual(host.run("nproc").output, f"{processors}\n")
                self.assertEqual(host.run("test -c /dev/mshv").status, 0)
                self._check_quiet(messages)
                self._check_interrupts(host)
                self._check_disk(host)
                self._check_network(host)
                host.power_off()
                self.assertEqual(host.machine.reason, "guest-shutdown")

    def _check_quiet(self, messages):
        for word in ("BUG:", "WARNING:", "Oops", "Call Trace", "unvalidated"):
            self.assertNotIn(word, messages)

    def _check_interrupts(self, host):
        table = host.run("cat /proc/interrupts").output
        self.assertIn("HV-PCI-MSI", table)
        self.assertIn("IO-APIC", table)
        console = next(line for line in table.splitlines() if line.endswith("ttyS0"))
        self.assertGreater(sum(int(word) for word in console.split()[1:] if word.isdigit()), 0)

    def _check_disk(self, host):
        host.run("mke2fs -q -F /dev/vda && mount -t ext4 /dev/vda /mnt && "
                 "dd if=/dev/urandom of=/mnt/file bs=1M count=16 2>/dev/null && "
                 "sha256sum </mnt/file >/tmp/before && umount /mnt && "
                 "mount -t ext4 /dev/vda /mnt && sha256sum </mnt/file >/tmp/after && "
                 "umount /mnt && "
                 "cmp /tmp/before /tmp/after", check=True)

    def _check_network(self, host):
        with socket.create_server(("127.0.0.1", 0)) as server:
            received = []

            def serve():
                connection, _ = server.accept()
                with connection:
                    received.append(connection.makefile("rb").readline())
                    connection.sendall(b"from outside\n")

            thread = threading.Thread(target=serve)
            thread.start()
            result = host.run(f"(echo from inside; cat) | nc 10.0.2.2 {server.getsockname()[1]} | "
                              "head -n 1", timeout=20)
            thread.join(10)
        self.assertEqual(result.output, "from outside\n", result)
        self.assertEqual(received, [b"from inside\n"])

    def test_reset_starts_everything_again(self):
        with Host(reboot="allow", name="root-reset") as host:
            host.reboot(timeout=60)
            self.assertEqual(host.run("test -c /dev/mshv && nproc").output, "2\n")
            host.power_off()

    def test_log_level(self):
        with Host(hypervisor_options=["loglevel=1"], name="root-quiet") as host:
            spoken = [line for line in host.console.lines if line.startswith("undercroft:")]
            self.assertEqual(spoken, [])
            host.power_off()

    def test_the_hypervisors_memory_is_not_the_roots(self):
        with Host(name="root-memory") as host:
            line = next(line for line in host.console.lines if "the hypervisor's at" in line)
            pool = int(re.search(r"at (0x[0-9a-f]+)", line)[1], 16)
            size = int(re.search(r"memory, (\d+) KiB", line)[1]) << 10
            memory = [(int(first, 16), int(last, 16)) for first, last in
                      re.findall(r"^([0-9a-f]+)-([0-9a-f]+) : System RAM$",
                                 host.run("cat /proc/iomem").output, re.MULTILINE)]
            # Nearly all of the machine's 4 GiB.
            self.assertGreater(sum(last + 1 - first for first, last in memory), 3900 << 20)
            for name, begin, end in (("pool", pool, pool + size), ("image", *self._image())):
                self.assertLess(begin, end, name)
                for first, last in memory:
                    self.assertFalse(first < end and last >= begin,
                                     f"{first:#x}-{last:#x} overlaps the {name} at {begin:#x}")
            host.power_off()

    def _image(self):
        """Where the hypervisor is loaded."""
        image = build_directory() / "hypervisor" / "undercroft_elf64"
        symbols = subprocess.run(["nm", str(image)], capture_output=True, text=True,
                                 check=True).stdout
        begin, end = (int(re.search(rf"^([0-9a-f]+) \S {name}$", symbols, re.MULTILINE)[1], 16)
                      for name in ("image_begin", "image_end"))
        self.assertEqual(begin, 1 << 20)
        return begin, end


class MachineTest(unittest.TestCase):
    """Machines that the hypervisor can't run on, or without what it needs: one clear line."""

    def _console(self, *arguments, processor="EPYC,+svm,+npt", memory="512M"):
        image = build_directory() / "hypervisor" / "undercroft"
        command = [program(), "-accel", "tcg", "-cpu", processor, "-m", memory,
                   "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", str(image),
                   *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        lines = []
        guard = threading.Timer(60, process.kill)
        guard.start()
        try:
            for line in process.stdout:
                lines.append(line.strip())
                if "undercroft: error:" in line:
                    break
        finally:
            guard.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
        return [line for line in lines if "undercroft: error:" in line]

    def test_no_amd_v(self):
        self.assertRegex(self._console(processor="EPYC,-svm")[0], "no AMD-V")

    def test_no_nested_paging(self):
        self.assertRegex(self._console(processor="EPYC,+svm,-npt")[0], "nested paging")

    def test_no_root_kernel(self):
        self.assertRegex(self._console()[0], "no root kernel")

    def test_kernel_that_is_none(self):
        self.assertRegex(self._console("-initrd", os.path.abspath(__file__))[0], "no Linux kernel")

    def test_too_little_memory(self):
        self.assertRegex(self._console(memory="4M")[0], "too little memory")


if __name__ == "__main__":
    unittest.main()
