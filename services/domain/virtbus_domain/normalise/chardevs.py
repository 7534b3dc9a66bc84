"""Character devices: numbers of ports, targets, and the console that is the first serial port."""

from __future__ import annotations

import copy

from virtbus_domain.normalise.context import Context, xml_error
from virtbus_domain.xml.chardev import CONSOLE_TARGETS, Chardev, ChardevTarget
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.kinds import HostEnd
from virtbus_domain.xml.rng import EgdBackend
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


def complete_chardevs(domain: Domain, context: Context) -> None:
    """Number ports, fill in targets, and let the first serial port and the first console be one thing."""
    assert domain.devices
    assert domain.os
    devices = domain.devices
    for chardev in (*devices.serials, *devices.parallels, *devices.consoles, *devices.channels):
        _complete_source(chardev)
    for console in devices.consoles:
        assert console.target
        console.target.type = console.target.type or "serial"
        if console.target.type not in CONSOLE_TARGETS:
            raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, f"unknown target type '{console.target.type}' specified "
                               "for character device", domain=c.VIR_FROM_DOMAIN)
    for channel in devices.channels:
        if channel.target is None or channel.target.type is None:
            raise xml_error("target type must be specified for channel device")
    _number_ports(devices.serials)
    _number_ports(devices.parallels)
    if domain.os.type == "hvm":
        _mirror_console(devices)
    for number, console in enumerate(devices.consoles):
        assert console.target
        if console.target.port is None or console.target.type != "serial":
            console.target.port = number
    if context.qemu:
        for serial in devices.serials:
            assert serial.target
            serial.target.type = serial.target.type or "isa-serial"
            serial.target.model = serial.target.model or _SERIAL_MODELS.get(serial.target.type)
        if devices.serials and devices.consoles and devices.consoles[0].target:
            devices.consoles[0].target.port = devices.consoles[0].target.port or 0


_SERIAL_MODELS = {"isa-serial": "isa-serial", "usb-serial": "usb-serial", "pci-serial": "pci-serial",
                  "isa-debug": "isa-debugcon"}


def _complete_source(chardev: Chardev) -> None:
    chardev.type = chardev.type or "pty"
    chardev.target = chardev.target or ChardevTarget()
    if chardev.type in ("file", "dev", "pipe") and not any(source.path for source in chardev.source):
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "Missing source path attribute for char device",
                           domain=c.VIR_FROM_DOMAIN)
    if chardev.type == "tcp" and chardev.protocol is None:
        chardev.protocol = "raw"


def _mirror_console(devices: Devices) -> None:
    """A full guest's first serial console is its first serial port: each implies the other, the port's ends rule."""
    first = devices.consoles[0] if devices.consoles else None
    if first is not None and first.target and first.target.type != "serial":
        return
    if first is not None and not devices.serials:
        serial = copy.deepcopy(first)
        serial.target = ChardevTarget(port=0)
        devices.serials.append(serial)
    if not devices.serials or not _speaks_to_consoles(devices.serials[0]):
        return
    source = devices.serials[0]
    mirror = copy.copy(source)
    mirror.target = ChardevTarget(type="serial", port=source.target.port if source.target else 0)
    mirror.address = None
    devices.consoles[:1] = [mirror]


def _speaks_to_consoles(serial: Chardev) -> bool:
    return serial.target is None or serial.target.type in (None, "isa-serial")


def _number_ports(group: list[Chardev]) -> None:
    for chardev in group:
        assert chardev.target
        if chardev.target.port is None:
            taken = [other.target.port for other in group if other.target and other.target.port is not None]
            chardev.target.port = max(taken, default=-1) + 1


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
    backends = [rng.backend for rng in devices.rngs if isinstance(rng.backend, EgdBackend)]
    ends: tuple[HostEnd, ...] = (*devices.redirdevs, *devices.smartcards, *backends)
    for device in ends:
        if device.type == "pty":
            device.source = []
