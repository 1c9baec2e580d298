# SPDX-License-Identifier: Apache-2.0
"""A disk with a cache that a cut of power empties: what was not flushed is gone.

QEMU keeps what a machine writes in files, where it outlives QEMU, flushed or not. This is a server
of the Network Block Device protocol (doc/proto.md of the nbd project) for one machine, which keeps
what is written in memory until the machine flushes it.
"""

import os
import pathlib
import socket
import struct
import tempfile
import threading

BLOCK = 4096

_OLD_MAGIC = 0x4E42444D41474943  # "NBDMAGIC"
_OPTION_MAGIC = 0x49484156454F5054  # "IHAVEOPT"
_OPTION_REPLY_MAGIC = 0x0003E889045565A9
_REQUEST_MAGIC = 0x25609513
_REPLY_MAGIC = 0x67446698

_FIXED_NEW_STYLE, _NO_ZEROES = 1, 2
_ABORT, _GO = 2, 7
_ACKNOWLEDGED, _INFORMATION, _UNSUPPORTED = 1, 3, 0x80000001
_EXPORT = 0
_HAS_FLAGS, _SENDS_FLUSH, _SENDS_FUA = 1, 4, 8
_READ, _WRITE, _DISCONNECT, _FLUSH = range(4)
_FUA = 1
_INVALID = 22


class VolatileDisk:
    """The image's contents are those that a disk would have after a cut of power at any moment.

        with VolatileDisk("disk.img") as disk, Host(disk=disk) as host:
    """

    def __init__(self, image):
        self._file = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        self._size = os.fstat(self._file).st_size
        self._unflushed = {}
        self._folder = tempfile.TemporaryDirectory(prefix="croft-lab-")
        self._path = pathlib.Path(self._folder.name) / "nbd"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.flushes = 0
        self.lost = 0
        """Blocks that were in the cache when the machine was gone."""

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        os.close(self._file)
        self._folder.cleanup()

    @property
    def drive(self):
        """How QEMU's -drive names it."""
        return f"file=nbd:unix:{self._path},format=raw,cache=writeback"

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # the disk is put away
                return
            with connection:
                try:
                    self._negotiate(connection)
                    self._answer(connection)
                except (EOFError, ConnectionError):
                    pass  # the machine is gone
            self.lost = len(self._unflushed)
            self._unflushed.clear()

    def _negotiate(self, connection):
        connection.sendall(struct.pack(">QQH", _OLD_MAGIC, _OPTION_MAGIC,
                                       _FIXED_NEW_STYLE | _NO_ZEROES))
        _take(connection, 4)
        while True:
            _magic, option, length = struct.unpack(">QII", _take(connection, 16))
            _take(connection, length)

            def reply(kind, data=b"", option=option):
                connection.sendall(struct.pack(">QIII", _OPTION_REPLY_MAGIC, option, kind,
                                               len(data)) + data)

            if option == _GO:
                reply(_INFORMATION, struct.pack(">HQH", _EXPORT, self._size,
                                                _HAS_FLAGS | _SENDS_FLUSH | _SENDS_FUA))
                reply(_ACKNOWLEDGED)
                return
            if option == _ABORT:
                raise EOFError
            reply(_UNSUPPORTED)

    def _answer(self, connection):
        while True:
            _magic, flags, kind, cookie, offset, length = struct.unpack(
                ">IHHQQI", _take(connection, 28))
            error, data = 0, b""
            if kind == _DISCONNECT:
                raise EOFError
            if kind == _READ:
                data = self._read(offset, length)
            elif kind == _WRITE:
                self._write(offset, _take(connection, length))
            elif kind != _FLUSH:
                error = _INVALID
            if kind == _FLUSH or flags & _FUA:
                self._flush()
            connection.sendall(struct.pack(">IIQ", _REPLY_MAGIC, error, cookie) + data)

    def _block(self, number):
        block = self._unflushed.get(number)
        return os.pread(self._file, BLOCK, number * BLOCK) if block is None else block

    def _read(self, offset, length):
        first, last = offset // BLOCK, -(-(offset + length) // BLOCK)
        data = b"".join(self._block(number) for number in range(first, last))
        return data[offset - first * BLOCK:][:length]

    def _write(self, offset, data):
        first, last = offset // BLOCK, -(-(offset + len(data)) // BLOCK)
        begin = offset - first * BLOCK
        whole = bytearray(self._block(first)) if begin else bytearray()
        whole[begin:] = data
        rest = -len(whole) % BLOCK
        if rest:
            whole += self._block(last - 1)[-rest:]
        for number in range(first, last):
            at = (number - first) * BLOCK
            self._unflushed[number] = bytes(whole[at:at + BLOCK])

    def _flush(self):
        for number, block in self._unflushed.items():
            os.pwrite(self._file, block, number * BLOCK)
        self._unflushed.clear()
        self.flushes += 1


def _take(connection, length):
    data = bytearray()
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            raise EOFError
        data += more
    return bytes(data)
