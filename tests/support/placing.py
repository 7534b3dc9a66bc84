"""Documents that lack only addresses, and where the address passes put their devices: for tests of those passes.

Nothing here is libvirt's default: such a document names the controllers, models and ends that libvirt would add.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from virtbus_domain.normalise import addresses, controllers, disks, drive, pci, slots, usb, virtio_serial
from virtbus_domain.normalise.context import Context
from virtbus_domain.xml.address import (
    CcidAddress,
    DimmAddress,
    DriveAddress,
    PciAddress,
    UsbAddress,
    VirtioSerialAddress,
)
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_shared import constants as c
from virtbus_shared.service.xml import Document

DOCUMENT = Document(Domain, "domain", "domain_definition", c.VIR_FROM_DOMAIN)
Q35 = "pc-q35-7.2", "<controller type='pci' index='0' model='pcie-root'/>"
I440FX = "pc-i440fx-7.2", "<controller type='pci' index='0' model='pci-root'/>"

# The passes that place devices, in libvirt's order, and those that see to it that its order of devices is there.
PASSES = (
    usb.complete_usb_controllers, controllers.number_controllers, disks.sort_disks, addresses.complete_addresses,
    drive.assign_drives, slots.assign_ccid, virtio_serial.assign_virtio_serial, pci.assign_pci, usb.assign_usb,
    slots.assign_memory_slots, slots.check_memory_places, drive.check_drive_places, drive.check_drive_conflicts,
)


def document(machine: tuple[str, str], devices: str, head: str = "") -> str:
    """A document with these devices and its machine's root bus."""
    name, root = machine
    return (f"<domain type='qemu'><name>guest</name>{head or '<memory>1048576</memory>'}<os><type arch='x86_64' "
            f"machine='{name}'>hvm</type></os><features><acpi/></features><devices>{root}{devices}</devices></domain>")


def place(domain: Domain) -> Domain:
    """Give a domain's devices their places."""
    for complete in PASSES:
        complete(domain, Context("qemu"))
    return domain


def placed(machine: tuple[str, str], devices: str, head: str = "") -> Devices:
    """Devices in their places."""
    domain = place(DOCUMENT.parse(document(machine, devices, head)))
    assert domain.devices
    return domain.devices


def where(device: Any) -> str | None:
    """A device's address in short: "02:01.0" on PCI, "0:1.2" on USB, "0/1" on virtio-serial, "1.0.0.3" on a drive."""
    match device.address:
        case PciAddress(bus=int(bus), slot=int(slot), function=int(function), multifunction=shared):
            return f"{bus:02x}:{slot:02x}.{function:x}{'+' if shared else ''}"
        case UsbAddress(bus=bus, port=port):
            return f"{bus}:{port}"
        case VirtioSerialAddress(controller=controller, port=port):
            return f"{controller}/{port}"
        case DriveAddress(controller=controller, bus=bus, target=target, unit=unit):
            return f"{controller}.{bus}.{target}.{unit}"
        case CcidAddress(controller=controller, slot=slot):
            return f"{controller}/{slot}"
        case DimmAddress(slot=slot):
            return f"{slot}"
    return None


def places(devices: Iterable[Any]) -> list[str | None]:
    """The addresses of some devices, in short."""
    return [where(device) for device in devices]


def pci_controllers(devices: Devices) -> list[tuple[int | None, str | None, str | None]]:
    """Number, model and place of the PCI controllers, other than the root."""
    return [(controller.index, controller.model, where(controller)) for controller in devices.controllers
            if controller.type == "pci" and controller.index]
