"""The storage pool and volume documents.

https://libvirt.org/formatstorage.html tells what everything means; ``storage_conf.c`` of libvirt 9.0.0 is the source of
order and defaults. Sizes are bytes. ``parse_*`` reads and checks what a client sent, ``complete_*`` adds what define
adds; the figures of a pool, and key and path of a volume, are facts that the caller puts in.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import Document, attr, element, flag, raw, size, sub, text
from virtbus_shared.service.xml_lines import Partial, Raw
from virtbus_shared.service.xml_values import INT, OCTAL, UUID, Refusal, words

POOL_TYPES = ("dir", "fs", "netfs", "logical", "disk", "iscsi", "iscsi-direct", "scsi", "mpath", "rbd", "sheepdog",
              "gluster", "zfs", "vstorage")
# The formats of each pool type that has any; the first is what an absent one means.
POOL_FORMATS = {
    "fs": ("auto", "ext2", "ext3", "ext4", "ufs", "iso9660", "udf", "gfs", "gfs2", "vfat", "hfs+", "xfs", "ocfs2",
           "vmfs"),
    "netfs": ("auto", "nfs", "glusterfs", "cifs"),
    "disk": ("unknown", "dos", "dvh", "gpt", "mac", "bsd", "pc98", "sun", "lvm2"),
    "logical": ("lvm2", "unknown"),
}
POOLS_WITH_PATH = ("dir", "fs", "netfs", "disk", "iscsi", "scsi", "mpath", "vstorage")
VOLUME_TYPES = ("file", "block", "dir", "network", "netdir", "ploop")
VOLUME_FORMATS = ("raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop", "cow", "qcow",
                  "qcow2", "qed", "vmdk", "luks")


def _wrong(detail: str) -> Refusal:
    return (c.VIR_ERR_XML_ERROR, detail)


def _unsupported(detail: str) -> Refusal:
    return (c.VIR_ERR_CONFIG_UNSUPPORTED, detail)


@element
class Permissions(Partial):
    """Mode, owner, group and security label of a file; -1 leaves an id as it is."""

    mode: int | None = text("mode", OCTAL, error=_wrong("malformed octal mode"))
    owner: int | None = text("owner", INT, error=_wrong("malformed owner element"))
    group: int | None = text("group", INT, error=_wrong("malformed group element"))
    label: str | None = text("label")


@element(open_tag=True)
class PoolSource(Partial):
    """Where the storage is: hosts, devices, a directory or a name there, by pool type."""

    hosts: tuple[Raw, ...] = raw("host")
    devices: tuple[Raw, ...] = raw("device")
    dir: str | None = attr("dir/@path")
    adapter: tuple[Raw, ...] = raw("adapter")
    name: str | None = text("name")
    initiator: tuple[Raw, ...] = raw("initiator")
    format: str | None = attr("format/@type")
    auth: tuple[Raw, ...] = raw("auth")
    protocol: tuple[Raw, ...] = raw("protocol")
    vendor: tuple[Raw, ...] = raw("vendor")
    product: tuple[Raw, ...] = raw("product")


@element
class PoolTarget(Partial):
    """Where the volumes appear on the host."""

    path: str | None = text("path")
    permissions: Permissions | None = sub("permissions", Permissions)


@element
class Pool(Partial):
    """A storage pool. The three sizes are output only."""

    type: str | None = attr("@type", words(*POOL_TYPES))
    name: str | None = text("name")
    uuid: str | None = text("uuid", UUID, error=_wrong("malformed uuid element"))
    capacity: int | None = size("capacity", "bytes", output_only=True)
    allocation: int | None = size("allocation", "bytes", output_only=True)
    available: int | None = size("available", "bytes", output_only=True)
    features: tuple[Raw, ...] = raw("features")
    source: PoolSource | None = sub("source", PoolSource)
    target: PoolTarget | None = sub("target", PoolTarget)
    refresh: tuple[Raw, ...] = raw("refresh")


@element
class Timestamps(Partial):
    """Times of the file, in seconds with nanoseconds; output only."""

    atime: str | None = text("atime")
    mtime: str | None = text("mtime")
    ctime: str | None = text("ctime")
    btime: str | None = text("btime")


@element
class VolumeTarget(Partial):
    """The image: path, format, ownership and what only some formats have."""

    path: str | None = text("path")
    format: str | None = attr("format/@type", words(*VOLUME_FORMATS),
                              error=_unsupported("unknown volume format type {value}"))
    permissions: Permissions | None = sub("permissions", Permissions)
    timestamps: Timestamps | None = sub("timestamps", Timestamps)
    encryption: tuple[Raw, ...] = raw("encryption")
    compat: str | None = text("compat")
    cluster_size: int | None = size("clusterSize", "B", error=_wrong("malformed clusterSize element"))
    nocow: bool = flag("nocow", input_only=True)
    lazy_refcounts: bool = flag("features/lazy_refcounts")
    extended_l2: bool = flag("features/extended_l2")


@element
class BackingStore(Partial):
    """The image that an overlay refers to."""

    path: str | None = text("path")
    format: str | None = attr("format/@type", words(*VOLUME_FORMATS),
                              error=_unsupported("unknown volume backing store type {value}"))
    permissions: Permissions | None = sub("permissions", Permissions)
    timestamps: Timestamps | None = sub("timestamps", Timestamps)


@element
class Volume(Partial):
    """A storage volume. ``key`` and ``physical`` are output only."""

    type: str | None = attr("@type", words(*VOLUME_TYPES), error=_unsupported("unknown volume type '{value}'"))
    name: str | None = text("name")
    key: str | None = text("key")
    source: tuple[Raw, ...] = raw("source")
    capacity: int | None = size("capacity", "bytes", error=_wrong("malformed capacity element"))
    allocation: int | None = size("allocation", "bytes", error=_wrong("malformed allocation element"))
    physical: int | None = size("physical", "bytes")
    target: VolumeTarget | None = sub("target", VolumeTarget)
    backing_store: BackingStore | None = sub("backingStore", BackingStore)


_POOL = Document(Pool, "pool", "storage_pool_definition", c.VIR_FROM_STORAGE)
_VOLUME = Document(Volume, "volume", "storage_volume_definition", c.VIR_FROM_STORAGE)


def _error(code: int, detail: str) -> LibvirtError:
    return LibvirtError(code, detail, domain=c.VIR_FROM_STORAGE)


def parse_pool(text: str) -> Pool:
    """The pool that a document describes, checked but without defaults. Raises ``LibvirtError``."""
    pool = _POOL.parse(text)
    if pool.type is None:
        raise LibvirtError(c.VIR_ERR_XML_ERROR, "Missing required attribute 'type' in element 'pool'",
                           domain=c.VIR_FROM_XML)
    source, target = pool.source or PoolSource(), pool.target or PoolTarget()
    if source.format is not None and source.format not in POOL_FORMATS.get(pool.type, (source.format,)):
        raise _error(c.VIR_ERR_CONFIG_UNSUPPORTED, f"unknown pool format type {source.format}")
    if not pool.name:
        raise _error(c.VIR_ERR_XML_ERROR, "missing pool source name element")
    if "/" in pool.name:
        raise _error(c.VIR_ERR_XML_ERROR, f"name {pool.name} cannot contain '/'")
    if "\n" in pool.name:
        raise LibvirtError(c.VIR_ERR_XML_DETAIL, "invalid char in name: \n", domain=c.VIR_FROM_XML)
    if pool.type in ("netfs", "iscsi", "iscsi-direct", "gluster") and not source.hosts:
        raise _error(c.VIR_ERR_XML_ERROR, "missing storage pool source host name")
    if pool.type == "netfs" and not source.dir:
        raise _error(c.VIR_ERR_XML_ERROR, "missing storage pool source path")
    if pool.type in POOLS_WITH_PATH and not target.path:
        raise _error(c.VIR_ERR_XML_ERROR, "missing storage pool target path")
    return pool


def format_pool(pool: Pool) -> str:
    """The document of a pool."""
    return _POOL.format(pool)


def complete_pool(pool: Pool, randbytes: Callable[[int], bytes] = os.urandom) -> None:
    """Add what libvirt adds on define: UUID, source, format, a clean path; for LVM, path from name."""
    if pool.uuid is None:
        pool.uuid = str(uuid.UUID(bytes=randbytes(16), version=4))
    pool.source = pool.source or PoolSource()
    if pool.type == "logical":
        pool.source.name = pool.source.name or pool.name
        pool.target = pool.target or PoolTarget()
        pool.target.path = pool.target.path or f"/dev/{pool.source.name}"
    if pool.type in POOL_FORMATS:
        pool.source.format = pool.source.format or POOL_FORMATS[pool.type][0]
    if pool.target:
        if pool.target.path:
            pool.target.path = clean_path(pool.target.path)
        pool.target.permissions = _meant(pool.target.permissions)
    pool.capacity, pool.allocation, pool.available = 0, 0, 0


def clean_path(path: str) -> str:
    """A path without doubled and final slashes; dots stay, since links may give them a meaning."""
    return ("/" if path.startswith("/") else "") + "/".join(part for part in path.split("/") if part)


def _meant(permissions: Permissions | None) -> Permissions | None:
    """Permissions without ids of -1; None when nothing remains."""
    if permissions is None:
        return None
    permissions.owner = None if permissions.owner == -1 else permissions.owner
    permissions.group = None if permissions.group == -1 else permissions.group
    return None if permissions == Permissions() else permissions


def parse_volume(text: str) -> Volume:
    """The volume that a document describes, checked but without defaults. Raises ``LibvirtError``."""
    volume = _VOLUME.parse(text)
    if not volume.name:
        raise _error(c.VIR_ERR_XML_ERROR, "missing volume name element")
    if volume.capacity is None:
        raise _error(c.VIR_ERR_XML_ERROR, "missing capacity element")
    target = volume.target
    if target and target.compat is not None and not re.fullmatch("[0-9]+[.][0-9]+", target.compat, re.ASCII):
        raise _error(c.VIR_ERR_XML_ERROR, "forbidden characters in 'compat' attribute")
    if target and target.rest and "features" in target.rest:
        for unknown in target.rest["features"].elements:
            raise _error(c.VIR_ERR_CONFIG_UNSUPPORTED, f"unsupported feature {unknown.tag}")
    return volume


def format_volume(volume: Volume) -> str:
    """The document of a volume."""
    return _VOLUME.format(volume)


def complete_volume(volume: Volume) -> None:
    """Add what libvirt adds on create: full allocation and raw format unless said; drop what is output only."""
    volume.type = volume.type or "file"
    volume.key, volume.physical, volume.source = None, None, ()
    if volume.allocation is None:
        volume.allocation = volume.capacity
    target = volume.target = volume.target or VolumeTarget()
    target.path, target.timestamps = None, None
    target.format = target.format or "raw"
    target.permissions = _meant(target.permissions)
    if (target.lazy_refcounts or target.extended_l2) and target.compat is None:
        target.compat = "1.1"
    backing = volume.backing_store
    if backing:
        backing.timestamps, backing.permissions = None, _meant(backing.permissions)
        backing.format = backing.format or "raw"
        if not backing.path:
            volume.backing_store = None
