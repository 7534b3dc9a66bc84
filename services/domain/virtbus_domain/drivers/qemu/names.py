"""The names that join a device's XML to QEMU's objects, commands and events: libvirt's aliases.

A user may choose names that begin with "ua-"; all others are generated at start, by libvirt's own scheme, and are part
of the live document only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from virtbus_domain.xml.address import DriveAddress
from virtbus_domain.xml.chardev import ChardevSource
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.device_defaults import disk_index
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.domain import Devices

_PCI_ROOTS = {"pci-root": "pci.0", "pcie-root": "pcie.0"}


def assign_names(devices: Devices) -> None:
    """Give every device that has none its alias: part of making a definition live."""
    for disk in devices.disks:
        disk.alias = disk_name(disk)
    for controller in devices.controllers:
        controller.alias = controller_name(controller)
    for number, interface in enumerate(devices.interfaces):
        interface.alias = numbered("net", number, interface.alias)
    for prefix, group in (("serial", devices.serials), ("console", devices.consoles)):
        for number, chardev in enumerate(group):
            chardev.alias = numbered(prefix, number, chardev.alias)
    if devices.serials and devices.consoles:
        devices.consoles[0].alias = devices.serials[0].alias  # one port, listed twice
    for number, disk in enumerate(devices.disks, 1):
        if disk.source is not None:
            disk.source.index = str(number)


def fill_ptys(devices: Devices, chardevs: Sequence[Mapping[str, object]]) -> None:
    """Put the terminals that QEMU opened (the reply to query-chardev) into the live document.

    The alias of each device must be that of the running guest: see ``assign_names``.
    """
    names = {str(item["label"]): str(item["filename"]).removeprefix("pty:") for item in chardevs
             if str(item["filename"]).startswith("pty:")}
    for group, is_console in ((devices.serials, False), (devices.consoles, True)):
        for device in group:
            path = names.get(f"char{device.alias}")
            if device.type == "pty" and path is not None:
                device.source = [ChardevSource(path=path)]
                device.tty = path if is_console else None  # where clients looked before there was a source


def numbered(prefix: str, number: int, alias: str | None) -> str:
    """The user's name for the device, or the n-th of its kind."""
    return alias or f"{prefix}{number}"


def disk_name(disk: Disk) -> str:
    """virtio-disk0 by the letter of the target, or sata0-0-0 by controller, bus and unit."""
    address = disk.address
    if disk.alias:
        return disk.alias
    if not isinstance(address, DriveAddress):
        return f"{disk.target_bus}-disk{max(disk_index(disk.target_dev or ''), 0)}"
    parts = [address.controller, address.bus, address.unit]
    if disk.target_bus == "scsi":
        parts.insert(2, address.target)
    return f"{disk.target_bus}{'-'.join(str(part or 0) for part in parts)}"


def controller_name(controller: Controller) -> str:
    """usb, usb1, pci.1, scsi0, and ide for the one that is part of the machine."""
    kind, index = controller.type, controller.index or 0
    if controller.alias:
        return controller.alias
    if kind == "pci":
        return _PCI_ROOTS.get(controller.model or "", f"pci.{index}")
    if kind in ("usb", "ide", "fdc") and index == 0:
        return kind
    return f"{kind}{index}"
