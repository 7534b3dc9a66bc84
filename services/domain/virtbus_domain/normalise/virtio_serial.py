"""Ports of virtio-serial controllers for channels and consoles.

A console keeps the address that its document gives it, or none: port 0 is for consoles, and nobody counts how many
have it. Where the user named a controller but no port, one is set aside for the console all the same, as libvirt does.
"""

from __future__ import annotations

from virtbus_domain.normalise.address_sets import VirtioSerialPorts
from virtbus_domain.normalise.addresses import claiming
from virtbus_domain.normalise.context import Context
from virtbus_domain.xml.address import VirtioSerialAddress
from virtbus_domain.xml.chardev import Chardev
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.domain import Devices, Domain


def assign_virtio_serial(domain: Domain, context: Context) -> None:
    """Give every virtio channel a port, with another controller when all are full. Raises ``LibvirtError``."""
    if not context.qemu:
        return
    assert domain.devices
    devices = domain.devices
    consoles = [console for console in devices.consoles if _is_virtio(console) and not _has_port(console)]
    channels = [channel for channel in devices.channels if _is_virtio(channel)]
    if not consoles and not channels and not _given(devices):
        return
    ports = virtio_serial_ports(devices)
    for console in consoles:
        if type(console.address) is VirtioSerialAddress:
            # libvirt looks on controller 0 whatever the document says.
            ports.reserve(ports.next_free_of(0))
        else:
            _next_free(devices, ports, console=True)
    for channel in channels:
        if _has_port(channel):
            continue
        address = channel.address
        channel.address = (ports.next_free_of(address.controller or 0) if type(address) is VirtioSerialAddress
                           else _next_free(devices, ports))
        ports.reserve(channel.address)


def virtio_serial_ports(devices: Devices) -> VirtioSerialPorts:
    """The ports of a definition's controllers, with those in use that a document gives."""
    ports = VirtioSerialPorts()
    for controller in devices.controllers:
        if controller.type == "virtio-serial":
            ports.add_controller(controller.index or 0, controller.ports)
    for address in _given(devices):
        ports.reserve(address)
    return ports


def _given(devices: Devices) -> list[VirtioSerialAddress]:
    """The addresses with a port, of whatever device: on one that has no use for it, it counts all the same."""
    found = []
    for device in claiming(devices):
        address = device.address
        if type(address) is VirtioSerialAddress and address.port:
            found.append(address)
    return found


def _is_virtio(chardev: Chardev) -> bool:
    return chardev.target is not None and chardev.target.type == "virtio"


def _has_port(chardev: Chardev) -> bool:
    return type(chardev.address) is VirtioSerialAddress and bool(chardev.address.port)


def _next_free(devices: Devices, ports: VirtioSerialPorts, *, console: bool = False) -> VirtioSerialAddress:
    address = ports.next_free(console=console)
    if address is None:
        used = {controller.index for controller in devices.controllers if controller.type == "virtio-serial"}
        index = next(number for number in range(len(used) + 1) if number not in used)
        devices.controllers.append(Controller(type="virtio-serial", index=index))
        ports.add_controller(index)
        address = VirtioSerialAddress(controller=index, bus=0, port=0 if console else 1)
    return address
