"""One table from the model of a device to the function that builds its parts: for a start and for live changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from virtbus_domain.drivers.qemu.command import chardev, display, misc
from virtbus_domain.drivers.qemu.command.controller import ORDER, controller_parts
from virtbus_domain.drivers.qemu.command.disk import disk_parts
from virtbus_domain.drivers.qemu.command.filesystem import filesystem_parts
from virtbus_domain.drivers.qemu.command.hostdev import hostdev_parts
from virtbus_domain.drivers.qemu.command.interface import interface_parts
from virtbus_domain.drivers.qemu.command.memory import memory_parts
from virtbus_domain.drivers.qemu.command.override import overridden
from virtbus_domain.drivers.qemu.command.parts import Part
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.drivers.qemu.command.sound import sound_parts
from virtbus_domain.xml.address import PciAddress
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.domain import Devices

Build = Callable[[Any, Setup], list[Part]]

# In libvirt's order: what others sit on comes first. The key is the field of ``Devices`` that holds the family.
FAMILIES: dict[str, Build] = {
    "iommu": misc.iommu_parts,
    "controllers": controller_parts,
    "hubs": misc.hub_parts,
    "memories": memory_parts,
    "disks": disk_parts,
    "filesystems": filesystem_parts,
    "interfaces": interface_parts,
    "smartcards": misc.smartcard_parts,
    "serials": chardev.serial_parts,
    "parallels": chardev.parallel_parts,
    "channels": chardev.channel_parts,
    "consoles": chardev.console_parts,
    "tpms": misc.tpm_parts,
    "inputs": display.input_parts,
    "videos": display.video_parts,
    "sounds": sound_parts,
    "watchdogs": misc.watchdog_parts,
    "redirdevs": misc.redirdev_parts,
    "hostdevs": hostdev_parts,
    "memballoon": misc.memballoon_parts,
    "rngs": misc.rng_parts,
    "cryptos": misc.crypto_parts,
    "panics": misc.panic_parts,
    "shmems": misc.shmem_parts,
    "vsock": misc.vsock_parts,
}


def of_family(devices: Devices, family: str) -> Iterable[Any]:
    """The devices of one family, as a list even where there can be one at most."""
    found = getattr(devices, family)
    if family == "controllers":
        return sorted(_parents_first(found), key=lambda controller: ORDER.get(controller.type, len(ORDER)))
    return found if isinstance(found, list) else () if found is None else (found,)


def _parents_first(controllers: Sequence[Controller]) -> list[Controller]:
    """As they come, but a PCI controller behind the one whose bus it sits on, as QEMU must know that first."""
    buses = {controller.index: controller for controller in controllers if controller.type == "pci"}
    seen: set[int] = set()
    placed: list[Controller] = []

    def put(controller: Controller) -> None:
        if id(controller) in seen:
            return
        seen.add(id(controller))
        if controller.type == "pci" and isinstance(controller.address, PciAddress):
            put(buses.get(controller.address.bus or 0, controller))
        placed.append(controller)

    for controller in controllers:
        put(controller)
    return placed


def device_parts(setup: Setup) -> Iterator[Part]:
    """The parts of all devices of a domain."""
    for family, build in FAMILIES.items():
        for device in of_family(setup.devices, family):
            yield from overridden(build(device, setup), setup.domain)
