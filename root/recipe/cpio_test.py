# SPDX-License-Identifier: Apache-2.0
import unittest

from root.recipe.cpio import Archive


def read(content):
    """The entries of a "newc" archive: name to (mode, content)."""
    entries = {}
    offset = 0
    while True:
        header = content[offset:offset + 110]
        assert header[:6] == b"070701", header
        fields = [int(header[6 + 8 * i:14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = content[offset + 110:offset + 110 + name_size - 1].decode()
        offset += (110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            return entries
        entries[name] = (mode, content[offset:offset + size])
        offset += (size + 3) & ~3


class ArchiveTest(unittest.TestCase):
    def test_entries_come_back(self):
        archive = Archive()
        archive.file("a/b/file", b"12345", 0o755)
        archive.symlink("a/link", "b/file")
        archive.device("dev/null", "c", 1, 3, 0o666)
        entries = read(archive.bytes())
        self.assertEqual(list(entries), ["a", "a/b", "a/b/file", "a/link", "dev", "dev/null"])
        self.assertEqual(entries["a/b/file"], (0o100755, b"12345"))
        self.assertEqual(entries["a/link"], (0o120777, b"b/file"))
        self.assertEqual(entries["dev/null"][0], 0o020666)

    def test_first_of_a_name_stays(self):
        archive = Archive()
        archive.symlink("bin", "usr/bin")
        archive.directory("bin")
        self.assertEqual(read(archive.bytes())["bin"], (0o120777, b"usr/bin"))

    def test_aligned_for_concatenation_and_repeatable(self):
        def build():
            archive = Archive()
            archive.file("x", b"content")
            return archive.bytes()

        self.assertEqual(len(build()) % 512, 0)
        self.assertEqual(build(), build())


if __name__ == "__main__":
    unittest.main()
