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
from virtbus_domain.drivers.qemu.command.setup import Setup
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
    layer, top = _layer(_with_credentials(disk, disk.source), disk.type or "file", driver.type or "raw", driver, setup,
                        read_only=bool(disk.readonly), is_top=True, cdrom=disk.device == "cdrom",
                        backing=_name_below(disk.backing_store, driver.type))
    parts = [*below, *layer]
    if disk.iotune is not None and (limits := _limits(disk.iotune)):
        group = disk.iotune.group_name or f"throttle-{disk.alias}"
        name = f"libvirt-{disk.source.index}-throttle"
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
    layer, _ = _layer(backing.source, backing.type or "file", backing.format or "raw", driver, setup, read_only=True,
                      is_top=False, cdrom=False, backing=_name_below(backing.backing_store, backing.format))
    return [*_backing_nodes(backing.backing_store, driver, setup), *layer]


def _name_below(backing: BackingStore | None, image_format: str | None) -> str | Null | None:
    """The node below an image: none named lets QEMU look into the image, null says that there is none."""
    if backing is None or image_format not in _CHAINED:
        return None
    return Null.NULL if backing.source is None else f"libvirt-{backing.source.index}-format"


def _layer(source: DiskSource, kind: str, image_format: str, driver: DiskDriver, setup: Setup, *, read_only: bool,
           is_top: bool, cdrom: bool, backing: str | Null | None) -> tuple[list[Part], str]:
    storage, name = f"libvirt-{source.index}-storage", f"libvirt-{source.index}-format"
    if image_format not in FORMATS:
        raise unsupported(f"image format '{image_format}' of '{storage}'")
    direct, no_flush, _ = CACHE.get(driver.cache or "", (None, None, None))
    cache: Json = None if direct is None else {"direct": direct, "no_flush": no_flush}
    options, secrets = protocol_options(source, kind, storage, setup, cdrom=cdrom, aio=driver.io if is_top else None)
    protocol = part_blockdev(str(options.pop("driver")), storage, **options, cache=cache, auto_read_only=True,
                             discard="unmap")
    properties, key = _format_options(source, image_format, name, setup)
    upper: dict[str, Json] = {}
    if is_top:
        upper = {"discard": driver.discard, "detect_zeroes": driver.detect_zeroes}
    if driver.metadata_cache_max_size is not None and image_format == "qcow2" and is_top:
        upper["cache_size"] = driver.metadata_cache_max_size
    formatted = part_blockdev(
        "luks" if key and image_format == "raw" else FORMATS[image_format], name, read_only=read_only, cache=cache,
        file=storage, backing=backing, **upper, **properties)
    return [*secrets, protocol, *key, formatted], name


def _format_options(source: DiskSource, image_format: str, name: str, setup: Setup
                    ) -> tuple[dict[str, Json], list[Part]]:
    """What the format node needs beyond its name: a part of the file, or the key of an encrypted image."""
    properties: dict[str, Json] = {}
    for piece in source.slices:
        if image_format != "raw":
            raise unsupported(f"a slice of an image of format '{image_format}'")
        properties |= {"offset": piece.offset, "size": piece.size}
    encryption = source.encryption
    if encryption is None:
        return properties, []
    if encryption.format not in ("luks", "default", "qcow") or encryption.engine not in (None, "qemu"):
        raise unsupported(f"encryption '{encryption.format}' by '{encryption.engine}'")
    secret = f"{name}-encryption-secret0"
    key: Mapping[str, Json] = {"format": "luks", "key_secret": secret}
    if image_format == "qcow2":
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
