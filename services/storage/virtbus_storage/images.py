"""What a file of a pool is: format, sizes, backing file, ownership and times, told from its first bytes.

A refresh looks at every image of a pool, a thousand of them in some, so headers are read here rather than by a
``qemu-img info`` process for each. Header layouts: QEMU's docs/interop/qcow2.txt and qed_spec.txt, and what VMDK, VHD
and VDI specify; which facts are told follows ``virstoragefileprobe.c`` of libvirt 9.0.0.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import NamedTuple

from virtbus_shared.service.xml_lines import Raw
from virtbus_storage.xml import BackingStore, Permissions, Timestamps, Volume, VolumeTarget

HEADER = 4096  # bytes; every header and all of a qcow2 file's extensions and backing file name fit, in practice
_SMALLEST = 512  # bytes; no image of any of these formats is shorter, so less of one is no image
_ISO_MAGIC_AT, _ISO_MAGIC = 0x8001, b"CD001"
_BACKING_FORMAT = 0xE2792ACA  # qcow2 header extension


class _Format(NamedTuple):
    """How to know a format and where it keeps the guest's size: ``size`` is a struct format, in ``unit`` bytes."""

    name: str
    magic: bytes
    magic_at: int
    size: str
    size_at: int
    unit: int = 1


_FORMATS = (
    _Format("qcow2", b"QFI\xfb\0\0\0\2", 0, ">Q", 24),
    _Format("qcow2", b"QFI\xfb\0\0\0\3", 0, ">Q", 24),
    _Format("qcow", b"QFI\xfb\0\0\0\1", 0, ">Q", 24),
    _Format("qed", b"QED\0", 0, "<Q", 48),
    _Format("vmdk", b"KDMV", 0, "<Q", 12, 512),
    _Format("vdi", b"\x7f\x10\xda\xbe", 64, "<Q", 368),
    _Format("vpc", b"conectix", 0, ">Q", 40),
)


def read_volume(folder: str, name: str) -> Volume | None:
    """The volume that a directory entry is; None when it is none (a socket, a device, a link to nowhere) or is gone.

    Symbolic links are followed, as libvirt does: a link to an image is a volume of its own.
    """
    path = f"{folder}/{name}"
    try:
        facts = os.stat(path)
        if stat.S_ISDIR(facts.st_mode):
            return Volume(type="dir", name=name, key=path, capacity=0, allocation=0, target=VolumeTarget(
                path=path, format="dir", permissions=_permissions(facts), timestamps=_timestamps(facts)))
        if not stat.S_ISREG(facts.st_mode):
            return None
        header = _read_header(path)
    except OSError:
        return None
    target = VolumeTarget(path=path, permissions=_permissions(facts), timestamps=_timestamps(facts))
    volume = Volume(type="file", name=name, key=path, allocation=facts.st_blocks * 512,
                    physical=facts.st_size or None, target=target)
    kind = _probe(header)
    if kind is None:
        target.format, volume.capacity = "iso" if _is_iso(path, facts.st_size) else "raw", facts.st_size
        return volume
    target.format = kind.name
    volume.capacity = struct.unpack_from(kind.size, header, kind.size_at)[0] * kind.unit
    if kind.name == "qcow2":
        _add_qcow2(volume, target, header)
    elif kind.name == "qed":
        # Bit 0: there is a backing file; bit 2: it is not to be probed, so it is raw.
        features, at, length = struct.unpack_from("<Q", header, 16)[0], *struct.unpack_from("<II", header, 56)
        if features & 1:
            volume.backing_store = _backing(path, header, at, length, "raw" if features & 4 else None)
    elif kind.name == "qcow":
        at, length = struct.unpack_from(">QI", header, 8)
        volume.backing_store = _backing(path, header, at, length, None)
    return volume


def _read_header(path: str) -> bytes:
    # Non-blocking: between the look at the entry and this, a pipe may have taken its name.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        return os.read(fd, HEADER)
    finally:
        os.close(fd)


def _probe(header: bytes) -> _Format | None:
    """The format that a file's first bytes show; None for a raw one, and for a header that is cut off."""
    for kind in _FORMATS:
        if header.startswith(kind.magic, kind.magic_at):
            return kind if len(header) >= _SMALLEST else None
    return None


def _is_iso(path: str, size: int) -> bool:
    if size < _ISO_MAGIC_AT + len(_ISO_MAGIC) or size % 2048:
        return False
    with Path(path).open("rb") as file:
        file.seek(_ISO_MAGIC_AT)
        return file.read(len(_ISO_MAGIC)) == _ISO_MAGIC


def _add_qcow2(volume: Volume, target: VolumeTarget, header: bytes) -> None:
    version, at, length, cluster_bits = struct.unpack_from(">IQII", header, 4)
    crypt, = struct.unpack_from(">I", header, 32)
    target.cluster_size = 1 << (cluster_bits & 31)
    if crypt:
        target.encryption = (Raw("encryption", (("format", "qcow" if crypt == 1 else "luks"),)),)
    extensions = 72
    if version >= 3:
        incompatible, compatible = struct.unpack_from(">QQ", header, 72)
        extensions, = struct.unpack_from(">I", header, 100)
        target.compat = "1.1"
        target.lazy_refcounts = bool(compatible & 1)
        target.extended_l2 = bool(incompatible & 16)
    if at:
        volume.backing_store = _backing(str(target.path), header, at, length, _backing_format(header, extensions))


def _backing_format(header: bytes, at: int) -> str | None:
    """The backing file's format by the header extension that names it."""
    while at + 8 <= len(header):
        kind, length = struct.unpack_from(">II", header, at)
        if kind == 0:
            break
        if kind == _BACKING_FORMAT:
            return header[at + 8:at + 8 + length].decode(errors="replace")
        at += 8 + (length + 7) // 8 * 8
    return None


def _backing(path: str, header: bytes, at: int, length: int, kind: str | None) -> BackingStore | None:
    name = os.fsdecode(header[at:at + length])
    if not name:
        return None
    head = name.partition("/")[0]
    if ":" in head:  # "nbd://..." or "json:{...}": no file of this host
        return BackingStore(path=name, format="raw" if kind not in _FORMAT_NAMES or name.startswith("json:") else kind)
    full = os.path.normpath(os.path.join(os.path.dirname(os.path.realpath(path)), name))
    store = BackingStore(path=full, format=kind if kind in _FORMAT_NAMES else None)
    try:
        facts = os.stat(full)
        if store.format is None and stat.S_ISREG(facts.st_mode):
            found = _probe(_read_header(full))
            store.format = found.name if found else None
    except OSError:
        facts = None
    store.format = store.format or "raw"
    if facts is not None:
        store.permissions, store.timestamps = _permissions(facts), _timestamps(facts)
    return store


_FORMAT_NAMES = {kind.name for kind in _FORMATS} | {"raw"}


def _permissions(facts: os.stat_result) -> Permissions:
    return Permissions(mode=facts.st_mode & 0o777, owner=facts.st_uid, group=facts.st_gid)


def _timestamps(facts: os.stat_result) -> Timestamps:
    return Timestamps(atime=_time(facts.st_atime_ns), mtime=_time(facts.st_mtime_ns), ctime=_time(facts.st_ctime_ns))


def _time(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{seconds}.{rest:09d}" if rest else str(seconds)
