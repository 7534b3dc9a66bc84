"""Disks: what is left out of one, the bus that its target means, and the order in which they stand."""

from __future__ import annotations

import re

from virtbus_domain.normalise.context import Context, qemu_unsupported, xml_error
from virtbus_domain.xml.disk import Disk, DiskDriver
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.storage_source import DiskSource
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_TARGET = re.compile("(fd|hd|vd|sd|xvd|ubd)([a-z]+)([0-9]*)", re.ASCII)
_BUS_OF_PREFIX = {"fd": "fdc", "hd": "ide", "vd": "virtio", "sd": "scsi", "xvd": "xen", "ubd": "uml"}


def disk_index(target: str) -> int:
    """The position that a target's letters mean: "vda" is 0, "sdaa" 26; -1 for a name of another scheme."""
    found = _TARGET.fullmatch(target)
    if not found:
        return -1
    index = 0
    for letter in found[2]:
        index = index * 26 + ord(letter) - ord("a") + 1
    return index - 1


def sort_disks(domain: Domain, context: Context) -> None:
    """Order disks by target among those with the same bus as written; the first of a bus keeps its place."""
    del context
    assert domain.devices
    ordered: list[Disk] = []
    indexes: list[int] = []
    for disk in domain.devices.disks:
        if not disk.target_dev:
            raise LibvirtError(c.VIR_ERR_NO_TARGET, None, domain=c.VIR_FROM_DOMAIN)
        index = disk_index(disk.target_dev)
        place = None
        for position in range(len(ordered) - 1, -1, -1):
            if ordered[position].target_bus == disk.target_bus:
                if indexes[position] > index:
                    place = position
                elif place is None:
                    place = position + 1
        if place is None:
            place = len(ordered)
        ordered.insert(place, disk)
        indexes.insert(place, index)
    domain.devices.disks = ordered


def complete_disks(domain: Domain, context: Context) -> None:
    """Type, device and bus of each disk; under QEMU also the format."""
    assert domain.devices
    for disk in domain.devices.disks:
        disk.type, disk.device = disk.type or "file", disk.device or "disk"
        if disk.device == "cdrom":
            disk.readonly = True
        if disk.source is not None and disk.source.is_empty and disk.source.startup_policy is None:
            disk.source = None
        if disk.target_bus is None:
            found = _TARGET.match(disk.target_dev or "")
            disk.target_bus = _BUS_OF_PREFIX[found[1]] if found else "fdc" if disk.device == "floppy" else "ide"
        if disk.driver and disk.driver == DiskDriver():
            disk.driver = None
        if disk.readonly and disk.snapshot == "no":
            disk.snapshot = None  # what a read-only disk does anyway
        if disk.source is not None:
            _complete_ports(disk.source)
        if context.qemu:
            _choose_format(disk)
            for encryption in (disk.encryption, disk.source.encryption if disk.source else None):
                if encryption is not None:
                    encryption.engine = encryption.engine or "qemu"


def _complete_ports(source: DiskSource) -> None:
    """Servers listen where their kind does unless said otherwise."""
    port = _PORTS.get(source.protocol or "")
    for host in source.hosts:
        if host.port is None and port is not None and host.transport in (None, "tcp"):
            host.port = port


_PORTS = {"http": 80, "https": 443, "ftp": 21, "ftps": 990, "tftp": 69, "iscsi": 3260, "nbd": 10809, "ssh": 22,
          "gluster": 24007, "sheepdog": 7000}


def _choose_format(disk: Disk) -> None:
    """Never guess a format from content that a guest can write: without a word of the user it is raw."""
    if disk.driver is None:
        disk.driver = DiskDriver()
    disk.driver.name = disk.driver.name or "qemu"
    if disk.type != "volume":
        disk.driver.type = disk.driver.type or "raw"


def check_targets(domain: Domain, context: Context) -> None:
    """Refuse a disk that has no source, and a target used twice."""
    del context
    assert domain.devices
    targets: dict[str, Disk] = {}
    for disk in domain.devices.disks:
        target = disk.target_dev or ""
        if disk.source is None and disk.device in ("disk", "lun"):
            raise LibvirtError(c.VIR_ERR_NO_SOURCE, target, domain=c.VIR_FROM_DOMAIN)
        if target in targets:
            first, second = (entry.source.path if entry.source else None for entry in (targets[target], disk))
            raise xml_error(f"target '{target}' duplicated for disk sources '{first}' and '{second}'")
        targets[target] = disk


_UNSHAREABLE = frozenset(("qcow2", "qcow", "qed", "vmdk", "vdi", "vpc", "luks"))


def check_disks(domain: Domain, context: Context) -> None:
    """Refuse a bus that the machine lacks, and what the disk's bus or format cannot carry."""
    assert domain.devices
    assert domain.os
    if not context.qemu:
        return
    q35 = (domain.os.machine or "").startswith("pc-q35")
    for disk in domain.devices.disks:
        if disk.wwn and disk.target_bus not in ("ide", "scsi"):
            raise qemu_unsupported("Only ide and scsi disk support wwn")
        if (disk.vendor or disk.product) and disk.target_bus != "scsi":
            raise qemu_unsupported("Only scsi disk supports vendor and product")
        if disk.shareable and disk.driver and disk.driver.type in _UNSHAREABLE:
            raise qemu_unsupported(f"shared access for disk '{disk.target_dev}' requires use of supported storage "
                                   "format")
        if q35 and disk.target_bus == "ide":
            raise qemu_unsupported("IDE controllers are unsupported for this QEMU binary or machine type")
