"""Drive addresses: the controller and unit that a disk's letters mean, a unit for SCSI devices of the host.

Letters count through the units of a controller, and then through controllers, as guests name their disks.
"""

from __future__ import annotations

from virtbus_domain.normalise.address_sets import ScsiUnits
from virtbus_domain.normalise.context import Context, qemu_unsupported, unsupported, xml_error
from virtbus_domain.normalise.disks import disk_index
from virtbus_domain.xml.address import DriveAddress, UnassignedAddress, UsbAddress
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.hostdev import Hostdev
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

# Units on a bus and buses of a controller, of the kinds of disk that have drive addresses.
DRIVE_SHAPES = {"scsi": (7, 1), "fdc": (2, 1), "ide": (2, 2), "sata": (6, 1)}

# What of a drive address has to be zero under QEMU, by bus, and how libvirt puts it; some it calls internal errors.
_CALLED_INTERNAL = ("SCSI controller only supports 1 bus", "Only 1 IDE controller is supported",
                    "Only 1 fdc controller is supported", "Only 1 fdc bus is supported")
_ZERO = {
    "scsi": (("bus", _CALLED_INTERNAL[0]),),
    "ide": (("controller", _CALLED_INTERNAL[1]), ("target", "target must be 0 for ide controller")),
    "sata": (("bus", "bus must be 0 for sata controller"), ("target", "target must be 0 for sata controller")),
    "fdc": (("controller", _CALLED_INTERNAL[2]), ("bus", _CALLED_INTERNAL[3]),
            ("target", "target must be 0 for controller fdc")),
}


def assign_drives(domain: Domain, context: Context) -> None:
    """Give every disk of such a bus, and every SCSI device of the host, its unit. Raises ``LibvirtError``."""
    del context
    assert domain.devices
    devices = domain.devices
    hosts = [hostdev for hostdev in devices.hostdevs if _is_scsi(hostdev)]
    assigned = scsi_units(hosts=hosts) if hosts else None
    for disk in devices.disks:
        if disk.address is None:
            _place_disk(disk, assigned)
    if hosts:
        _place_hosts(hosts, devices)


def scsi_units(disks: list[Disk] | None = None, hosts: list[Hostdev] | None = None) -> ScsiUnits:
    """The units that disks and devices of the host have by their addresses."""
    units = ScsiUnits()
    for device in (*(disk for disk in disks or () if disk.target_bus == "scsi"), *(hosts or ())):
        if isinstance(device.address, DriveAddress):
            units.reserve(device.address, device)
    return units


def add_host_controllers(domain: Domain, context: Context) -> None:
    """A SCSI controller for each number up to the highest that a SCSI device of the host has, of that one's model.

    libvirt does this twice: while it reads, when devices without an address count as being on controller 0, and again
    when all have one.
    """
    assert domain.devices
    controllers = domain.devices.controllers
    highest, model = -1, None
    for hostdev in domain.devices.hostdevs:
        if not _is_scsi(hostdev):
            continue
        index = (hostdev.address.controller or 0) if isinstance(hostdev.address, DriveAddress) else 0
        if index > highest:
            highest = index
            model = next((controller.model for controller in controllers
                          if controller.type == "scsi" and controller.index == index), None) or model
    known = {controller.index for controller in controllers if controller.type == "scsi"}
    controllers += [Controller(type="scsi", index=index, model=model or ("lsilogic" if context.qemu else None))
                    for index in range(highest + 1) if index not in known]


