# SPDX-License-Identifier: Apache-2.0
"""Writes initramfs archives (cpio, "newc" form).

Done here rather than by cpio(1) because an archive needs device nodes and files that belong to
root, and neither should take a privilege of the person who builds.
"""

import stat


class Archive:
    """One cpio archive, built in memory. Every file belongs to root and has time stamp 0, so that
    the same content gives the same bytes."""

    def __init__(self):
        self._parts = []
        self._inode = 0
        self._names = set()

    def directory(self, name, mode=0o755):
        self._entry(name, stat.S_IFDIR | mode)

    def file(self, name, content, mode=0o644):
        self._entry(name, stat.S_IFREG | mode, content)

    def symlink(self, name, target):
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name, kind, major, minor, mode=0o600):
        types = {"c": stat.S_IFCHR, "b": stat.S_IFBLK}
        self._entry(name, types[kind] | mode, device=(major, minor))

    def __contains__(self, name):
        return name.strip("/") in self._names

    def bytes(self):
        """The archive with its trailer; archives may be concatenated."""
        trailer = self._record("TRAILER!!!", 0, b"", (0, 0), 0)
        content = b"".join(self._parts) + trailer
        return content + bytes(-len(content) % 512)

    def _entry(self, name, mode, content=b"", device=(0, 0)):
        name = name.strip("/")
        if not name or name in self._names:
            return
        parent = name.rpartition("/")[0]
        if parent and parent not in self._names:
            self.directory(parent)
        self._names.add(name)
        self._inode += 1
        self._parts.append(self._record(name, mode, content, device, self._inode))

    @staticmethod
    def _record(name, mode, content, device, inode):
        encoded = name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (inode, mode, 0, 0, links, 0, len(content), 0, 0, device[0], device[1],
                  len(encoded), 0)
        header = b"070701" + "".join(f"{field:08x}" for field in fields).encode()
        head = header + encoded
        return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)
