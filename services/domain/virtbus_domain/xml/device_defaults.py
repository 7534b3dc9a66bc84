"""The passes that concern devices: targets to buses and addresses, controllers that disks need, console mirrors, MACs.

Each function is one of libvirt's rules and changes the devices in place; ``normalise.py`` says when which applies. PCI
addresses are not among them: the ``test`` driver gives none.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

from virtbus_domain.xml.address import DriveAddress, PciAddress
from virtbus_domain.xml.chardev import CONSOLE_TARGETS, Chardev, ChardevTarget
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.disk import Disk, DiskDriver
from virtbus_domain.xml.domain import Devices
from virtbus_domain.xml.interface import GENERATED_TARGET, Interface
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_TARGET = re.compile("(fd|hd|vd|sd|xvd|ubd)([a-z]+)([0-9]*)", re.ASCII)
_BUS_OF_PREFIX = {"fd": "fdc", "hd": "ide", "vd": "virtio", "sd": "scsi", "xvd": "xen", "ubd": "uml"}
# Units per bus and buses per controller of the kinds that have drive addresses, in the order controllers are added.
_DRIVE_SHAPE = {"scsi": (7, 1), "fdc": (2, 1), "ide": (2, 2), "sata": (6, 1)}


def _error(code: int, detail: str | None) -> LibvirtError:
    return LibvirtError(code, detail, domain=c.VIR_FROM_DOMAIN)


def _xml_error(detail: str) -> LibvirtError:
    return _error(c.VIR_ERR_XML_ERROR, detail)


def _all(devices: Devices) -> list[Disk | Controller | Interface | Chardev]:
    return [*devices.disks, *devices.controllers, *devices.interfaces, *devices.serials, *devices.parallels,
            *devices.consoles, *devices.channels]


def drop_runtime(devices: Devices) -> None:
    """Remove generated aliases, pty paths, tap names and ports of a running domain."""
    for device in _all(devices):
        if device.alias and not device.alias.startswith("ua-"):
            device.alias = None
    for disk in devices.disks:
        if disk.source:
            disk.source.index = None
    for interface in devices.interfaces:
        if interface.target_dev and interface.target_dev.startswith(GENERATED_TARGET):
            interface.target_dev = None
        if interface.source:
            interface.source.portid = None
            if interface.source.network is not None:
                interface.source.bridge = None
    for chardev in (*devices.serials, *devices.parallels, *devices.consoles, *devices.channels):
        chardev.tty = None
        if chardev.type == "pty":
            chardev.source = []
        if chardev.target:
            chardev.target.state = None


def complete_addresses(devices: Devices) -> None:
    """What an address leaves out is zero."""
    for device in _all(devices):
        address = device.address
        if isinstance(address, PciAddress):
            address.domain, address.bus = address.domain or 0, address.bus or 0
            address.slot, address.function = address.slot or 0, address.function or 0
            if address.slot > 0x1F:
                raise LibvirtError(c.VIR_ERR_XML_ERROR,
                                   f"Invalid PCI address slot='0x{address.slot:x}', must be <= 0x1F")
        elif isinstance(address, DriveAddress):
            address.controller, address.bus = address.controller or 0, address.bus or 0
            address.target, address.unit = address.target or 0, address.unit or 0


# --- disks ----------------------------------------------------------------------------------------------------------


def disk_index(target: str) -> int:
    """The position that a target's letters mean: "vda" is 0, "sdaa" 26; -1 for a name of another scheme."""
    found = _TARGET.fullmatch(target)
    if not found:
        return -1
    index = 0
    for letter in found[2]:
        index = index * 26 + ord(letter) - ord("a") + 1
    return index - 1


def sort_disks(devices: Devices) -> None:
    """Order disks by target among those with the same bus as written; the first of a bus keeps its place."""
    ordered: list[Disk] = []
    for disk in devices.disks:
        if not disk.target_dev:
            raise _error(c.VIR_ERR_NO_TARGET, None)
        index = disk_index(disk.target_dev)
        place = None
        for position in range(len(ordered) - 1, -1, -1):
            other = ordered[position]
            if other.target_bus == disk.target_bus:
                if disk_index(other.target_dev or "") > index:
                    place = position
                elif place is None:
                    place = position + 1
        ordered.insert(len(ordered) if place is None else place, disk)
    devices.disks = ordered


