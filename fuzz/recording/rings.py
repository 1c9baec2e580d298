# SPDX-License-Identifier: Apache-2.0
"""The packets that are still in the rings of a VM, which keep what was read until something else is
written over it. Layouts: vmbus/protocol/ring.hpp and packet.hpp."""

import dataclasses
import struct

PAGE = 4096
TRAILER = 8

IN_BAND = 6
GPA_DIRECT = 9


@dataclasses.dataclass
class Packet:
    """As it is in the ring. `raw` is all of it, with its trailer."""

    type: int
    flags: int
    transaction: int
    header: bytes
    payload: bytes
    raw: bytes

    def ranges(self):
        """Of a GPA direct packet: (length, offset, page numbers) each."""
        if self.type != GPA_DIRECT:
            return []
        count = struct.unpack_from("<4xI", self.header)[0]
        found, at = [], 8
        for _ in range(count):
            length, offset = struct.unpack_from("<II", self.header, at)
            pages = (offset + length + PAGE - 1) // PAGE
            found.append((length, offset, struct.unpack_from(f"<{pages}Q", self.header, at + 8)))
            at += 8 + 8 * pages
        return found


@dataclasses.dataclass
class Channel:
    """One that is open. `interface` is the GUID's first four bytes as a number; `packets` are the
    guest's, the oldest first."""

    interface: int
    sub_channel: int
    packets: list


class Recording:
    """`devices` is what the worker answers to that command, `memory` the guest's."""

    def __init__(self, devices, memory):
        self._memory = memory
        state, = (device["fields"]["state"][0]["fields"]
                  for device in devices["fields"]["devices"]
                  if device["fields"]["name"] == "vmbus")
        self._gpadls = {(gpadl["fields"]["relid"], gpadl["fields"]["gpadl"]):
                        bytes(gpadl["fields"]["ranges"]["bytes"]) for gpadl in state["gpadls"]}
        self.channels = [self._channel(channel["fields"]) for channel in state["channels"]
                         if channel["fields"]["open"]]

    def bytes_at(self, length, offset, pages):
        """What is in a range now."""
        found = b"".join(self._memory[page * PAGE:(page + 1) * PAGE] for page in pages)
        return found[offset:offset + length]

    def gpadl(self, number):
        """All that is in a GPADL of any channel."""
        ranges, = (ranges for (_, gpadl), ranges in self._gpadls.items() if gpadl == number)
        return self.bytes_at(*self._range(ranges))

    @staticmethod
    def _range(words):
        length, offset = struct.unpack_from("<II", words)
        return length, offset, struct.unpack_from(f"<{len(words) // 8 - 1}Q", words, 8)

    def _channel(self, channel):
        words = self._gpadls[channel["relid"], channel["ring_gpadl"]]
        pages = self._range(words)[2][:channel["downstream_offset"]]
        interface = struct.unpack_from("<I", bytes(channel["interface_type"]["bytes"]))[0]
        ring = b"".join(self._memory[page * PAGE:(page + 1) * PAGE] for page in pages)
        return Channel(interface, channel["sub_channel"], list(packets(ring)))


def packets(ring):
    """Those in a ring with its header page, the oldest first: each trailer says where its packet
    began, as far back as nothing was written over."""
    end = struct.unpack_from("<I", ring)[0]
    data = ring[PAGE:]
    found, left = [], len(data)
    while left > TRAILER:
        start = struct.unpack("<Q", around(data, end - TRAILER, TRAILER))[0] >> 32
        size = (end - start) % len(data)
        if start >= len(data) or not TRAILER < size <= left:
            break
        raw = around(data, start, size)
        kind, offset8, length8, flags, transaction = struct.unpack_from("<HHHHQ", raw)
        if 8 * length8 + TRAILER != size or not 2 <= offset8 <= length8:
            break
        found.append(Packet(kind, flags, transaction, raw[16:8 * offset8],
                            raw[8 * offset8:8 * length8], raw))
        left -= size
        end = start
    return reversed(found)


def around(data, start, size):
    """From a ring, perhaps beyond its end and on at its beginning."""
    start %= len(data)
    return (data[start:] + data[:start])[:size]
