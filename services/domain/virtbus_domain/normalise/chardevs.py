"""Character devices: numbers of ports, targets, the console that is the first serial port, and what they cannot be."""

from __future__ import annotations

import copy
import re
from typing import Protocol

from virtbus_domain.normalise.context import Context, internal_error, qemu_unsupported, unsupported, xml_error
from virtbus_domain.xml.chardev import CONSOLE_TARGETS, Chardev, ChardevSource, ChardevTarget
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_ISA_PORTS = 4
_DIALLING = ("unix", "tcp", "udp")  # what dials out where it is not said to listen
_WITH_PATH = ("file", "dev", "pipe")
_WITH_CHANNEL = ("spiceport", "dbus")
_SPICE = ("spicevmc", "spiceport")
# Serial ports that a console speaks through.
_CONSOLE_PORTS = (None, "isa-serial", "spapr-vio-serial", "system-serial", "sclp-serial")
_MODELS = {"isa-serial": "isa-serial", "usb-serial": "usb-serial", "pci-serial": "pci-serial",
           "isa-debug": "isa-debugcon", "spapr-vio-serial": "spapr-vty", "system-serial": "pl011",
           "sclp-serial": "sclpconsole"}
_TARGET_OF_MODEL = {**{model: target for target, model in _MODELS.items()}, "16550a": "system-serial"}
_OTHER_MACHINES = ("spapr-vio-serial", "sclp-serial")
_QEMU_CONSOLES = ("serial", "virtio")
# The socket of a channel in the guest's own folder, libvirt's or ours: another one each time.
_OWN_SOCKET = re.compile(r".*/domain-[^/]+/(?P<name>.*)|.*/[0-9]+-[0-9a-f-]{36}/channel[0-9]+\.sock", re.DOTALL)


class HostEnd(Protocol):
    """A device with a character device as its other end."""

    type: str | None
    source: list[ChardevSource]
    protocol: str | None


# --- reading --------------------------------------------------------------------------------------------------------


def read_chardevs(domain: Domain, context: Context) -> None:
    """What a device's other end is where nothing is said; a target that only some have is refused for others."""
    del context
    assert domain.devices
    devices = domain.devices
    for chardev in (*devices.serials, *devices.parallels, *devices.consoles, *devices.channels):
        chardev.target = chardev.target or ChardevTarget()
        _read_host_end(chardev)
    for group in (devices.serials, devices.parallels, devices.consoles):
        for chardev in group:
            if chardev.type == "spicevmc":
                raise unsupported("spicevmc device type only supports virtio")
    for console in devices.consoles:
        assert console.target
        console.target.type = console.target.type or "serial"
        if console.target.type not in CONSOLE_TARGETS:
            raise unsupported(f"unknown target type '{console.target.type}' specified for character device")
    for channel in devices.channels:
        if channel.target is None or channel.target.type is None:
            raise xml_error("target type must be specified for channel device")
        if channel.target.type == "guestfwd":
            _check_forward(channel.target)
    others: tuple[HostEnd, ...] = (*devices.redirdevs, *devices.smartcards)
    for end in others:
        if end.type is not None:
            _read_host_end(end)


def _read_host_end(end: HostEnd) -> None:
    """A pseudo-terminal unless said otherwise; what may listen dials, unless said otherwise."""
    end.type = end.type or "pty"
    if end.type in _DIALLING:
        for source in end.source:
            if source.mode is None and (source.path or source.host or source.service):
                source.mode = "connect"
        if end.type == "tcp" and end.protocol is None:
            end.protocol = "raw"


def _check_forward(target: ChardevTarget) -> None:
    if target.address is None:
        raise xml_error("guestfwd channel does not define a target address")
    if ":" in target.address:
        raise unsupported("guestfwd channel only supports IPv4 addresses")
    if target.port is None:
        raise LibvirtError(c.VIR_ERR_XML_ERROR, "Missing required attribute 'port' in element 'target'",
                           domain=c.VIR_FROM_XML)


def forget_terminals(domain: Domain, context: Context) -> None:
    """A pty's path and a channel's state are those of a running domain."""
    del context
    assert domain.devices
    devices = domain.devices
    for chardev in (*devices.serials, *devices.parallels, *devices.consoles, *devices.channels):
        chardev.tty = None
        if chardev.type == "pty":
            chardev.source = []
        if chardev.target:
            chardev.target.state = None


def forget_own_sockets(domain: Domain, context: Context) -> None:
    """The socket that QEMU's driver gave to a channel is another one the next time."""
    assert domain.devices
    for channel in domain.devices.channels if context.qemu else ():
        if channel.type == "unix" and channel.target and channel.source and _is_own(channel.source[0], channel.target):
            channel.source = []


def _is_own(source: ChardevSource, target: ChardevTarget) -> bool:
    found = _OWN_SOCKET.fullmatch(source.path or "")
    return found is not None and found["name"] in (None, target.name)


# --- completing -----------------------------------------------------------------------------------------------------