def complete_disks(devices: Devices, *, qemu: bool) -> None:
    """Type, device, bus and address of each disk."""
    for disk in devices.disks:
        target = disk.target_dev or ""
        disk.type, disk.device = disk.type or "file", disk.device or "disk"
        if disk.device == "cdrom":
            disk.readonly = True
        if disk.source is not None and disk.source.is_empty:
            disk.source = None
        if disk.target_bus is None:
            found = _TARGET.match(target)
            disk.target_bus = _BUS_OF_PREFIX[found[1]] if found else "fdc" if disk.device == "floppy" else "ide"
        if disk.address is None:
            _place_disk(disk)
        if disk.driver and disk.driver == DiskDriver():
            disk.driver = None
        if qemu:
            _qemu_disk_driver(disk)


def check_disks(devices: Devices) -> None:
    """Refuse a disk that has no source, and a target used twice."""
    targets: dict[str, Disk] = {}
    for disk in devices.disks:
        target = disk.target_dev or ""
        if disk.source is None and disk.device in ("disk", "lun"):
            raise _error(c.VIR_ERR_NO_SOURCE, target)
        if target in targets:
            first, second = (entry.source.path if entry.source else None for entry in (targets[target], disk))
            raise _xml_error(f"target '{target}' duplicated for disk sources '{first}' and '{second}'")
        targets[target] = disk


