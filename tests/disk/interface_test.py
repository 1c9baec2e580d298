#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `croft disk` is told and what it offers: formats that are named, completion, the manual.

Usage: interface_test.py CROFT [unittest options]
"""

import filecmp
import os
import shutil
import subprocess
import unittest

from command import MANUAL, MIB, Case, croft, croft_error, croft_json, manual_examples


class UntrustedRaw(Case):
    """A raw disk in which a guest has written a child of a file that it should not see."""

    def setUp(self):
        super().setUp()
        with open("secret.raw", "wb") as file:
            file.write(b"secret" * MIB)
        croft("convert", "secret.raw", "secret.vhdx")
        croft("create", "guest.vhdx", "-p", "secret.vhdx")
        os.rename("guest.vhdx", "guest.img")
        self.size = os.path.getsize("guest.img")
        shutil.copy("guest.img", "copy.img")

    def test_commands_believe_what_they_are_told(self):
        self.assertEqual(len(croft_json("info", "guest.img")["chain"]), 2)
        for word in ("-f", "--format"):
            chain = croft_json("info", "guest.img", word, "raw")["chain"]
            self.assertEqual([(it["format"], it["size"]) for it in chain], [("raw", self.size)])
        pieces = croft_json("map", "guest.img", "-f", "raw")
        self.assertEqual(sum(piece["length"] for piece in pieces), self.size)
        self.assertEqual({piece["depth"] for piece in pieces}, {0})
        self.assertEqual(croft_json("check", "guest.img", "-f", "raw")["blocks_used"], 0)
        croft("repair", "guest.img", "-f", "raw")
        self.assert_same_file("guest.img", "copy.img")
        croft("compare", "-s", "guest.img", "-f", "raw", "-F", "raw", "copy.img")
        croft("compare", "-s", "guest.img", "-f", "raw", "copy.img", expect=1)
        croft("compare", "-s", "guest.img", "copy.img", "-F", "raw", expect=1)
        croft("convert", "guest.img", "-F", "raw", "out.raw")
        self.assert_same_file("out.raw", "copy.img")
        for words in (["merge", "guest.img"], ["rebase", "guest.img", "secret.vhdx"],
                      ["compact", "guest.img"]):
            croft(*words, "-f", "raw", expect=2)
        self.assert_same_file("guest.img", "copy.img")
        croft("resize", "guest.img", "-f", "raw", "--shrink", self.size - 512)
        self.assertEqual(os.path.getsize("guest.img"), self.size - 512)
        shown = croft_json("mount", "copy.img", "-f", "raw")
        self.assertEqual(shown["size"], self.size)

    @unittest.skipUnless(os.geteuid() == 0 and os.access("/dev/fuse", os.W_OK), "takes /dev/fuse")
    def test_mounting_believes_what_it_is_told(self):
        os.mkdir("m")
        croft("mount", "-f", "raw", "--raw", "guest.img", "m")
        try:
            self.assert_same_file("m/disk", "copy.img")
        finally:
            croft("umount", "m")
        error = croft_error("cp", "-f", "raw", "guest.img:/x", ".")
        self.assertIn("found these file systems: none", error["what"])

    def assert_same_file(self, first, second):
        self.assertTrue(filecmp.cmp(first, second, shallow=False), f"{first} and {second} differ")


class Completion(unittest.TestCase):
    SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../cli/croft.bash")

    def offered(self, *words):
        done = subprocess.run(
            ["bash", "-c", 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _croft; '
             'printf "%s\\n" "${COMPREPLY[@]}"', self.SCRIPT, *words],
            capture_output=True, text=True, check=True, timeout=60)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def sub_commands(self):
        return [line.split()[0]
                for line in croft("--help").split("Subcommands:")[1].strip().splitlines()]

    def test_sub_commands(self):
        self.assertEqual(self.offered("croft", ""), ["disk", "host", "vm", "-h", "--help"])
        offered = self.offered("croft", "disk", "")
        self.assertEqual(sorted(offered), sorted([*self.sub_commands(), "-h", "--help"]))
        self.assertEqual(self.offered("croft", "disk", "com"), ["compact", "compare"])

    def test_every_option_is_offered(self):
        for command in self.sub_commands():
            with self.subTest(command):
                listed = croft(command, "--help").split("Options:")[1]
                options = {word for line in listed.splitlines() if line.startswith("  -")
                           for word in line[2:].split("  ")[0].split(" ")[0].split(",")}
                self.assertEqual(set(self.offered("croft", "disk", command, "-")), options)

    def test_values(self):
        for option in ("-f", "--format", "-F", "--source-format"):
            self.assertEqual(self.offered("croft", "disk", "convert", option, ""),
                             ["raw", "vhd", "vhdx", "iso"])
        self.assertEqual(self.offered("croft", "disk", "create", "--sector-size", "5"), ["512"])
        self.assertIn("/etc/passwd", self.offered("croft", "disk", "info", "/etc/passw"))


class Manual(Case):
    def test_examples_run(self):
        examples = manual_examples()
        self.assertGreater(len(examples), 5)
        for words in examples:
            self.assertEqual(words[:2], ["croft", "disk"])
            if words[2] not in ("mount", "umount", "cp"):  # mount_test.py runs those
                croft(*words[2:])

    def test_every_sub_command_is_described(self):
        with open(MANUAL, encoding="utf-8") as file:
            page = file.read()
        listing = croft("--help").split("Subcommands:")[1]


if __name__ == "__main__":
    unittest.main()
