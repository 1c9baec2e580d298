# SPDX-License-Identifier: Apache-2.0
"""KVM and Debian's QEMU, beside which the project is held: what a Host needs for that. Its kernel
is the root's with KVM. The tools' file system comes as a second disk, on any host."""

import dataclasses

from root import recipe
from root.recipe import bench_tools

TOOLS = "/tools"

# For the shell of a host with the tools' disk.
MOUNT_TOOLS = f"""set -e
mkdir -p {TOOLS}
mount -t ext4 -o ro /dev/vdb {TOOLS}
for folder in dev proc sys tmp; do mount --rbind /$folder {TOOLS}/$folder; done
"""

# Until then the clock's rate changes, and guests of before would go by a wrong one.
WAIT_FOR_CLOCK = "until dmesg | grep -q 'Refined TSC'; do usleep 50000; done\n"


def tools_disk():
    """Arguments for the emulator of a host."""
    return ["-drive", f"file={bench_tools.build() / 'tools.img'},if=none,id=tools,format=raw,"
                      "readonly=on", "-device", "virtio-blk-pci,drive=tools"]


def kvm():
    """Options of a Host with that kernel instead of the hypervisor and the root's."""
    # Without tsc=reliable Linux distrusts the clock of an AMD processor that doesn't promise a
    # constant one, which QEMU doesn't; then it asks an emulated device for the time.
    return {"hypervisor": False, "kernel_options": ["tsc=reliable"],
            "artifacts": dataclasses.replace(recipe.obtain(), kernel=bench_tools.build_kernel())}


def qemu(*arguments):
    """The command of Debian's QEMU, on a host with the tools."""
    # By /tmp itself QEMU would mean /var/tmp.
    return ["env", "TMPDIR=/tmp/.", "chroot", TOOLS, "qemu-system-x86_64", *arguments]


def qemu_for_bare_guest(kernel, *, processor="host", memory="256M", irqchip="on"):
    """The command that boots a bare guest on two processors, its console on standard output."""
    return qemu("-M", f"q35,accel=kvm,kernel-irqchip={irqchip}", "-cpu", processor, "-smp", "2",
                "-m", memory, "-nodefaults", "-display", "none", "-serial", "stdio", "-kernel",
                kernel)
