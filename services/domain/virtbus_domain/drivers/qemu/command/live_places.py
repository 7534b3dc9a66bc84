"""Where a new device goes in a running domain, and what it is called there.

The address sets of define say what is free; what is different is that buses cannot be added, so a domain that has no
free place refuses, and that a place must be one where devices come and go. Names are the next ones of the scheme that
a start uses, numbers of layers are larger than all that are in use: nobody mistakes a device for one that has gone.
"""

from __future__ import annotations

import copy
from string import digits
from typing import Any

from virtbus_domain.drivers.qemu.command.devices import of_family
from virtbus_domain.drivers.qemu.command.live_disk import number_layers
from virtbus_domain.drivers.qemu.names import assign_names
from virtbus_domain.normalise.address_sets import MemorySlots
from virtbus_domain.normalise.addresses import complete_addresses
from virtbus_domain.normalise.context import Context, qemu_unsupported, unsupported
from virtbus_domain.normalise.drive import assign_drives, scsi_units
from virtbus_domain.normalise.pci import pci_buses
from virtbus_domain.normalise.pci_buses import CONVENTIONAL, EXPRESS, HOTPLUGGABLE, is_empty, wants_address
from virtbus_domain.normalise.pci_kinds import given_kind, host_is_express, pci_kind
from virtbus_domain.normalise.usb import plugged_devices, usb_ports
from virtbus_domain.normalise.virtio_serial import virtio_serial_ports
from virtbus_domain.xml.address import DimmAddress, DriveAddress, PciAddress, UsbAddress, VirtioSerialAddress
from virtbus_domain.xml.chardev import Chardev
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.hostdev import Hostdev
from virtbus_domain.xml.memory_device import MemoryDevice
from virtbus_domain.xml.redirdev import Redirdev
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_USER_ALIAS = "ua-"
_ONE_OF = {"watchdogs": "domain already has a watchdog", "vsock": "the domain already has a vsock device"}


def place_new(domain: Domain, family: str, device: Any, context: Context) -> list[Controller]:
    """Give a device that is about to be plugged in its place, its name and the numbers of its layers.

    ``family`` is the field of ``Devices`` that will hold it; ``domain`` stays as it is. What is returned are the
    controllers that have to be plugged in first, in this order. Raises ``LibvirtError`` when there is no place.
    """
    devices = _devices(domain)
    _check_number(devices, family, device)
    alone = Domain(devices=_holding(Devices(), family, device))
    complete_addresses(alone, context)
    _place_drive(devices, device, context)
    needed = []
    for controller in _missing_controllers(devices, device):
        place_new(domain, "controllers", controller, context)
        domain = with_device(domain, "controllers", controller)
        needed.append(controller)
    if any(plugged_devices(_devices(alone))):
        _place_usb(devices, device)
    if isinstance(device, Chardev) and device.target is not None and device.target.type == "virtio":
        _place_virtio_serial(devices, family, device)
    if isinstance(device, MemoryDevice):
        _place_memory(domain, device)
    _place_pci(domain, device)
    _name(domain, family, device)
    if isinstance(device, Disk):
        number_layers(device, devices.disks)
    return needed


def with_device(domain: Domain, family: str, device: Any) -> Domain:
    """The domain as it is with the device; nothing of the original changes, and the rest is shared with it."""
    after = copy.copy(domain)
    after.devices = _holding(copy.copy(_devices(domain)), family, device)
    if isinstance(device, MemoryDevice):
        add_memory(after, device, device.size or 0)
    return after


def without_device(domain: Domain, family: str, device: Any) -> Domain:
    """The domain as it is when the device has gone; as ``with_device``."""
    after = copy.copy(domain)
    after.devices = copy.copy(_devices(domain))
    held = getattr(after.devices, family)
    setattr(after.devices, family, [other for other in held if other is not device] if isinstance(held, list) else None)
    if isinstance(device, MemoryDevice):
        add_memory(after, device, -(device.size or 0))
    return after


def add_memory(domain: Domain, module: MemoryDevice, size: int) -> None:
    """Count the memory of a module in, or out: a domain's memory is all that it has, with its modules.

    What the guest uses of a resizable module is told by the module.
    """
    domain.memory = (domain.memory or 0) + size
    if domain.current_memory is not None and module.model != "virtio-mem":
        domain.current_memory += size


def _devices(domain: Domain) -> Devices:
    assert domain.devices is not None
    return domain.devices


def _holding(devices: Devices, family: str, device: Any) -> Devices:
    held = getattr(devices, family)
    setattr(devices, family, [*held, device] if isinstance(held, list) else device)
    return devices


def _invalid(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_OPERATION_INVALID, detail, domain=c.VIR_FROM_QEMU)


def _check_number(devices: Devices, family: str, device: Any) -> None:
    """Number a controller, and refuse one that is there, and a second device of a kind that there is one of."""
    if family in _ONE_OF and any(of_family(devices, family)):
        raise _invalid(_ONE_OF[family])
    if isinstance(device, Controller):
        used = {other.index or 0 for other in devices.controllers if other.type == device.type}
        if device.index is None:
            device.index = next(number for number in range(len(used) + 1) if number not in used)
        elif device.index in used:
            raise LibvirtError(c.VIR_ERR_OPERATION_FAILED, f"target {device.type}:{device.index} already exists",
                               domain=c.VIR_FROM_QEMU)