def complete_chardevs(domain: Domain, context: Context) -> None:
    """Number ports, fill in targets, and let the first serial port and the first console be one thing."""
    assert domain.devices
    assert domain.os
    devices = domain.devices
    _number_ports(devices.serials)
    _number_ports(devices.parallels)
    for number, console in enumerate(devices.consoles):
        assert console.target
        if console.target.port is None or console.target.type != "serial":
            console.target.port = number
    if domain.os.type == "hvm":
        _mirror_console(devices)
    for serial in devices.serials:
        assert serial.target
        if serial.target.type == "isa-serial" and (serial.target.port or 0) >= _ISA_PORTS:
            raise internal_error(f"Maximum supported number of ISA serial ports is '{_ISA_PORTS}'")
        if context.qemu:
            serial.target.type = serial.target.type or "isa-serial"
            if serial.target.type != "system-serial" or (domain.os.arch or "").startswith(("arm", "aarch")):
                serial.target.model = serial.target.model or _MODELS.get(serial.target.type)


def _number_ports(group: list[Chardev]) -> None:
    for chardev in group:
        assert chardev.target
        if chardev.target.port is None:
            taken = [other.target.port for other in group if other.target and other.target.port is not None]
            chardev.target.port = max(taken, default=-1) + 1


def _mirror_console(devices: Devices) -> None:
    """A full guest's first serial console is its first serial port: each implies the other, the port's ends rule."""
    for console in devices.consoles[1:]:
        if console.target and console.target.type == "serial":
            raise unsupported("Only the first console can be a serial port")
    first = devices.consoles[0] if devices.consoles else None
    is_port = first is not None and first.target is not None and first.target.type == "serial"
    if first is not None and is_port and not devices.serials:
        serial = copy.copy(first)
        serial.target = ChardevTarget(port=0)
        devices.serials.append(serial)
    if not devices.serials:
        return
    source = devices.serials[0]
    if not is_port and (source.target and source.target.type) not in _CONSOLE_PORTS:
        return
    mirror = copy.copy(source)
    mirror.target = ChardevTarget(type="serial", port=source.target.port if source.target else 0)
    mirror.address = None  # it is no second device
    devices.consoles[:is_port] = [mirror]


def mirror_address(domain: Domain, context: Context) -> None:
    """The console that is the first serial port is written with the port's address."""
    del context
    assert domain.devices
    assert domain.os
    devices = domain.devices
    if domain.os.type == "hvm" and devices.serials and devices.consoles:
        console = devices.consoles[0]
        if console.target and console.target.type == "serial":
            console.address = devices.serials[0].address


# --- checking -------------------------------------------------------------------------------------------------------


def check_host_end(end: HostEnd, domain: Domain) -> None:
    """Refuse a device of which it is not said where its other end is."""
    del domain
    sources, kind = end.source, end.type
    if kind in _WITH_PATH or (kind == "unix" and not _has_own_socket(end)):
        if not any(source.path for source in sources):
            raise internal_error("Missing source path attribute for char device")
    elif kind == "tcp":
        for name in ("host", "service"):
            if not any(getattr(source, name) for source in sources):
                raise internal_error(f"Missing source {name} attribute for char device")
    elif kind == "udp":
        if not any(source.service for source in sources if source.mode != "bind"):
            raise internal_error("Missing source service attribute for char device")
    elif kind in _WITH_CHANNEL and not any(source.channel for source in sources):
        raise unsupported("Missing source channel attribute for char device")


def _has_own_socket(end: HostEnd) -> bool:
    """Whether the driver finds a socket for it: a channel to the guest that has a name."""
    target: ChardevTarget | None = getattr(end, "target", None)
    return target is not None and target.type in ("virtio", "xen") and target.name is not None


def check_qemu_host_end(end: HostEnd, domain: Domain) -> None:
    """SPICE's own ends need SPICE."""
    assert domain.devices
    if end.type in _SPICE and not any(graphics.type == "spice" for graphics in domain.devices.graphics):
        raise qemu_unsupported(f"chardev '{end.type}' not supported without spice graphics")


def check_qemu_serial(serial: Chardev, domain: Domain) -> None:
    """Refuse a port that QEMU's machine does not have."""
    assert serial.target
    assert domain.os
    check_qemu_host_end(serial, domain)
    target, model = serial.target.type, serial.target.model
    wanted = _TARGET_OF_MODEL.get(model or "")
    if wanted is not None and wanted != target:
        raise qemu_unsupported(f"Target model '{model}' requires target type '{wanted}'")
    if target in _OTHER_MACHINES and domain.os.arch in ("x86_64", "i686"):
        raise qemu_unsupported(f"Serial device with target type '{target}' and target model '{model}' not compatible "
                               "with guest architecture or machine type")


def check_qemu_console(console: Chardev, domain: Domain) -> None:
    """Refuse a console of another hypervisor."""
    assert console.target
    check_qemu_host_end(console, domain)
    kind = console.target.type
    if kind in ("sclp", "sclplm"):
        raise qemu_unsupported(f"{kind}console is not supported in this QEMU binary")
    if kind not in _QEMU_CONSOLES:
        raise qemu_unsupported(f"unsupported console target type {kind}")