def check_drive_places(domain: Domain, context: Context) -> None:
    """Refuse an address of another kind than the disk's bus has, and one that QEMU's bus does not have."""
    assert domain.devices
    models = {controller.index: controller.model for controller in domain.devices.controllers
              if controller.type == "scsi"}
    for disk in domain.devices.disks:
        address, bus = disk.address, disk.target_bus or ""
        if type(address) is UnassignedAddress:
            raise unsupported("address of type 'unassigned' is supported only for hostdevs")
        if bus in DRIVE_SHAPES and type(address) is not DriveAddress:
            raise unsupported(f"Invalid address type '{getattr(address, 'type', None)}' for the disk "
                              f"'{disk.target_dev}' with the bus type '{bus}'")
        if not context.qemu:
            continue
        if bus == "usb" and type(address) is not UsbAddress:
            raise _internal("unexpected address type for usb disk")
        if type(address) is DriveAddress:
            _check_shape(bus, address, models)
    if context.qemu:
        for hostdev in domain.devices.hostdevs:
            if _is_scsi(hostdev) and type(hostdev.address) is DriveAddress:
                _check_shape("scsi", hostdev.address, models)


def check_drive_conflicts(domain: Domain, context: Context) -> None:
    """Refuse two disks, or two SCSI devices of the host, in one place."""
    del context
    assert domain.devices
    first: dict[tuple[str | None, int, int, int, int], Disk] = {}
    for disk in domain.devices.disks:
        if type(disk.address) is DriveAddress:
            other = first.setdefault((disk.target_bus, *ScsiUnits.key(disk.address)), disk)
            if other is not disk:
                raise unsupported(f"Found duplicate drive address for disk with target name '{other.target_dev}' "
                                  f"{_shown(disk.address)}'")
    units = [ScsiUnits.key(hostdev.address) for hostdev in domain.devices.hostdevs
             if _is_scsi(hostdev) and type(hostdev.address) is DriveAddress]
    for controller, bus, target, unit in (unit for unit in units if units.count(unit) > 1):
        # libvirt names the first of them, and has the first two numbers the wrong way round.
        raise unsupported(f"SCSI host address controller='{bus}' bus='{controller}' target='{target}' unit='{unit}' "
                          "in use by another SCSI host device")


def _is_scsi(hostdev: Hostdev) -> bool:
    return hostdev.mode == "subsystem" and hostdev.type == "scsi"


def _shown(address: DriveAddress) -> str:
    """As libvirt shows it, which does not always close the last quote."""
    controller, bus, target, unit = ScsiUnits.key(address)
    return f"controller='{controller}' bus='{bus}' target='{target}' unit='{unit}"


def _place_disk(disk: Disk, hosts: ScsiUnits | None) -> None:
    index = disk_index(disk.target_dev or "")
    if index < 0:
        raise xml_error(f"Unknown disk name '{disk.target_dev}' and no address specified")
    if disk.target_bus not in DRIVE_SHAPES:
        return
    units, buses = DRIVE_SHAPES[disk.target_bus]
    controller, place = divmod(index, units * buses)
    address = DriveAddress(controller=controller, bus=place // units, target=0, unit=place % units)
    if disk.target_bus == "scsi" and hosts is not None and hosts.holder(address) is not None:
        raise unsupported(f"using disk target name '{disk.target_dev}' conflicts with SCSI host device address "
                          f"{_shown(address)}")
    disk.address = address


def _place_hosts(hosts: list[Hostdev], devices: Devices) -> None:
    units = scsi_units(devices.disks, hosts)
    for hostdev in hosts:
        if hostdev.address is None:
            hostdev.address = units.next_free()
            units.reserve(hostdev.address, hostdev)
        elif isinstance(hostdev.address, DriveAddress) and isinstance(units.holder(hostdev.address), Disk):
            raise xml_error(f"SCSI host address {_shown(hostdev.address)}' in use by a SCSI disk")


def _check_shape(bus: str, address: DriveAddress, scsi_models: dict[int | None, str | None]) -> None:
    for name, refusal in _ZERO.get(bus, ()):
        if getattr(address, name):
            raise _internal(refusal) if refusal in _CALLED_INTERNAL else qemu_unsupported(refusal)
    if bus == "scsi" and address.target and scsi_models.get(address.controller) == "lsilogic":
        raise qemu_unsupported("target must be 0 for controller model 'lsilogic'")


def _internal(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_INTERNAL_ERROR, detail, domain=c.VIR_FROM_QEMU)
