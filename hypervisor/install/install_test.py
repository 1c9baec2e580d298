# SPDX-License-Identifier: Apache-2.0
"""`make install` and its undoing, and the entries that GRUB gets."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from lab import installed, kernel_image
from lab.host import TOP, build_directory


def files_in(top):
    return {f"/{path.relative_to(top)}" for path in top.rglob("*") if path.is_file()}


class InstallTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = pathlib.Path(directory.name)

    def test_files_come_and_go(self):
        mine = self.top / "boot" / "vmlinuz-6.1.0-1-amd64"
        mine.parent.mkdir()
        mine.write_text("not ours")
        manifest = installed.install(build_directory(), self.top, "/opt/croft")
        kernel = next(self.top.glob("boot/undercroft/vmlinuz-*"))
        release = kernel_image.release(kernel.read_bytes())
        version = re.search(r"project\(undercroft VERSION ([0-9.]+)",
                            (TOP / "CMakeLists.txt").read_text())[1]
        self.assertEqual(files_in(self.top), {
            "/boot/vmlinuz-6.1.0-1-amd64", f"/boot/undercroft/hypervisor-{version}",
            f"/boot/undercroft/vmlinuz-{release}", f"/boot/undercroft/config-{release}",
            f"/boot/undercroft/initrd.img-{release}", "/etc/default/undercroft",
            "/etc/grub.d/20_undercroft", "/opt/croft/share/man/man8/croft-hypervisor.8"})
        self.assertTrue(os.access(self.top / "etc/grub.d/20_undercroft", os.X_OK))
        hypervisor = self.top / f"boot/undercroft/hypervisor-{version}"
        for kind in ("--is-x86-multiboot", "--is-x86-multiboot2"):
            self.assertEqual(subprocess.run(["grub-file", kind, hypervisor],
                                            check=False).returncode, 0, kind)

        settings = self.top / "etc/default/undercroft"
        settings.write_text("UNDERCROFT_CMDLINE=loglevel=4\n")
        installed.install(build_directory(), self.top, "/opt/croft")
        self.assertEqual(settings.read_text(), "UNDERCROFT_CMDLINE=loglevel=4\n")
        self.assertIn("loglevel=4", installed.grub_entries(self.top))
        (self.top / "grub-mkconfig_lib").unlink()

        subprocess.run([TOP / "tools" / "uninstall", manifest], check=True,
                       env={**os.environ, "DESTDIR": str(self.top)})
        self.assertEqual(files_in(self.top),
                         {"/boot/vmlinuz-6.1.0-1-amd64", "/etc/default/undercroft"})
        self.assertFalse((self.top / "boot/undercroft").exists())


class EntriesTest(unittest.TestCase):
    """The script alone, in a /boot with files of a line each."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = pathlib.Path(directory.name)
        for there, here in (("etc/grub.d/20_undercroft", "20_undercroft"),
                            ("etc/default/undercroft", "undercroft.default")):
            target = self.top / there
            target.parent.mkdir(parents=True)
            source = pathlib.Path(__file__).with_name(here)
            target.write_text(source.read_text())
            target.chmod(source.stat().st_mode)
        (self.top / "boot/undercroft").mkdir(parents=True)

    def _put(self, name, content="something\n"):
        (self.top / "boot" / name).write_text(content)

    def _kernel(self, name, release, setting="CONFIG_MSHV_ROOT=y"):
        self._put(f"{name}vmlinuz-{release}")
        self._put(f"{name}config-{release}", f"CONFIG_64BIT=y\n{setting}\n")

    def _entries(self, **settings):
        """{title: lines of the entry}"""
        text = installed.grub_entries(self.top, **settings)
        subprocess.run(["grub-script-check"], input=text + "true\n", text=True, check=True)
        return {title: [line.strip() for line in body.strip().splitlines()] for title, body in
                re.findall(r"^menuentry '(.*?)' .*? \{\n(.*?)^\}$", text, re.M | re.S)}

    def test_an_entry_for_each_hypervisor_and_each_root_kernel_the_newest_first(self):
        for name in ("undercroft/hypervisor-0.9.0", "undercroft/hypervisor-0.10.0",
                     "undercroft/hypervisor-0.10.0.dpkg-old"):
            self._put(name)
        self._kernel("undercroft/", "6.9.0")
        self._kernel("", "6.15.0-1-amd64", "CONFIG_MSHV_ROOT=m")
        self._kernel("", "6.12.0-1-amd64", "# CONFIG_MSHV_ROOT is not set")
        self._put("vmlinuz-6.16.0-without-config")
        self.assertEqual(list(self._entries()), [
            "Debian GNU/Linux, with Undercroft 0.10.0 and Linux 6.15.0-1-amd64",
            "Debian GNU/Linux, with Undercroft 0.10.0 and Linux 6.9.0",
            "Debian GNU/Linux, with Undercroft 0.9.0 and Linux 6.15.0-1-amd64",
            "Debian GNU/Linux, with Undercroft 0.9.0 and Linux 6.9.0"])

    def test_what_an_entry_says(self):
        self._put("undercroft/hypervisor-0.1.0")
        self._kernel("", "6.15.0-1-amd64")
        self._put("initrd.img-6.15.0-1-amd64")
        (self.top / "etc/default/undercroft").write_text(
            'UNDERCROFT_CMDLINE="console=com2 loglevel=4"\n'
            "UNDERCROFT_ROOT_CMDLINE=\"console=ttyS0 'a;b'\"\n")
        (lines,) = self._entries(GRUB_CMDLINE_LINUX="one", GRUB_CMDLINE_LINUX_DEFAULT="two"
                                 ).values()
        self.assertEqual(lines, [
            "# access to /dev/sda1",
            "echo 'Loading Undercroft 0.1.0 ...'",
            "multiboot2 /boot/undercroft/hypervisor-0.1.0 console=com2 loglevel=4",
            "echo 'Loading Linux 6.15.0-1-amd64 ...'",
            "module2 /boot/vmlinuz-6.15.0-1-amd64 root=UUID=0a1b-2c3d ro one two console=ttyS0 "
            "'a;b'",
            "echo 'Loading initial ramdisk ...'",
            "module2 --nounzip /boot/initrd.img-6.15.0-1-amd64"])

    def test_the_roots_file_system_is_named_as_grubs_settings_want_it(self):
        self._put("undercroft/hypervisor-0.1.0")
        self._kernel("undercroft/", "6.15.0")
        for settings, words in (({"GRUB_DEVICE_UUID": ""}, "root=/dev/sda2 ro"),
                                ({"GRUB_DISABLE_LINUX_UUID": "true"}, "root=/dev/sda2 ro"),
                                ({"GRUB_FS": "btrfs"},
                                 "root=UUID=0a1b-2c3d rootflags=subvol=@ ro")):
            (lines,) = self._entries(**settings).values()
            self.assertIn(f"module2 /boot/undercroft/vmlinuz-6.15.0 {words}", "\n".join(lines))
            self.assertNotIn("--nounzip", "\n".join(lines), "no initial RAM disk")

    def test_nothing_to_boot_is_no_entry_and_no_error(self):
        self.assertEqual(self._entries(), {})
        self._put("undercroft/hypervisor-0.1.0")
        self.assertEqual(self._entries(), {})


if __name__ == "__main__":
    unittest.main()
