"""Character devices: serial ports, parallel ports, consoles and channels, and the host ends they speak through."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_domain.xml.lenient import known, unless
from virtbus_domain.xml.network_port import IP_ADDRESS
from virtbus_domain.xml.values import refusing
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, sub, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, UINT, YESNO, Kind, Refusal, words

TYPES = ("null", "vc", "pty", "dev", "file", "pipe", "stdio", "udp", "tcp", "unix", "spicevmc", "spiceport", "nmdm",
         "qemu-vdagent", "dbus")
PROTOCOLS = ("raw", "telnet", "telnets", "tls")

SERIAL_TARGETS = ("isa-serial", "usb-serial", "pci-serial", "spapr-vio-serial", "system-serial", "sclp-serial",
                  "isa-debug")
CONSOLE_TARGETS = ("serial", "xen", "uml", "virtio", "lxc", "openvz", "sclp", "sclplm")
CHANNEL_TARGETS = ("guestfwd", "virtio", "xen")
SERIAL_MODELS = ("isa-serial", "usb-serial", "pci-serial", "spapr-vty", "pl011", "16550a", "sclpconsole",
                 "sclplmconsole", "isa-debugcon")

# What libvirt reads of a source, by type of the host end.
SOURCE_FIELDS: dict[str, tuple[str, ...]] = {
    "pty": ("path", "seclabels"), "dev": ("path", "seclabels"), "pipe": ("path", "seclabels"),
    "file": ("path", "append", "seclabels"),
    "unix": ("mode", "path", "seclabels", "reconnect_enabled", "reconnect_timeout"),
    "tcp": ("mode", "host", "service", "tls", "reconnect_enabled", "reconnect_timeout"),
    "udp": ("mode", "host", "service"),
    "spiceport": ("channel",), "dbus": ("channel",),
    "nmdm": ("master", "slave"),
    "qemu-vdagent": ("clipboard_copypaste", "mouse_mode"),
}
# What it reads of a target, by type of the guest end where it has one, else by element.
TARGET_FIELDS: dict[str, tuple[str, ...]] = {
    "guestfwd": ("type", "address", "port"), "virtio": ("type", "name", "state"), "xen": ("type", "name", "state"),
    "serial": ("type", "port", "model"), "parallel": ("port",), "console": ("type", "port"),
}


def _unsupported(detail: str) -> Refusal:
    return (c.VIR_ERR_CONFIG_UNSUPPORTED, detail)


def _read_port(text: str) -> int | None:
    """The number of a port; -1, also as C would store it, is none yet."""
    assert UINT.read
    number = UINT.read(text) if text != "-1" else _UNSET
    return None if number == _UNSET else number


_UNSET = 2**32 - 1


@element
class SourceSeclabel(Element):
    """How one security driver (``model``), or each, labels the host end: not at all, or with a label of its own."""

    model: str | None = attr("@model")
    relabel: bool | None = attr("@relabel", YESNO)
    label: str | None = text("label")


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
    seclabels: list[SourceSeclabel] = subs("seclabel", SourceSeclabel)
    reconnect_enabled: bool | None = attr("reconnect/@enabled", YESNO)
    reconnect_timeout: int | None = attr("reconnect/@timeout", UINT)


@element
class ChardevTarget(Element):
    """The guest end: kind and number of the port, or the ``name`` of a channel; ``state`` is the guest's doing.

    ``address`` and ``port`` of a forward are where the guest's user-mode network leads to the host end.
    """

    type: str | None = attr("@type", unless(words("none", *SERIAL_TARGETS, *CONSOLE_TARGETS, *CHANNEL_TARGETS), "none"),
                            error=_unsupported("unknown target type '{value}' specified for character device"))
    address: str | None = attr("@address", refusing(
        IP_ADDRESS, c.VIR_ERR_SYSTEM_ERROR, "Cannot parse socket address '{value}': Name or service not known",
        c.VIR_FROM_NONE))
    name: str | None = attr("@name")
    port: int | None = attr("@port", Kind(_read_port, str),
                            error=(c.VIR_ERR_XML_ERROR, "Invalid port number: {value}"))
    state: str | None = attr("@state", known("connected", "disconnected"), live=True)
    model: str | None = attr("model/@name", unless(words("none", "", *SERIAL_MODELS), "none", ""),
                             error=_unsupported("unknown target model '{value}' specified for character device"))


def _is_runtime_source(source: list[ChardevSource], device: Chardev) -> bool:
    """A pty's path is known while the domain runs, and another one the next time."""
    return device.type == "pty"


@element
class Chardev(Element):
    """A serial or parallel port, a console or a channel; ``tty`` repeats a pty's path for old clients of consoles."""

    type: str | None = attr("@type", words(*TYPES),
                            error=_unsupported("unknown type presented to host for character device: {value}"))
    tty: str | None = attr("@tty", live=True)
    source: list[ChardevSource] = subs("source", ChardevSource, live=_is_runtime_source)
    protocol: str | None = attr("protocol/@type", words(*PROTOCOLS), error=_unsupported("Unknown protocol '{value}'"))
    log_file: str | None = attr("log/@file")
    log_append: bool | None = attr("log/@append", ONOFF)
    target: ChardevTarget | None = sub("target", ChardevTarget)
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
