# SPDX-License-Identifier: Apache-2.0
"""A CD with GRUB on it, by which a machine's own firmware starts a host, and the firmware."""

import pathlib
import shlex
import shutil
import subprocess

from .errors import LabError

OVMF = pathlib.Path("/usr/share/OVMF")

FIRMWARE = ("bios", "uefi")


def firmware_arguments(firmware, directory):
    """QEMU's options for it; UEFI's variables are kept in `directory`."""
    if firmware == "bios":
        return []
    code, variables = OVMF / "OVMF_CODE_4M.fd", OVMF / "OVMF_VARS_4M.fd"
    if not code.is_file() or not variables.is_file():
        raise LabError(f"found no {code}; expected UEFI for machines: run 'make deps'")
    shutil.copyfile(variables, directory / "variables")
    return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}",
            "-drive", "if=pflash,unit=1,format=raw,file=variables"]


def quoted(words):
    """Words for GRUB, to which more characters mean something than to the kernel."""
    return " ".join(shlex.quote(word) for word in words)


def plain_disc(_directory, hypervisor_words, kernel_words, files):
    """GRUB's configuration with one plain entry, and what else is on the CD: {"/there": "here"}.
    `files` are the host's, "hypervisor", "kernel" and "initramfs"; others who make a disc may keep
    things in the directory of the run's logs."""
    config = "\n".join([
        "set timeout=0",
        "menuentry Undercroft {",
        f"    multiboot2 /boot/hypervisor {quoted(hypervisor_words)}",
        f"    module2 /boot/kernel {quoted(kernel_words)}",
        "    module2 --nounzip /boot/initramfs",
        "}\n"])
    return config, {f"/boot/{name}": file for name, file in files.items()}


def make_disc(disc, config, files):
    """Makes the image of a CD that boots by BIOS and by UEFI."""
    program = shutil.which("grub-mkrescue")
    if program is None:
        raise LabError("found no grub-mkrescue; expected it on the PATH: run 'make deps'")
    config_file = disc.with_suffix(".cfg")
    config_file.write_text(config)
    grafts = [f"{there}={pathlib.Path(here).resolve()}"
              for there, here in {"/boot/grub/grub.cfg": config_file, **files}.items()]
    made = subprocess.run([program, "--output", str(disc), *grafts], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise LabError(f"grub-mkrescue could not make {disc}: {made.stderr.strip()[-500:]}")