def _place_disk(disk: Disk) -> None:
    index = disk_index(disk.target_dev or "")
    if index < 0:
        raise _xml_error(f"Unknown disk name '{disk.target_dev}' and no address specified")
    if disk.target_bus not in _DRIVE_SHAPE:
        return
    units, buses = _DRIVE_SHAPE[disk.target_bus]
    controller, place = divmod(index, units * buses)
    disk.address = DriveAddress(controller=controller, bus=place // units, target=0, unit=place % units)


def _qemu_disk_driver(disk: Disk) -> None:
    """Never guess a format from content that a guest can write: without a word of the user it is raw."""
    if disk.type == "volume":
        return
    if disk.driver is None:
        disk.driver = DiskDriver()
    disk.driver.name = disk.driver.name or "qemu"
    disk.driver.type = disk.driver.type or "raw"


# --- controllers ----------------------------------------------------------------------------------------------------


def complete_controllers(devices: Devices) -> None:
    """Number the controllers, add those that devices need, and order each kind by number."""
    written, devices.controllers = devices.controllers, []
    for controller in written:
        if controller.index is not None and controller.index < 0:
            controller.index = None
        _insert(devices.controllers, controller)
    for controller in devices.controllers:
        if controller.index is None:
            used = {other.index for other in devices.controllers if other.type == controller.type}
            controller.index = next(number for number in range(len(used) + 1) if number not in used)
    for bus in _DRIVE_SHAPE:
        numbers = [disk.address.controller or 0 for disk in devices.disks
                   if disk.target_bus == bus and isinstance(disk.address, DriveAddress)]
        for number in range(max(numbers, default=-1) + 1):
            _need(devices.controllers, bus, number)
    if any(chardev.target and chardev.target.type == "virtio" for chardev in (*devices.consoles, *devices.channels)):
        _need(devices.controllers, "virtio-serial", 0)


def _need(controllers: list[Controller], kind: str, index: int) -> None:
    if not any(other.type == kind and other.index == index for other in controllers):
        _insert(controllers, Controller(type=kind, index=index))


def _insert(controllers: list[Controller], new: Controller) -> None:
    place = None
    for position in range(len(controllers) - 1, -1, -1):
        other = controllers[position]
        if other.type == new.type:
            if new.index is None:
                place = position + 1
                break
            if (other.index if other.index is not None else -1) > new.index:
                place = position
            elif place is None:
                place = position + 1
    controllers.insert(len(controllers) if place is None else place, new)


# --- interfaces -----------------------------------------------------------------------------------------------------


def complete_interfaces(devices: Devices, randbytes: Callable[[int], bytes]) -> None:
    """Type and MAC address of each interface; refuse a connection that names no other end."""
    for interface in devices.interfaces:
        interface.type = interface.type or "user"
        if interface.type in ("network", "bridge") and interface.source is None:
            raise _xml_error(f"interface type='{interface.type}' requires a 'source' element")
        if interface.type in ("user", "ethernet") and interface.source and interface.source.rest is None:
            interface.source = None
        if interface.mac is None:
            interface.mac = ":".join(f"{byte:02x}" for byte in (0x52, 0x54, 0x00, *randbytes(3)))
        elif int(interface.mac[:2], 16) & 1:
            raise _xml_error(f"expected unicast mac address, found multicast '{interface.mac}'")
        if interface.model is not None and not re.fullmatch("[a-zA-Z0-9_-]+", interface.model, re.ASCII):
            raise _error(c.VIR_ERR_INVALID_ARG, "Model name contains invalid characters")


def name_test_interfaces(devices: Devices) -> None:
    """The test driver gives every interface a host name at define: testnet0, testnet1, ..."""
    used = {interface.target_dev for interface in devices.interfaces}
    number = 0
    for interface in devices.interfaces:
        if interface.target_dev is None:
            while f"testnet{number}" in used:
                number += 1
            interface.target_dev = f"testnet{number}"
            used.add(interface.target_dev)


def qemu_interface_models(devices: Devices) -> None:
    """libvirt's default card on x86, whatever the machine."""
    for interface in devices.interfaces:
        if interface.model is None:
            interface.model = "rtl8139"


# --- character devices ----------------------------------------------------------------------------------------------


def complete_chardevs(devices: Devices, *, full_guest: bool, qemu: bool) -> None:
    """Number ports, fill in targets, and let the first serial port and the first console be one thing."""
    for chardev in (*devices.serials, *devices.parallels, *devices.consoles, *devices.channels):
        chardev.type = chardev.type or "pty"
        chardev.target = chardev.target or ChardevTarget()
        if chardev.type in ("file", "dev", "pipe") and not any(source.path for source in chardev.source):
            raise _error(c.VIR_ERR_INTERNAL_ERROR, "Missing source path attribute for char device")
    for console in devices.consoles:
        assert console.target
        console.target.type = console.target.type or "serial"
        if console.target.type not in CONSOLE_TARGETS:
            raise _error(c.VIR_ERR_CONFIG_UNSUPPORTED,
                         f"unknown target type '{console.target.type}' specified for character device")
    for group in (devices.serials, devices.parallels):
        _number_ports(group)
    if full_guest:
        _mirror_console(devices)
    for number, console in enumerate(devices.consoles):
        assert console.target
        if console.target.port is None or console.target.type != "serial":
            console.target.port = number
    if qemu:
        for serial in devices.serials:
            assert serial.target
            serial.target.type = serial.target.type or "isa-serial"
            if serial.target.type == "isa-serial":
                serial.target.model = serial.target.model or "isa-serial"


def _mirror_console(devices: Devices) -> None:
    """A full guest's first serial console is its first serial port: each implies the other, the port's ends rule."""
    first = devices.consoles[0] if devices.consoles else None
    if first is not None and first.target and first.target.type != "serial":
        return
    if first is not None and not devices.serials:
        serial = copy.deepcopy(first)
        serial.target = ChardevTarget(port=0)
        devices.serials.append(serial)
    if not devices.serials:
        return
    mirror = copy.deepcopy(devices.serials[0])
    mirror.target = ChardevTarget(type="serial", port=mirror.target.port if mirror.target else 0)
    mirror.address = None
    devices.consoles[:1] = [mirror]


def _number_ports(group: list[Chardev]) -> None:
    for chardev in group:
        assert chardev.target
        if chardev.target.port is None:
            taken = [other.target.port for other in group if other.target and other.target.port is not None]
            chardev.target.port = max(taken, default=-1) + 1
