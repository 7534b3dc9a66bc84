"""Redirected USB devices: those of a client, at the other end of a character device; and which of them are let in."""

from __future__ import annotations

import re

from virtbus_domain.xml.address import acpi_index, address, alias, boot_loadparm, boot_order
from virtbus_domain.xml.chardev import PROTOCOLS, TYPES, ChardevSource
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, element, subs
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, YESNO, Kind, Refusal, words

_NUMBER = re.compile(r"\s*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))", re.ASCII)
_VERSION = re.compile(r"\s*([0-9]{1,2})\.([0-9]{1,2})", re.ASCII)


def _unsupported(detail: str) -> Refusal:
    return (c.VIR_ERR_CONFIG_UNSUPPORTED, detail)


def _read_number(text: str) -> int | None:
    """A number in any of C's bases, up to 31 bits; a negative one stands for every number."""
    found = _NUMBER.fullmatch(text) if len(text) <= 40 else None
    if not found:
        raise ValueError("Expected integer value")
    sign, hexadecimal, octal, decimal = found.groups()
    number = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(decimal)
    if number >= 2**31 + (sign == "-"):
        raise ValueError("Expected integer value")
    return None if sign == "-" and number else number


def _read_class(text: str) -> int | None:
    number = _read_number(text)
    if number is not None and number > 0xFF:
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"Invalid USB Class code 0x{number:x}", domain=c.VIR_FROM_DOMAIN)
    return number


def _read_version(text: str) -> str | None:
    """A version of USB as its two parts; "1.1" is 1.10, and "-1" is every version."""
    if text == "-1":
        return None
    found = _VERSION.fullmatch(text)
    if not found:
        raise ValueError
    return f"{int(found[1])}.{found[2].ljust(2, '0')}"


@element(open_tag=True)
class Redirdev(Element):
    """One place in the guest for a client's device."""

    bus: str | None = attr("@bus", words("usb"), error=_unsupported("unknown redirdev bus '{value}'"))
    type: str | None = attr("@type", words(*TYPES),
                            error=_unsupported("unknown redirdev character device type '{value}'"),
                            required=(c.VIR_ERR_INTERNAL_ERROR, "missing type in redirdev"))
    source: list[ChardevSource] = subs("source", ChardevSource, live=lambda source, device: device.type == "pty")
    protocol: str | None = attr("protocol/@type", words(*PROTOCOLS), error=_unsupported("Unknown protocol '{value}'"))
    log_file: str | None = attr("log/@file")
    log_append: bool | None = attr("log/@append", ONOFF)
    boot_order: int | None = boot_order()
    boot_loadparm: str | None = boot_loadparm()
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()


@element
class RedirFilterRule(Element):
    """Devices that are let in or kept out; what is left out is any. ``class_`` is USB's class of device."""

    class_: int | None = attr("@class", Kind(_read_class, "0x{:02X}".format))
    vendor: int | None = attr("@vendor", Kind(_read_number, "0x{:04X}".format))
    product: int | None = attr("@product", Kind(_read_number, "0x{:04X}".format))
    version: str | None = attr("@version", Kind(_read_version),
                               error=(c.VIR_ERR_XML_ERROR, "Cannot parse USB device version {value}"))
    allow: bool | None = attr("@allow", YESNO, required=True)


@element
class RedirFilter(Element):
    """The rules for all places; the first that fits a device decides."""

    usbdevs: list[RedirFilterRule] = subs("usbdev", RedirFilterRule)
