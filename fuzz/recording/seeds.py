# SPDX-License-Identifier: Apache-2.0
"""Inputs of the fuzz targets made of recorded packets. The layouts are those of `struct Step` in
the targets' sources."""

import struct

from .rings import PAGE

# A target takes so much at most.
LONGEST = 4096

# Of the memory that the target of the bus has (vmbus/testing/test_memory.hpp).
FIRST_PAGE = 16
# To the bus itself: the version, the end.
VERSION_MESSAGES = (14, 16)

NETWORK = 0xf8615163
STORAGE = 0xba6163d9
HEARTBEAT = 0x57164f39
KEY_VALUE = 0xa9a0f4e7
SHUTDOWN = 0x0e0b6031
TIME_SYNC = 0x9527e630


def storage(recording, channel):
    """As the packets came; and one of each command, whatever came between."""
    steps = [storage_step(recording, packet) for packet in channel.packets
             if len(packet.payload) >= 48]
    kinds = {}
    for step in steps:
        kinds.setdefault((step[1], step[32] if step[1] == 3 else 0), step)
    stage = 0 if channel.packets[0].payload[0] == 7 else 4
    first = bytes([stage + (5 if channel.sub_channel else 0)])
    return {"start": cut(first, steps), "kinds": cut(bytes([4]), list(kinds.values()))}


def storage_step(recording, packet):
    first_data_page, data_pages = 6, 4
    operation = struct.unpack_from("<I", packet.payload)[0]
    body = packet.payload[12:]
    target, lun, cdb_length, sense_length, direction, length = \
        struct.unpack_from("<6xBBBBBxI", body)
    payload = body[16:36] if operation == 3 else body[:20]
    count, range_length, offset, data = 0, 0, 0, b""
    for range_length, offset, pages in packet.ranges()[:1]:
        count = min(len(pages), data_pages)
        range_length = min(range_length, count * PAGE - offset)
        length = min(length, range_length)
        data = recording.bytes_at(24, offset, pages)
    return struct.pack("<8BIIHH20s24s", 1 if packet.type == 6 else 0, operation & 0xff, cdb_length,
                       sense_length, direction, lun, target, count, length, range_length, offset,
                       first_data_page, payload, data)


def network(recording, channel):
    """What it begins with, and the last frames that it sent and got, with the driver ready."""
    sections = recording.gpadl(next(struct.unpack_from("<I", packet.payload, 4)[0]
                                    for packet in channel.packets
                                    if packet.payload[:4] == struct.pack("<I", 104)))
    steps = [step for packet in channel.packets
             for step in network_steps(recording, packet, sections)]
    is_data = [step[0] > 1 for step in steps]
    begins = is_data.index(True)
    most = (LONGEST - 1) // 128
    return {"start": cut(b"\0", steps[:begins]), "traffic": cut(b"\1", steps[begins:][-most:])}


def network_steps(recording, packet, sections):
    kind_message, kind_request, kind_section, kind_pages, kind_both, _, kind_complete_all = range(7)
    section_size, receive_gpadl, send_gpadl, none = 6144, 11, 12, 0xffffffff

    def step(kind, first=0, second=0, data=b"", length=0):
        return struct.pack("<BBHII116s", kind, 0, length & 0xffff, first, second, data)

    if packet.type == 11:
        return [step(kind_complete_all)]
    message = struct.unpack_from("<I", packet.payload)[0]
    body = packet.payload[4:]
    if message in (101, 104):
        body = struct.pack("<I", receive_gpadl if message == 101 else send_gpadl) + body[4:]
    if message != 107:
        return [step(kind_message, message, data=body)]
    channel, section, size = struct.unpack_from("<III", body)
    pages = b"".join(recording.bytes_at(*one) for one in packet.ranges())
    if channel == 1:
        if section != none:
            pages = sections[section * section_size:][:size]
        # Linux has given the memory of most to somebody else by now.
        if len(pages) < 8 or struct.unpack_from("<4xI", pages)[0] != len(pages):
            return []
        return [step(kind_request, data=pages, length=min(len(pages), 116)),
                step(kind_complete_all)]
    if section == none:
        return [step(kind_pages, data=pages, length=len(pages))]
    data = sections[section * section_size:][:size]
    return [step(kind_both if pages else kind_section, 0, size, data, len(pages))]


def integration(kind, channel):
    """The guest's messages as they are, each after what the host has said."""
    result = bytes([kind])
    for packet in channel.packets:
        message = packet.payload
        # What a byte can't count is said by changes to the answer to what was heard.
        if len(message) < 256:
            result += bytes([3, packet.type, len(message)]) + message
        else:
            result += bytes([0, 1, 20, 0, 15]) + message[20:35]
        if kind == 0:
            result += bytes([4, 8])
    return {"messages": result[:LONGEST]}


def messages(payloads):
    """Messages to the bus: as they came from the first on, and one of each kind; the host's are taken
    between them. Devices and memory are the few of the target."""
    take = bytes([2, 0]) * 4
    steps = []
    kinds = {}
    for payload in payloads:
        step = bytes([0, len(payload)]) + in_small_memory(payload) + take
        steps.append(step)
        kinds.setdefault(payload[0], step)
    return {"start": whole(steps), "kinds": whole(kinds.values())}


def in_small_memory(payload):
    """A message to the bus with other channels and page numbers."""
    gpadl_header, gpadl_body, page_count, devices = 8, 9, 56, 3
    kind = payload[0]
    changed = bytearray(payload)
    pages = {gpadl_header: 28, gpadl_body: 16}.get(kind, len(payload))
    if kind != gpadl_body and len(payload) >= 12 and kind not in VERSION_MESSAGES:
        relid = struct.unpack_from("<I", payload, 8)[0]
        struct.pack_into("<I", changed, 8, (relid + devices - 1) % devices + 1)
    for at in range(pages, len(payload) - 7, 8):
        page = struct.unpack_from("<Q", payload, at)[0]
        struct.pack_into("<Q", changed, at, FIRST_PAGE + page % page_count)
    return bytes(changed)


def whole(steps):
    """As many as a target takes."""
    result = b""
    for step in steps:
        if len(result) + len(step) > LONGEST:
            break
        result += step
    return result


def rings(channels):
    """Packets as the ring has them, as many as the target's memory holds."""
    found = {}
    for channel in channels:
        for packet in channel.packets:
            if len(packet.raw) <= 256:
                found.setdefault((channel.interface, packet.type),
                                 struct.pack("<5I", len(packet.raw), 0, 0, 0, 1) +
                                 packet.raw.ljust(256, b"\0") + bytes(8))
    return {f"{interface:08x}_{kind}": content for (interface, kind), content in found.items()}


def cut(first, steps):
    """As many as a target takes."""
    if not steps:
        return first
    return first + b"".join(steps[:(LONGEST - len(first)) // len(steps[0])])
