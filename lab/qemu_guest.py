# SPDX-License-Identifier: Apache-2.0
"""Guests of Debian's QEMU on /dev/mshv: the file system that has it, and how it is called."""

import signal

from root.recipe import qemu

from .guest import in_cache

TOOLS = "/tools"

# What QEMU says when its machine is to end because the guest has said so.
POWERED_OFF = r"qemu_system_shutdown_request reason=\d+"


def disk():
    """Options for the host's machine: a disk with QEMU's file system."""
    image = qemu.build() / "qemu.img"
    return ["-drive", f"file={image},if=none,id=qemu,format=raw,readonly=on",
            "-device", "virtio-blk-pci,drive=qemu"]


def mount(host):
    """Makes QEMU ready in the root of a host that has that disk as its second one."""
    host.run(f"""set -e
        mkdir -p {TOOLS}
        mount -t ext4 -o ro /dev/vdb {TOOLS}
        for folder in dev proc sys tmp; do mount --rbind /$folder {TOOLS}/$folder; done
        mount --rbind /cache {TOOLS}/mnt""", check=True)


def there(path):
    """Where QEMU sees a file of the cache."""
    return in_cache(path).replace("/cache", "/mnt", 1)


def command(*words, processors=2, memory="256M", machine="q35"):
    """QEMU with a guest whose first serial port is the command's input and output; what QEMU itself
    says is there, too. No device but those that the guest needs: each access to one is an exit to
    QEMU."""
    return ["sh", "-c", 'exec "$@" 2>&1', "sh",
            "env", "TMPDIR=/tmp/.",  # by /tmp itself it would mean /var/tmp
            "chroot", TOOLS, "qemu-system-x86_64", "-trace", "qemu_system_shutdown_request",
            "-accel", "mshv", "-machine", machine,
            "-m", memory, "-smp", str(processors), "-nodefaults", "-no-user-config",
            "-display", "none", "-serial", "stdio", "-no-reboot", *words]


def end(guest):
    """Ends a guest that doesn't end by itself. QEMU 11 may wait for ever when it is asked to: a
    signal by which it calls a processor's thread back is lost if that is with QEMU, and not in the
    kernel, when it comes."""
    guest.signal(signal.SIGKILL)
    guest.wait(30)


def wait_for_power_off(guest, timeout=120):
    """Waits until a guest has switched its machine off, and ends QEMU, which may not come to that
    itself (see end)."""
    guest.wait_for(POWERED_OFF, timeout)
    end(guest)
