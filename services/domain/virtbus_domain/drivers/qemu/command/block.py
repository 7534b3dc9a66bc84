"""The block graph under a disk: protocol, format and filter nodes, for every layer of its chain.

Nodes are named as libvirt names them, by the ``index`` of their layer, which the live document shows: clients address
block jobs by it. A layer is a protocol node ("libvirt-3-storage") under a format node ("libvirt-3-format"); a limit on
throughput and copy-on-read are filters on top. QEMU's document: the QMP reference, ``BlockdevOptions``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from virtbus_domain.drivers.qemu.command.arguments import Json, Null, unsupported
from virtbus_domain.drivers.qemu.command.parts import Part, part_blockdev, part_object
from virtbus_domain.drivers.qemu.command.protocols import protocol_options
from virtbus_domain.drivers.qemu.command.secret_names import key_secret
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.drivers.qemu.layers import Layer, format_node, image_format, number, resolved, storage_node
from virtbus_domain.xml.disk import BackingStore, Disk, DiskDriver, Iotune
from virtbus_domain.xml.storage_source import DiskSource

# cache mode: (direct, no-flush) of the block nodes and the device's write cache. qemu(1), "-drive cache=".
CACHE = {
    "none": (True, False, "on"), "writeback": (False, False, "on"), "writethrough": (False, False, "off"),
    "directsync": (True, False, "off"), "unsafe": (False, True, "on")}
# libvirt's name of a format: QEMU's driver.
FORMATS = {"raw": "raw", "iso": "raw", "fat": "raw", "dir": "raw", "luks": "luks", "qcow2": "qcow2", "qcow": "qcow",
            "qed": "qed", "vmdk": "vmdk", "vdi": "vdi", "vpc": "vpc", "vhd": "vpc", "bochs": "bochs",
            "cloop": "cloop", "dmg": "dmg", "ploop": "parallels"}
_CHAINED = frozenset(("qcow2", "qcow", "qed", "vmdk"))  # formats that can have a layer below
IOTUNE = {  # our name of a limit: QEMU's in ThrottleLimits
    f"{direction}_{unit}_sec{suffix}": f"{qemu_unit}-{direction}{qemu_suffix}"
    for direction in ("total", "read", "write") for unit, qemu_unit in (("bytes", "bps"), ("iops", "iops"))
    for suffix, qemu_suffix in (("", ""), ("_max", "-max"), ("_max_length", "-max-length"))}


def disk_nodes(disk: Disk, setup: Setup) -> tuple[list[Part], str]:
    """The nodes of a disk that has a source, lowest first, and the name of the node for the device to use."""
    assert disk.source is not None
    driver = disk.driver or DiskDriver()
    if driver.name not in (None, "qemu"):
        raise unsupported(f"driver '{driver.name}' of '{disk.alias}'")
    below = _backing_nodes(disk.backing_store, driver, setup)
    layer, top = _layer(disk, driver, setup, read_only=bool(disk.readonly), cdrom=disk.device == "cdrom")
    parts = [*below, *layer]
    if disk.iotune is not None and (limits := _limits(disk.iotune)):
        group = disk.iotune.group_name or f"throttle-{disk.alias}"
        name = f"libvirt-{number(disk)}-throttle"
        if _is_first_of_group(disk, setup):
            parts.append(part_object("throttle-group", group, limits=limits))
        parts.append(part_blockdev("throttle", name, throttle_group=group, file=top))
        top = name
    if driver.copy_on_read:
        name = f"libvirt-CoR-{disk.target_dev}"
        parts.append(part_blockdev("copy-on-read", name, file=top, discard=driver.discard))
        top = name
    return parts, top


def _with_credentials(disk: Disk, source: DiskSource) -> DiskSource:
    """The topmost layer with the user and the key that may also be said of the disk itself."""
    if disk.auth is None and disk.encryption is None:
        return source
    complete = copy.copy(source)
    complete.auth, complete.encryption = disk.auth or source.auth, disk.encryption or source.encryption
    return complete


def _is_first_of_group(disk: Disk, setup: Setup) -> bool:
    """Whether no disk in front of this one shares its limits: what they share exists once."""
    group = disk.iotune.group_name if disk.iotune else None
    sharing = (other for other in setup.devices.disks
               if other.source is not None and other.iotune is not None and other.iotune.group_name == group)
    return not group or next(sharing, disk).target_dev == disk.target_dev


def _backing_nodes(backing: BackingStore | None, driver: DiskDriver, setup: Setup) -> list[Part]:
    """The layers below, the lowest first. They are only read."""
    if backing is None or backing.source is None:
        return []
    layer, _ = _layer(backing, driver, setup, read_only=True, cdrom=False)
    return [*_backing_nodes(backing.backing_store, driver, setup), *layer]


def _name_below(layer: Layer) -> str | Null | None:
    """The node below an image: none named lets QEMU look into the image, null says that there is none."""
    backing = layer.backing_store
    if backing is None or image_format(layer) not in _CHAINED:
        return None
    return Null.NULL if backing.source is None else format_node(backing)


def _layer(layer: Layer, driver: DiskDriver, setup: Setup, *, read_only: bool, cdrom: bool) -> tuple[list[Part], str]:
    kind, source = resolved(layer, setup.volumes)
    if isinstance(layer, Disk):
        source = _with_credentials(layer, source)
    storage, name = storage_node(layer), format_node(layer)
    known = image_format(layer)
    if known not in FORMATS:
        raise unsupported(f"image format '{known}' of '{storage}'")
    direct, no_flush, _ = CACHE.get(driver.cache or "", (None, None, None))
    cache: Json = None if direct is None else {"direct": direct, "no_flush": no_flush}
    options, secrets = protocol_options(source, kind, storage, setup, cdrom=cdrom, aio=driver.io)
    protocol = part_blockdev(str(options.pop("driver")), storage, **options, cache=cache, auto_read_only=True,
                             discard="unmap")
    properties, key = _format_options(source, known, name, setup)
    upper: dict[str, Json] = {"discard": driver.discard}
    if isinstance(layer, Disk):
        upper["detect_zeroes"] = driver.detect_zeroes
    if known == "qcow2":
        upper["cache_size"] = (driver if isinstance(layer, Disk) else layer).metadata_cache_max_size
    formatted = part_blockdev(
        "luks" if key and known == "raw" else FORMATS[known], name, read_only=read_only, cache=cache, file=storage,
        backing=_name_below(layer), **upper, **properties)
    return [*secrets, protocol, *key, formatted], name


def _format_options(source: DiskSource, known: str, name: str, setup: Setup
                    ) -> tuple[dict[str, Json], list[Part]]:
    """What the format node needs beyond its name: a part of the file, or the key of an encrypted image."""
    properties: dict[str, Json] = {}
    for piece in source.slices:
        if known != "raw":
            raise unsupported(f"a slice of an image of format '{known}'")
        properties |= {"offset": piece.offset, "size": piece.size}
    encryption = source.encryption
    if encryption is None or encryption.engine == "librbd":  # that one is the protocol node's
        return properties, []
    if encryption.format not in ("luks", "default", "qcow"):
        raise unsupported(f"encryption '{encryption.format}' by '{encryption.engine}'")
    secret = key_secret(name)
    key: Mapping[str, Json] = {"format": "luks", "key_secret": secret}
    if known == "qcow2":
        properties["encrypt"] = key
    else:
        properties["key_secret"] = secret
    return properties, [setup.secret(secret)]


def _limits(iotune: Iotune) -> dict[str, Json]:
    limits: dict[str, Json] = {}
    for ours, theirs in IOTUNE.items():
        value = getattr(iotune, ours)
        if value:
            limits[theirs] = value
    if iotune.size_iops_sec:
        limits["iops-size"] = iotune.size_iops_sec
    return limits
