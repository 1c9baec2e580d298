# SPDX-License-Identifier: Apache-2.0
"""Debian's QEMU, unmodified, on /dev/mshv: somebody else's VMM boots a guest on our hypervisor."""

import unittest

from lab import Host
from lab.child import Report
from lab.guest import in_cache
from root import recipe
from root.recipe import qemu

TOOLS = "/tools"


def there(path):
    """Where QEMU sees a file of the cache."""
    return in_cache(path).replace("/cache", "/mnt", 1)


def command(artifacts, processors):
    """QEMU in the file system that has it, with a guest on its standard output. No device of the
    machine but those that the guest needs: each access to one is an exit to QEMU."""
    return ["env", "TMPDIR=/tmp/.",  # by /tmp itself it would mean /var/tmp
            "chroot", TOOLS, "qemu-system-x86_64", "-accel", "mshv", "-machine", "q35",
            "-m", "256M", "-smp", str(processors), "-nodefaults", "-no-user-config",
            "-display", "none", "-serial", "stdio", "-no-reboot",
            "-kernel", there(artifacts.child_kernel), "-initrd", there(artifacts.child_userland),
            "-append", "console=ttyS0 quiet panic=-1 croft.do=poweroff"]


class QemuTest(unittest.TestCase):
    def test_boots_a_stock_kernel(self):
        artifacts = recipe.obtain()
        image = qemu.build() / "qemu.img"
        disk = ["-drive", f"file={image},if=none,id=qemu,format=raw,readonly=on",
                "-device", "virtio-blk-pci,drive=qemu"]
        with Host(qemu=disk, name="qemu") as host:
            host.run(f"""set -e
                mkdir -p {TOOLS}
                mount -t ext4 -o ro /dev/vdb {TOOLS}
                for folder in dev proc sys tmp; do mount --rbind /$folder {TOOLS}/$folder; done
                mount --rbind /cache {TOOLS}/mnt""", check=True)
            result = host.run(command(artifacts, processors=2), timeout=300)
            self.assertEqual(result.status, 0, f"{result.output}\n{result.error}")
            report = Report(result.output)
            self.assertEqual(report.problems(processors=2), [], result.output)
            self.assertEqual(report.clocksource, "hyperv_clocksource_tsc_page")
            host.power_off()


if __name__ == "__main__":
    unittest.main()