# --- places ---------------------------------------------------------------------------------------------------------


def _place_drive(devices: Devices, device: Any, context: Context) -> None:
    if isinstance(device, Disk) and device.target_bus == "scsi":
        others = Devices(disks=[device], hostdevs=devices.hostdevs)
    elif isinstance(device, Hostdev) and device.type == "scsi":
        others = Devices(disks=devices.disks, hostdevs=[*devices.hostdevs, device])
    else:
        return
    taken = scsi_units(devices.disks, [hostdev for hostdev in devices.hostdevs if hostdev.type == "scsi"])
    assign_drives(Domain(devices=others), context)
    if isinstance(device.address, DriveAddress) and taken.holder(device.address) is not None:
        raise _invalid("Domain already contains a disk with that address")


def _missing_controllers(devices: Devices, device: Any) -> list[Controller]:
    """The SCSI controllers up to that of a device, of the model of the others."""
    if not isinstance(device.address, DriveAddress):
        return []
    known = {controller.index or 0: controller.model for controller in devices.controllers
             if controller.type == "scsi"}
    model = next(reversed(known.values()), None) or "lsilogic"
    return [Controller(type="scsi", index=index, model=model)
            for index in range((device.address.controller or 0) + 1) if index not in known]


def _place_usb(devices: Devices, device: Any) -> None:
    if not any(controller.type == "usb" and controller.model != "none" for controller in devices.controllers):
        raise unsupported("cannot add redirected USB device: USB is disabled for this domain"
                          if isinstance(device, Redirdev)
                          else "Device configuration is not compatible: Domain has no USB bus support")
    ports = usb_ports(devices)
    for other in plugged_devices(devices):
        if isinstance(other.address, UsbAddress) and other.address.port:
            ports.reserve(other.address)
    address = device.address
    if isinstance(address, UsbAddress) and address.port:
        ports.reserve(address)
    elif address is None or isinstance(address, UsbAddress):
        device.address = ports.next_free(address.bus if address else None)


def _place_virtio_serial(devices: Devices, family: str, device: Chardev) -> None:
    ports = virtio_serial_ports(devices)
    address = device.address
    if isinstance(address, VirtioSerialAddress) and address.port:
        ports.reserve(address)
    elif family == "channels":
        device.address = (ports.next_free_of(address.controller or 0) if isinstance(address, VirtioSerialAddress)
                          else ports.next_free())
        if device.address is None:
            raise LibvirtError(c.VIR_ERR_XML_ERROR, "Unable to find a free virtio-serial port",
                               domain=c.VIR_FROM_DOMAIN)


def _place_memory(domain: Domain, memory: MemoryDevice) -> None:
    most = domain.max_memory
    if not most:
        raise unsupported("cannot use/hotplug a memory device when domain 'maxMemory' is not defined")
    if (domain.memory or 0) + (memory.size or 0) > most:
        raise unsupported(f"Attaching memory device with size '{memory.size}' would exceed domain's maxMemory config "
                          f"size '{most}'")
    if memory.model not in ("dimm", "nvdimm"):
        return
    modules = [other.address for other in _devices(domain).memories if isinstance(other.address, DimmAddress)]
    number = domain.max_memory_slots or 0
    if len(modules) >= number:
        raise qemu_unsupported(f"memory device count '{len(modules) + 1}' exceeds slots count '{number}'")
    slots = MemorySlots(number)
    for address in modules:
        slots.reserve(address)
    if isinstance(memory.address, DimmAddress):
        slots.reserve(memory.address)
    else:
        memory.address = slots.next_free()


def _place_pci(domain: Domain, device: Any) -> None:
    express = any(controller.type == "pci" and controller.model == "pcie-root"
                  for controller in _devices(domain).controllers)
    address = device.address
    if isinstance(address, PciAddress) and not is_empty(address):
        pci_buses(domain).reserve(address, device, given_kind(device, express=express) | HOTPLUGGABLE)
        return
    kind = pci_kind(device, express=express) if wants_address(device) else None
    if kind is None:
        return
    if kind == EXPRESS and isinstance(device, Hostdev) and device.type == "pci" and device.source:
        host: Any = device.source.address
        kind = EXPRESS if host is None or host_is_express(host) else CONVENTIONAL
    device.address = pci_buses(domain).next_free(kind | HOTPLUGGABLE)


# --- names ----------------------------------------------------------------------------------------------------------


def _name(domain: Domain, family: str, device: Any) -> None:
    devices = _devices(domain)
    if device.alias is not None and device.alias.startswith(_USER_ALIAS):
        if any(getattr(other, "alias", None) == device.alias for other in devices.all()):
            raise unsupported(f"non unique alias detected: {device.alias}")
        return
    device.alias = None
    scratch = Devices() if family == "controllers" else Devices(controllers=devices.controllers)
    machine = (domain.os.machine if domain.os else None) or ""
    assign_names(_holding(scratch, family, device), q35=machine.startswith("pc-q35"))
    name: str = device.alias or ""
    if family in ("disks", "controllers") or isinstance(device.address, DimmAddress):
        return  # its place is its name
    prefix = name.rstrip(digits)
    numbers = [int(other.alias.removeprefix(prefix)) for other in of_family(devices, family)
               if other.alias and other.alias.removeprefix(prefix).isdecimal()]
    device.alias = f"{prefix}{max(numbers, default=-1) + 1}"
