"""Disks: what is left out of one, the bus that its target means, and the order in which they stand."""

from __future__ import annotations

import re

from virtbus_domain.normalise.context import Context, xml_error
from virtbus_domain.xml.disk import Disk, DiskDriver
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.storage_source import DiskSource, StorageHost
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_TARGET = re.compile("(fd|hd|vd|sd|xvd|ubd)([a-z]+)([0-9]*)", re.ASCII)
_BUS_OF_PREFIX = {"hd": "ide", "vd": "virtio", "sd": "scsi", "xvd": "xen", "ubd": "uml"}


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
        if disk.target_dev is None:
            named = disk.source.path if disk.source else None
            raise LibvirtError(c.VIR_ERR_NO_TARGET, named, domain=c.VIR_FROM_DOMAIN)
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
        source = disk.source
        if source is not None and source.is_empty and source.startup_policy is None:
            disk.source = source = None
        if disk.target_bus is None:
            disk.target_bus = _bus(disk)
        if disk.readonly and disk.snapshot == "no":
            disk.snapshot = None  # what a read-only disk does anyway
        elif disk.type == "vhostuser":
            disk.snapshot = "no"  # only its daemon could take one
        if source is not None and (source.protocol is not None or disk.backing_store is not None):
            _complete_network(disk, source)
        if context.qemu:
            _choose_format(disk)
            for encryption in (disk.encryption, source.encryption if source else None):
                if encryption is not None:
                    encryption.engine = encryption.engine or "qemu"


def _bus(disk: Disk) -> str:
    if disk.device == "floppy":
        return "fdc"
    found = _TARGET.match(disk.target_dev or "")
    return _BUS_OF_PREFIX.get(found[1], "ide") if found else "ide"


def _complete_network(disk: Disk, source: DiskSource) -> None:
    source.name = first_unit(source.protocol, source.name)
    complete_ports(source.protocol, source.hosts)
    layer = disk.backing_store
    while layer is not None:
        if layer.source is not None:
            complete_ports(layer.source.protocol, layer.source.hosts)
        layer = layer.backing_store


def first_unit(protocol: str | None, name: str | None) -> str | None:
    """An iSCSI target of which no unit is named means its first."""
    return f"{name}/0" if protocol == "iscsi" and "/" not in (name or "/") else name


def complete_ports(protocol: str | None, hosts: list[StorageHost]) -> None:
    """Servers listen where their kind does unless said otherwise."""
    port = _PORTS.get(protocol or "")
    for host in hosts:
        if host.port is None and port is not None and host.transport in (None, "tcp"):
            host.port = port


_PORTS = {"http": 80, "https": 443, "ftp": 21, "ftps": 990, "tftp": 69, "iscsi": 3260, "nbd": 10809, "ssh": 22,
          "gluster": 24007, "sheepdog": 7000, "vxhs": 9999}


def _choose_format(disk: Disk) -> None:
    """Never guess a format from content that a guest can write: without a word of the user it is raw."""
    if disk.driver is None:
        disk.driver = DiskDriver()
    disk.driver.name = disk.driver.name or "qemu"
    if disk.type != "volume":
        disk.driver.type = disk.driver.type or "raw"


def check_targets(domain: Domain, context: Context) -> None:
    """Refuse a target that is used twice."""
    del context
    assert domain.devices
    targets: dict[str, Disk] = {}
    for disk in domain.devices.disks:
        target = disk.target_dev or ""
        if target in targets:
            first, second = (entry.source.path if entry.source else None for entry in (targets[target], disk))
            raise xml_error(f"target '{target}' duplicated for disk sources '{first}' and '{second}'")
        targets[target] = disk
