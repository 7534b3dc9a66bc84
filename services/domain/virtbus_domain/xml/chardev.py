"""Character devices: serial ports, parallel ports, consoles and channels, and the host ends they speak through."""

from __future__ import annotations

from virtbus_domain.xml.address import address, alias
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, raw, sub, subs
from virtbus_shared.service.xml_lines import Element, Raw
from virtbus_shared.service.xml_values import INT, words

TYPES = ("null", "vc", "pty", "dev", "file", "pipe", "stdio", "udp", "tcp", "unix", "spicevmc", "spiceport", "nmdm",
         "qemu-vdagent", "dbus")

SERIAL_TARGETS = ("isa-serial", "usb-serial", "pci-serial", "spapr-vio-serial", "system-serial", "sclp-serial",
                  "isa-debug")
CONSOLE_TARGETS = ("serial", "xen", "uml", "virtio", "lxc", "openvz", "sclp", "sclplm")


@element
class ChardevSource(Element):
    """The host end: a ``path``, or ``host`` and ``service``; ``mode`` "bind" listens, "connect" dials."""

    mode: str | None = attr("@mode", words("connect", "bind"))
    path: str | None = attr("@path")
    append: str | None = attr("@append", words("on", "off"))
    host: str | None = attr("@host")
    service: str | None = attr("@service")
    channel: str | None = attr("@channel")


@element
class ChardevTarget(Element):
    """The guest end: kind and number of the port, or the ``name`` of a channel; ``state`` is the guest's doing."""

    type: str | None = attr("@type")
    name: str | None = attr("@name")
    port: int | None = attr("@port", INT)
    state: str | None = attr("@state", words("connected", "disconnected"), live=True)
    model: str | None = attr("model/@name")


def _is_runtime_source(source: list[ChardevSource], device: Chardev) -> bool:
    """A pty's path is known while the domain runs, and another one the next time."""
    return device.type == "pty"


@element
class Chardev(Element):
    """A serial or parallel port, a console or a channel; ``tty`` repeats a pty's path for old clients of consoles."""

    type: str | None = attr("@type", words(*TYPES),
                            error=(c.VIR_ERR_CONFIG_UNSUPPORTED,
                                   "unknown type presented to host for character device: {value}"))
    tty: str | None = attr("@tty", live=True)
    source: list[ChardevSource] = subs("source", ChardevSource, live=_is_runtime_source)
    protocol: tuple[Raw, ...] = raw("protocol")
    log: tuple[Raw, ...] = raw("log")
    target: ChardevTarget | None = sub("target", ChardevTarget)
    alias: str | None = alias()
    address: Element | None = address()
