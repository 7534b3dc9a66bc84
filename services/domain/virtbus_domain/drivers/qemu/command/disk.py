"""Disks, CD-ROM and floppy drives: the device on top of a disk's block nodes, by the bus it sits on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from virtbus_domain.drivers.qemu.command.arguments import Json, unsupported
from virtbus_domain.drivers.qemu.command.block import CACHE, FORMATS, disk_nodes
from virtbus_domain.drivers.qemu.command.parts import Kind, Part, part_device
from virtbus_domain.drivers.qemu.command.place import Properties, place, transitional, virtio_options
from virtbus_domain.drivers.qemu.command.protocols import protocol_options
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.drivers.qemu.layers import resolved, storage_node
from virtbus_domain.drivers.qemu.names import NARROW_SCSI
from virtbus_domain.normalise.disks import disk_index
from virtbus_domain.xml.address import DriveAddress
from virtbus_domain.xml.disk import Disk, DiskDriver


def disk_parts(disk: Disk, setup: Setup) -> list[Part]:
    """A drive, with its medium if it has one."""
    name, options = str(disk.alias), disk.driver or DiskDriver()
    filled = disk.source is not None and not disk.source.is_empty
    if disk.target_bus == "sd":
        return _card(disk, setup)
    nodes, node = disk_nodes(disk, setup) if filled else ([], None)
    driver, properties = _driver(disk, options, setup)
    device = part_device(
        driver, name, **properties, drive=node,
        bootindex=None if disk.target_bus == "fdc" else setup.boot.get(name), serial=disk.serial,
        share_rw=True if disk.shareable else None, logical_block_size=disk.logical_block_size,
        physical_block_size=disk.physical_block_size, cyls=disk.geometry_cyls, heads=disk.geometry_heads,
        secs=disk.geometry_secs, bios_chs_trans=disk.geometry_trans,
        write_cache=CACHE[options.cache][2] if options.cache in CACHE and filled else None,
        werror=_policy(options.error_policy),
        rerror=_policy(options.rerror_policy or (None if options.error_policy == "enospace" else options.error_policy)))
    return [*nodes, device]


def _card(disk: Disk, setup: Setup) -> list[Part]:
    """A memory card in a reader that is part of the machine: only a drive of the old kind can be put into one."""
    kind, source = resolved(disk, setup.volumes)
    if source.encryption is not None or source.slices:
        raise unsupported(f"the source of '{disk.alias}' on sd")
    found, secrets = protocol_options(source, kind, storage_node(disk), setup, cdrom=False, aio=None)
    options = disk.driver or DiskDriver()
    where: dict[str, Json] = {"file": source.path} if source.path else dict(_flat("file", found))
    return [*secrets, Part(Kind.DRIVE, str(disk.alias), {
        **where, "format": FORMATS[options.type or "raw"], "if": "sd", "index": disk_index(disk.target_dev or ""),
        "readonly": True if disk.readonly else None, "cache": options.cache, "aio": options.io,
        "discard": options.discard, "detect_zeroes": options.detect_zeroes, "werror": _policy(options.error_policy)})]


def _flat(name: str, value: Json) -> Iterator[tuple[str, Json]]:
    """A value with members as an option without JSON syntax holds it: their names after the value's own."""
    members: Iterable[tuple[str, Json]] = ()
    if isinstance(value, Mapping):
        members = value.items()
    elif isinstance(value, list):
        members = ((str(number), item) for number, item in enumerate(value))
    else:
        yield name, value
    for member, item in members:
        yield from _flat(f"{name}.{member}", item)


def _policy(word: str | None) -> str | None:
    """libvirt's error policy in QEMU's word."""
    return {"enospace": "enospc", "default": None}.get(word, word) if word else None


def _driver(disk: Disk, options: DiskDriver, setup: Setup) -> tuple[str, Properties]:
    bus, cdrom, name = disk.target_bus, disk.device == "cdrom", str(disk.alias)
    address = disk.address
    if bus == "virtio" and disk.device in ("disk", "lun"):
        return transitional("virtio-blk-pci", disk.model), _virtio(options) | place(disk, setup)
    if bus == "usb" and disk.device in ("disk", "cdrom"):
        return "usb-storage", {"removable": bool(disk.target_removable), **place(disk, setup)}
    if not isinstance(address, DriveAddress):
        raise unsupported(f"disk '{name}' on {bus}")
    controller, unit = address.controller or 0, address.unit or 0
    wwn: Json = int(disk.wwn, 16) if disk.wwn else None
    if bus == "sata":
        base = "ide" if controller == 0 and setup.is_q35 else setup.controller("sata", controller)
        return "ide-cd" if cdrom else "ide-hd", {"bus": f"{base}.{unit}", "wwn": wwn,
                                                 "rotation_rate": disk.target_rotation_rate}
    if bus == "ide" and controller == 0:
        return "ide-cd" if cdrom else "ide-hd", {"bus": f"ide.{address.bus or 0}", "unit": unit, "wwn": wwn}
    if bus == "fdc":
        bus_name = f"{setup.controller('fdc', controller)}.0" if setup.is_q35 else None
        return "floppy", {"bus": bus_name, "unit": unit}
    if bus == "scsi":
        driver, properties = _scsi(disk, address, setup)
        return driver, properties | {"wwn": wwn}
    raise unsupported(f"disk '{name}' on {bus}")


def _virtio(options: DiskDriver) -> Properties:
    return {"iothread": f"iothread{options.iothread}" if options.iothread else None, "ioeventfd": options.ioeventfd,
            "event_idx": options.event_idx, "num-queues": options.queues, "queue_size": options.queue_size,
            **virtio_options(iommu=options.iommu, ats=options.ats, packed=options.packed,
                             page_per_vq=options.page_per_vq)}


def _scsi(disk: Disk, address: DriveAddress, setup: Setup) -> tuple[str, Properties]:
    controller = address.controller or 0
    model = next((other.model for other in setup.devices.controllers
                  if (other.type, other.index) == ("scsi", controller)), None)
    bus = f"{setup.controller('scsi', controller)}.0"
    where: Properties = {"bus": bus, "scsi_id": address.unit or 0}
    if model not in NARROW_SCSI:
        where = {"bus": bus, "channel": address.bus or 0, "scsi_id": address.target or 0, "lun": address.unit or 0}
    if disk.device == "lun":
        return "scsi-block", where
    # How the guest tells disks apart when nobody gave them serials.
    identity: Json = disk.serial or f"drive-{disk.alias}"
    return "scsi-cd" if disk.device == "cdrom" else "scsi-hd", where | {
        "device_id": identity, "vendor": disk.vendor, "product": disk.product,
        "rotation_rate": disk.target_rotation_rate}
