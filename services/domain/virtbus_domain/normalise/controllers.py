"""Controllers: their numbers and places, and those that the machine or a device brings along."""

from __future__ import annotations

from collections.abc import Iterable

from virtbus_domain.normalise.context import Context, xml_error
from virtbus_domain.normalise.usb import shared_index
from virtbus_domain.xml.address import CcidAddress, DriveAddress
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

# Kinds with drive addresses, in the order in which controllers are added for disks.
_DRIVE_KINDS = ("scsi", "fdc", "ide", "sata")


def insert_controller(controllers: list[Controller], new: Controller) -> None:
    """Put a controller behind those of its kind with smaller numbers; a kind that is new goes to the end."""
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


def need_controller(controllers: list[Controller], kind: str, index: int, model: str | None = None) -> None:
    """Add a controller unless there is one of this kind and number."""
    for other in controllers:
        if other.type == kind and other.index == index:
            return
    controllers.append(Controller(type=kind, index=index, model=model))


def read_controllers(domain: Domain, context: Context) -> None:
    """A controller is one of disks unless said otherwise; one that says that there is none is nowhere."""
    del context
    assert domain.devices
    for controller in domain.devices.controllers:
        controller.type = controller.type or "ide"
        if controller.type == "usb" and controller.model == "none":
            controller.address = None


def number_controllers(domain: Domain, context: Context) -> None:
    """Group the controllers by kind and give a number to those that have none: the first free one."""
    del context
    assert domain.devices
    ordered: list[Controller] = []
    for controller in domain.devices.controllers:
        if controller.index is not None and controller.index < 0:
            controller.index = None
        insert_controller(ordered, controller)
    used: dict[str | None, set[int | None]] = {}
    for controller in ordered:
        used.setdefault(controller.type, set()).add(controller.index)
    for position, controller in enumerate(ordered):
        if controller.index is None:
            controller.index = shared_index(ordered, position)
        if controller.index is None:
            numbers = used[controller.type]
            controller.index = next(number for number in range(len(numbers) + 1) if number not in numbers)
            numbers.add(controller.index)
    domain.devices.controllers = ordered


def refuse_duplicates(domain: Domain, context: Context) -> None:
    """Refuse two controllers of one kind and number; only the parts of a USB 2 controller share theirs."""
    assert domain.devices
    seen: set[tuple[str | None, int | None]] = set()
    for controller in domain.devices.controllers:
        key = controller.type, controller.index
        if controller.type == "usb" and (not context.qemu or controller.master_startport is not None):
            continue
        if key in seen:
            if controller.type == "usb":
                raise xml_error(f"Duplicate USB controllers with index {controller.index}")
            raise xml_error(f"Multiple '{controller.type}' controllers with index '{controller.index}'")
        seen.add(key)


def add_machine_controllers(domain: Domain, context: Context) -> None:
    """What a PC has in any case: USB, a root bus, and on q35 the SATA controller of the chipset."""
    if not context.qemu:
        return
    assert domain.devices
    assert domain.os
    controllers, machine = domain.devices.controllers, domain.os.machine or ""
    q35 = machine.startswith("pc-q35")
    for controller in controllers:
        if controller.type == "usb" and controller.model is None:
            controller.model = "piix3-uhci"
        elif controller.type == "scsi" and controller.model in (None, "auto"):
            controller.model = "lsilogic"
    if not machine.startswith("isapc") and not any(other.type == "usb" for other in controllers):
        controllers.append(Controller(type="usb", index=0, model="qemu-xhci" if q35 else "piix3-uhci"))
    if q35:
        need_controller(controllers, "sata", 0)
        _need_root(controllers, "pcie-root")
    elif machine.startswith("pc-i440fx"):
        _need_root(controllers, "pci-root")


def _need_root(controllers: list[Controller], model: str) -> None:
    """The bus of the machine itself has number 0, and nothing else has."""
    need_controller(controllers, "pci", 0, model)
    for controller in controllers:
        if controller.type != "pci":
            continue
        if controller.index and controller.model in ("pci-root", "pcie-root"):
            raise _qemu_error("pci-root and pcie-root controllers should have index 0")
        if controller.index == 0 and controller.model != model:
            raise _qemu_error(f"The PCI controller with index='0' must be model='{model}' for this machine type, but "
                              f"model='{controller.model or '(null)'}' was found instead")


def _qemu_error(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_XML_ERROR, detail, domain=c.VIR_FROM_QEMU)


def add_device_controllers(domain: Domain, context: Context) -> None:
    """A controller for each number that a device's address names."""
    assert domain.devices
    devices = domain.devices
    model = "lsilogic" if context.qemu else None
    highest: dict[str | None, int] = {}
    for disk in devices.disks:
        if type(disk.address) is DriveAddress:
            highest[disk.target_bus] = max(highest.get(disk.target_bus, 0), disk.address.controller or 0)
    if highest:
        for kind in _DRIVE_KINDS:
            if kind in highest:
                _need_up_to(devices.controllers, kind, (highest[kind],), model if kind == "scsi" else None)
    if any(chardev.target and chardev.target.type == "virtio" for chardev in (*devices.consoles, *devices.channels)):
        need_controller(devices.controllers, "virtio-serial", 0)
    if devices.smartcards:
        _need_up_to(devices.controllers, "ccid", (
            card.address.controller or 0 for card in devices.smartcards if isinstance(card.address, CcidAddress)))
    if devices.hostdevs:
        _need_up_to(devices.controllers, "scsi", (
            host.address.controller or 0 for host in devices.hostdevs if isinstance(host.address, DriveAddress)), model)


def _need_up_to(controllers: list[Controller], kind: str, numbers: Iterable[int], model: str | None = None) -> None:
    for number in range(max(numbers, default=-1) + 1):
        need_controller(controllers, kind, number, model)
