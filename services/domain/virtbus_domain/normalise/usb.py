"""USB: which controllers go together, and a port for every device that is plugged into one.

Where the controllers have too few ports, libvirt adds hubs; it never adds controllers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from virtbus_domain.normalise.address_sets import HUB_PORTS, UsbPorts
from virtbus_domain.normalise.context import Context, qemu_unsupported
from virtbus_domain.xml.address import UsbAddress
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.hub import Hub
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

# The first port of each companion: the part of a USB 2 controller that serves slow devices there.
_START_PORTS = {"ich9-uhci1": 0, "ich9-uhci2": 2, "ich9-uhci3": 4}
_USB2 = (*_START_PORTS, "ich9-ehci1")
# Ports by model. Companions have none of their own; the others' ``ports`` may say another number.
_PORTS = {None: 2, "piix3-uhci": 2, "piix4-uhci": 2, "vt82c686b-uhci": 2, "ehci": 6, "ich9-ehci1": 6, "pci-ohci": 3}
_OWN_PORTS = {"nec-xhci": 4, "qemu-xhci": 4, "qusb1": 8, "qusb2": 8}

# The groups of devices of which some are plugged into USB, and which, in the order in which they get their ports.
_PLUGGED: dict[str, Callable[[Any], bool]] = {
    "interfaces": lambda nic: (nic.type == "hostdev" and nic.source is not None
                               and getattr(nic.source.device_address, "type", None) == "usb"),
    "hostdevs": lambda hostdev: hostdev.type == "usb" and hostdev.mode == "subsystem",
    "disks": lambda disk: disk.target_bus == "usb",
    "controllers": lambda controller: controller.type == "ccid",
    "inputs": lambda device: device.bus == "usb",
    "serials": lambda serial: serial.target is not None and serial.target.type == "usb-serial",
    "sounds": lambda sound: sound.model == "usb",
    "redirdevs": lambda redirdev: redirdev.bus == "usb",
}


def _xml_detail(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_XML_DETAIL, detail, domain=c.VIR_FROM_DOMAIN)


def complete_usb_controllers(domain: Domain, context: Context) -> None:
    """Where companions begin; and a document whose USB controllers contradict each other is refused."""
    del context
    assert domain.devices
    controllers = [controller for controller in domain.devices.controllers if controller.type == "usb"]
    for controller in controllers:
        if controller.master_startport is None:
            controller.master_startport = _START_PORTS.get(controller.model or "")
    if any(controller.model == "none" for controller in controllers):
        if len(controllers) > 1:
            raise _xml_detail("Can't add another USB controller: USB is disabled for this domain")
    elif controllers and all(controller.master_startport is not None for controller in controllers):
        raise _xml_detail("No master USB controller specified")


def shared_index(controllers: Sequence[Controller], position: int) -> int | None:
    """The number that the controller at a position shares with the one before it; None for one of its own.

    The parts of a USB 2 controller have one number. One that has none yet joins the part before it, unless there is
    its like already.
    """
    new, before = controllers[position], controllers[position - 1] if position else None
    if new.model not in _USB2 or before is None or before.model not in _USB2 or before.index is None:
        return None
    taken = any(other.type == "usb" and other.index == before.index and other.model == new.model
                for other in controllers)
    return None if taken else before.index


def assign_usb(domain: Domain, context: Context) -> None:
    """Give every USB device a port; addresses of the user's come first, then hubs. Raises ``LibvirtError``."""
    if not context.qemu:
        return
    assert domain.devices
    devices = domain.devices
    plugged = list(plugged_devices(devices))
    if not plugged and not devices.hubs:
        return
    _add_hubs(devices, len(plugged) + len(devices.hubs))
    plugged = [device for device in plugged if device.address is None or type(device.address) is UsbAddress]
    ports = usb_ports(devices)
    for device in plugged:
        if device.address is not None and device.address.port:
            ports.reserve(device.address)
    for hub in devices.hubs:
        if type(hub.address) is not UsbAddress or not hub.address.port:
            hub.address = _next_free(ports, hub)
            ports.add_hub(hub.address)
    for device in plugged:
        if device.address is None or not device.address.port:
            device.address = _next_free(ports, device)
            ports.reserve(device.address)


def usb_ports(devices: Devices) -> UsbPorts:
    """The ports of the controllers and of those hubs that have an address; nothing but hubs takes one yet."""
    ports = UsbPorts()
    for controller in devices.controllers:
        if controller.type == "usb" and (number := _ports_of(controller)):
            ports.add_controller(controller.index or 0, number)
    for hub in devices.hubs:
        if type(hub.address) is UsbAddress and hub.address.port:
            ports.add_hub(hub.address)
    return ports


def plugged_devices(devices: Devices) -> Iterator[Any]:
    """All devices that take a USB port, hubs aside, in libvirt's order."""
    for group, is_plugged in _PLUGGED.items():
        for device in getattr(devices, group):
            if is_plugged(device):
                yield device


def _next_free(ports: UsbPorts, device: Any) -> UsbAddress:
    address = device.address
    return ports.next_free((address.bus or 0) if type(address) is UsbAddress else None)


def _ports_of(controller: Controller) -> int:
    model = controller.model
    if model in _OWN_PORTS:
        return _OWN_PORTS[model] if controller.ports is None else controller.ports
    return _PORTS.get(model, 0)


def _add_hubs(devices: Devices, count: int) -> None:
    """As many hubs as the devices need beyond the ports that there are; each hub takes one of them."""
    controllers = [controller for controller in devices.controllers if controller.type == "usb"]
    if all(controller.model == "none" for controller in controllers):
        raise qemu_unsupported("USB is disabled for this domain, but USB devices are present in the domain XML")
    ports = sum(map(_ports_of, controllers)) + HUB_PORTS * len(devices.hubs)
    if count > ports:
        devices.hubs += [Hub(type="usb") for _ in range(-(-(count - ports + 1) // (HUB_PORTS - 1)))]
