"""The names that join a device's XML to QEMU's objects, commands and events: libvirt's aliases.

A user may choose names that begin with "ua-"; all others are generated at start, by libvirt's own scheme, and are part
of the live document only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from virtbus_domain.drivers.qemu.layers import number_layers
from virtbus_domain.normalise.disks import disk_index
from virtbus_domain.xml.address import DriveAddress
from virtbus_domain.xml.chardev import ChardevSource
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.domain import Devices
from virtbus_domain.xml.memory_device import MemoryDevice

_PCI_ROOTS = {"pci-root": "pci.0", "pcie-root": "pcie.0"}
# SCSI adapters that know targets, and no logical units below them.
NARROW_SCSI = frozenset(("lsilogic", "am53c974", "dc390"))
# Field of ``Devices``: the prefix of its names; a number follows.
_NUMBERED = {
    "filesystems": "fs", "interfaces": "net", "smartcards": "smartcard", "serials": "serial", "parallels": "parallel",
    "consoles": "console", "channels": "channel", "inputs": "input", "tpms": "tpm", "sounds": "sound",
    "videos": "video", "hostdevs": "hostdev", "redirdevs": "redir", "hubs": "hub", "watchdogs": "watchdog",
    "rngs": "rng", "panics": "panic", "shmems": "shmem", "cryptos": "crypto"}
_SINGLE = {"memballoon": "balloon0", "vsock": "vsock0", "iommu": "iommu0", "nvram": "nvram"}
_MEMORY = {"dimm": "dimm", "nvdimm": "nvdimm", "virtio-mem": "virtiomem", "virtio-pmem": "virtiopmem",
           "sgx-epc": "epc"}


def assign_names(devices: Devices, *, q35: bool) -> None:
    """Give every device that has none its alias, and every layer of a disk its number: part of going live."""
    narrow = {controller.index for controller in devices.controllers
              if controller.type == "scsi" and controller.model in NARROW_SCSI}
    for disk in devices.disks:
        disk.alias = disk_name(disk, narrow)
    for controller in devices.controllers:
        controller.alias = controller_name(controller, q35=q35)
    # A card that is a function of the host's is a host device by another name.
    functions = [card for card in devices.interfaces if card.type == "hostdev"]
    groups: dict[str, list[Any]] = {
        "interfaces": [card for card in devices.interfaces if card.type != "hostdev"],
        "hostdevs": [*functions, *devices.hostdevs]}
    for family, prefix in _NUMBERED.items():
        _number(groups.get(family, getattr(devices, family)), family, prefix)
    for family, name in _SINGLE.items():
        device = getattr(devices, family)
        if device is not None and device.alias is None:
            device.alias = name
    for number, memory in enumerate(devices.memories):
        memory.alias = memory.alias or memory_name(memory, number)
    if devices.serials and devices.consoles and _is_mirror(devices):
        devices.consoles[0].alias = devices.serials[0].alias  # one port, listed twice
    number_layers(devices.disks)


def _is_mirror(devices: Devices) -> bool:
    target = devices.consoles[0].target
    return target is None or target.type == "serial"


# Families in which a number is the next one that is free, so that a device with a name of the user's choice uses none
# up; in the others it is the place in the list. libvirt is like that, and scripts know the names.
_BY_FREE_NUMBER = frozenset(("interfaces", "hostdevs", "rngs"))


def _number(group: Iterable[Any], family: str, prefix: str) -> None:
    devices = list(group)
    taken = [int(device.alias.removeprefix(prefix)) for device in devices
             if device.alias and device.alias.removeprefix(prefix).isdecimal()]
    following = max(taken, default=-1) + 1
    for place, device in enumerate(devices):
        if device.alias is None:
            device.alias = f"{prefix}{following if family in _BY_FREE_NUMBER else place}"
            following += 1


def fill_ptys(devices: Devices, chardevs: Sequence[Mapping[str, object]]) -> None:
    """Put the terminals that QEMU opened (the reply to query-chardev) into the live document.

    The alias of each device must be that of the running guest: see ``assign_names``.
    """
    names = {str(item["label"]): str(item["filename"]).removeprefix("pty:") for item in chardevs
             if str(item["filename"]).startswith("pty:")}
    for group, is_console in ((devices.serials, False), (devices.parallels, False), (devices.channels, False),
                              (devices.consoles, True)):
        for device in group:
            path = names.get(f"char{device.alias}")
            if device.type == "pty" and path is not None:
                device.source = [ChardevSource(path=path)]
                device.tty = path if is_console else None  # where clients looked before there was a source


def disk_name(disk: Disk, narrow: Collection[int | None] = ()) -> str:
    """virtio-disk0 by the letter of the target, or sata0-0-0 by controller, bus and unit.

    ``narrow`` are the SCSI controllers without logical units.
    """
    address = disk.address
    if disk.alias:
        return disk.alias
    if not isinstance(address, DriveAddress):
        return f"{disk.target_bus}-disk{max(disk_index(disk.target_dev or ''), 0)}"
    parts = [address.controller, address.bus, address.unit]
    if disk.target_bus == "scsi" and address.controller not in narrow:
        parts.insert(2, address.target)
    return f"{disk.target_bus}{'-'.join(str(part or 0) for part in parts)}"


def controller_name(controller: Controller, *, q35: bool) -> str:
    """usb, usb1, pci.1, scsi0; ide for the disk controller that is part of the machine."""
    kind, index = controller.type, controller.index or 0
    if controller.alias:
        return controller.alias
    if kind == "pci":
        return _PCI_ROOTS.get(controller.model or "", f"pci.{index}")
    if index == 0 and (kind in ("usb", "ide") or (kind == "sata" and q35)):
        return "ide" if kind == "sata" else kind
    return f"{kind}{index}"


def memory_name(memory: MemoryDevice, number: int) -> str:
    """dimm0 by the slot of the module, or virtiomem0 by its place in the list."""
    slot = getattr(memory.address, "slot", None)
    is_module = memory.model in ("dimm", "nvdimm") and slot is not None and not hasattr(memory.address, "function")
    return f"{_MEMORY.get(memory.model or 'dimm', 'dimm')}{slot if is_module else number}"
