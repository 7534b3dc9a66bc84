"""Character devices: serial ports, parallel ports, consoles and channels, and the host ends they speak through."""

from __future__ import annotations

from virtbus_domain.xml.address import address, alias
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, raw, sub, subs
from virtbus_shared.service.xml_lines import Element, Raw
from virtbus_shared.service.xml_values import INT, ONOFF, UINT, YESNO, words

TYPES = ("null", "vc", "pty", "dev", "file", "pipe", "stdio", "udp", "tcp", "unix", "spicevmc", "spiceport", "nmdm",
         "qemu-vdagent", "dbus")

SERIAL_TARGETS = ("isa-serial", "usb-serial", "pci-serial", "spapr-vio-serial", "system-serial", "sclp-serial",
                  "isa-debug")
CONSOLE_TARGETS = ("serial", "xen", "uml", "virtio", "lxc", "openvz", "sclp", "sclplm")
CHANNEL_TARGETS = ("guestfwd", "virtio", "xen")
PROTOCOLS = ("raw", "telnet", "telnets", "tls")


@element
class ChardevSource(Element):
    """The host end: a ``path``, ``host`` and ``service``, or a ``channel``; ``mode`` "bind" listens, "connect" dials.

    A UDP device has two: where it listens, and where it sends to. ``reconnect_timeout`` is in seconds.
    """

    mode: str | None = attr("@mode", words("connect", "bind"))
    path: str | None = attr("@path")
    append: bool | None = attr("@append", ONOFF)
    host: str | None = attr("@host")
    service: str | None = attr("@service")
    tls: bool | None = attr("@tls", YESNO)
    channel: str | None = attr("@channel")
    master: str | None = attr("@master")
    slave: str | None = attr("@slave")
    clipboard_copypaste: bool | None = attr("clipboard/@copypaste", YESNO)
    mouse_mode: str | None = attr("mouse/@mode", words("server", "client"))
    reconnect_enabled: bool | None = attr("reconnect/@enabled", YESNO)
    reconnect_timeout: int | None = attr("reconnect/@timeout", UINT)
    seclabels: tuple[Raw, ...] = raw("seclabel")


@element
class ChardevTarget(Element):
    """The guest end: kind and number of the port, or the ``name`` of a channel; ``state`` is the guest's doing."""

    type: str | None = attr("@type")
    address: str | None = attr("@address")
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
    protocol: str | None = attr("protocol/@type", words(*PROTOCOLS))
    log_file: str | None = attr("log/@file")
    log_append: bool | None = attr("log/@append", ONOFF)
    target: ChardevTarget | None = sub("target", ChardevTarget)
    alias: str | None = alias()
    acpi_index: int | None = attr("acpi/@index", UINT)
    address: Element | None = address()
