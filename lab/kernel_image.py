# SPDX-License-Identifier: Apache-2.0
"""What is inside a bzImage."""

import lzma
import struct

from .errors import LabError


def elf(image):
    """The kernel itself, an ELF file, out of a bzImage that is compressed with xz, as Debian's are.
    The places are those of the boot protocol (Documentation/arch/x86/boot.rst)."""
    sectors, = struct.unpack_from("<B", image, 0x1f1)
    magic, version = struct.unpack_from("<4sH", image, 0x202)
    if magic != b"HdrS" or version < 0x208:
        raise LabError(f"found {magic!r}, version {version:#x}; expected a bzImage of boot "
                       "protocol 2.08 or later")
    offset, length = struct.unpack_from("<II", image, 0x248)
    begin = (sectors + 1) * 512 + offset
    # Behind the compressed data stands its size.
    content = lzma.LZMADecompressor().decompress(image[begin:begin + length])
    if not content.startswith(b"\x7fELF"):
        raise LabError(f"the bzImage holds {content[:4]!r}; expected an ELF file")
    return content


def release(image):
    """The release that a bzImage says it is, as 6.1.0-1-amd64."""
    start = 0x200 + struct.unpack_from("<H", image, 0x20E)[0]
    return image[start:image.index(b"\0", start)].split()[0].decode()
