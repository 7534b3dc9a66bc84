"""What a disk image says of itself: its format, and the image that it is an overlay of.

An image may be anybody's work, so only headers are read, a bounded part of each, and nothing they name is opened here.
The formats: docs/interop/qcow2.txt and docs/interop/qed_spec.txt in QEMU's source; VMware's Virtual Disk Format 5.0.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_HEADER = 64 * 1024  # bytes of an image that are looked at
_NAME = 1023  # bytes in the longest name of a file below: QEMU's limit
_SECTOR = 512
_MAGIC: dict[str, tuple[int, tuple[bytes, ...]]] = {  # format: where it is told by what
    "qed": (0, (b"QED\0",)), "vmdk": (0, (b"KDMV", b"# Disk DescriptorFile")), "luks": (0, (b"LUKS\xba\xbe",)),
    "vpc": (0, (b"conectix",)), "vdi": (0x40, (b"\x7f\x10\xda\xbe",))}
_QCOW = b"QFI\xfb"

# Numbers of qcow2's document.
_VERSION_2_HEADER = 72
_DATA_FILE_BIT = 1 << 2  # of the incompatible features
_BACKING_FORMAT = 0xE2792ACA  # type of a header extension
# Bits of QED's features.
_QED_BACKING, _QED_RAW_BACKING = 1, 4


class Image(NamedTuple):
    """What a header tells. ``backing`` is the name of the image below as it stands there, None when there is none.

    ``backing_format`` is None when it was not recorded. ``has_data_file``: the guest's data is in yet another file.
    """

    backing: str | None = None
    backing_format: str | None = None
    has_data_file: bool = False


class UnreadableError(Exception):
    """A file that cannot be an image of its format; ``str()`` tells why."""


def read_header(path: str) -> bytes:
    """The beginning of an image. ``OSError`` when there is nothing that can be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not hold us up
    with open(descriptor, "rb", buffering=0) as file:
        if not (stat.S_ISREG(mode := os.fstat(descriptor).st_mode) or stat.S_ISBLK(mode)):
            raise OSError(errno.EINVAL, "neither a file nor a block device", path)
        return file.read(_HEADER) or b""


def is_block_device(path: str) -> bool:
    """Whether a path leads to a block device; False when it leads nowhere."""
    try:
        return Path(path).is_block_device()
    except OSError:
        return False


def guess_format(header: bytes) -> str:
    """The format that a header has the mark of, "raw" for none. A guest that writes a raw disk can forge any."""
    if header.startswith(_QCOW) and len(header) >= 8:
        return "qcow" if struct.unpack_from(">I", header, 4)[0] == 1 else "qcow2"
    for name, (offset, marks) in _MAGIC.items():
        if header.startswith(marks, offset):
            return name
    return "raw"


def read_image(header: bytes, image_format: str) -> Image:
    """What the header of an image of a known format tells. Raises ``UnreadableError``.

    One that lacks its format's mark tells nothing: it is QEMU's to refuse it.
    """
    read = _READERS.get(image_format)
    if read is None or guess_format(header) != image_format:
        return Image()
    try:
        return read(header)
    except (struct.error, UnicodeDecodeError) as error:
        raise UnreadableError(f"the header of a {image_format} image is damaged: {error}") from error


def can_have_backing(image_format: str) -> bool:
    """Whether an image of this format can be an overlay of another one."""
    return image_format in _READERS


def _qcow2(header: bytes) -> Image:
    version, offset, size = struct.unpack_from(">IQI", header, 4)
    length, features = _VERSION_2_HEADER, 0
    if version > 2:
        features, length = struct.unpack_from(">Q", header, 72)[0], struct.unpack_from(">I", header, 100)[0]
    return Image(_name(header, offset, size), _qcow2_backing_format(header, length, offset),
                 bool(features & _DATA_FILE_BIT))


def _qcow2_backing_format(header: bytes, position: int, end: int) -> str | None:
    """The extension that records it, among those between the header and the name."""
    end = min(end or len(header), len(header))
    while position + 8 <= end:
        kind, size = struct.unpack_from(">II", header, position)
        if kind == 0 or size > end - position - 8:
            return None
        if kind == _BACKING_FORMAT:
            return header[position + 8:position + 8 + size].decode()
        position += 8 + -(-size // 8) * 8
    return None


def _qcow(header: bytes) -> Image:
    offset, size = struct.unpack_from(">QI", header, 8)
    return Image(_name(header, offset, size))


def _qed(header: bytes) -> Image:
    features, = struct.unpack_from("<Q", header, 16)
    if not features & _QED_BACKING:
        return Image()
    offset, size = struct.unpack_from("<II", header, 56)
    return Image(_name(header, offset, size), "raw" if features & _QED_RAW_BACKING else None)


def _vmdk(header: bytes) -> Image:
    text = header
    if header.startswith(b"KDMV"):
        start, length = (count * _SECTOR for count in struct.unpack_from("<QQ", header, 28))
        text = header[start:start + length]
    if re.search(rb"^parentCID=f{8}\s*$", text, re.MULTILINE | re.IGNORECASE):
        return Image()
    hint = re.search(rb'^parentFileNameHint="([^"\n]{1,%d})"' % _NAME, text, re.MULTILINE)
    return Image(hint[1].decode()) if hint else Image()


def _name(header: bytes, offset: int, size: int) -> str | None:
    if not offset or not size:
        return None
    if size > _NAME or offset + size > len(header):
        raise UnreadableError("the name of the image below is not where it can be")
    return header[offset:offset + size].decode()


_READERS: dict[str, Callable[[bytes], Image]] = {"qcow2": _qcow2, "qcow": _qcow, "qed": _qed, "vmdk": _vmdk}


def storage_error(code: int, detail: str, number: int = -1) -> LibvirtError:
    """An error about an image, from the part of libvirt that knows images and nothing of domains."""
    return LibvirtError(code, detail, domain=c.VIR_FROM_STORAGE, int1=number)
