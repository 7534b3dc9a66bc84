"""Shapes of value outside the devices: sets of CPUs, amounts with units, and numbers that libvirt reads in odd ways.

``values.py`` and ``lenient.py`` have those that devices share.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar, cast

from lxml import etree

from virtbus_domain.xml import bitmap
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import block
from virtbus_shared.service.xml_lines import Line, Refused
from virtbus_shared.service.xml_values import UINT, ULONG, Kind, Refusal, hexa, read_size, unit_bytes

T = TypeVar("T")

_SIGNED = re.compile(r"\s*([+-]?\d{1,19})", re.ASCII)
_HEX = re.compile(r"\s*\+?(?:0[xX])?([0-9a-fA-F]{1,8})", re.ASCII)
_NEGATIVE = re.compile(r"\s*-\d{1,10}", re.ASCII)


def unsupported(detail: str) -> Refusal:
    """libvirt's refusal of what it does not know."""
    return (c.VIR_ERR_CONFIG_UNSUPPORTED, detail)


def xml_error(detail: str) -> Refusal:
    """libvirt's refusal of what makes no sense."""
    return (c.VIR_ERR_XML_ERROR, detail)


def blank(kind: Kind[T]) -> Kind[T | None]:
    """A kind of which an empty text says no more than absence does."""
    def read(text: str) -> T | None:
        assert kind.read
        return kind.read(text) if text else None

    return Kind(read, _writer(kind))


def if_valid(kind: Kind[T], *nothing: T) -> Kind[T | None]:
    """A kind of which nonsense, and some values, say no more than absence does."""
    def read(text: str) -> T | None:
        assert kind.read
        try:
            value = kind.read(text)
        except ValueError:
            return None
        return None if value in nothing else value

    return Kind(read, _writer(kind))


def _writer(kind: Kind[T]) -> Callable[[T | None], str] | None:
    write = kind.write
    return None if write is None else lambda value: "" if value is None else write(value)


def scaled(path: str, unit: str) -> int | None:
    """An amount in an attribute that must be there, with its unit beside it: without one read as ``unit``."""
    missing = (c.VIR_ERR_XML_ERROR, f"missing element or attribute './{path}'", c.VIR_FROM_XML)
    wrong = (c.VIR_ERR_XML_ERROR, f"Invalid value '{{value}}' for element or attribute './{path}'", c.VIR_FROM_XML)
    return cast(int | None, Line("size", path, unit=unit, error=wrong, required=missing))


def _pretty(amount: int) -> tuple[int, str]:
    """A number of bytes in the largest unit that divides it: (3, "MiB")."""
    for unit in ("EiB", "PiB", "TiB", "GiB", "MiB", "KiB"):
        if amount and amount % unit_bytes(unit) == 0:
            return amount // unit_bytes(unit), unit
    return amount, "bytes"


def pretty_size(tag: str, unit: str, place: str, *, pad: str) -> int | None:
    """A child element with a number of bytes: without a unit read as ``unit``, written in the largest that fits.

    ``place`` is how libvirt calls the element when it holds no number; ``pad`` is its indentation.
    """
    def read(element: etree._Element) -> int | None:
        content = element.text or ""
        try:
            return read_size(content, element.get("unit") or unit, "bytes") if content else None
        except ValueError:
            wrong = (c.VIR_ERR_XML_ERROR, f"Invalid value '{content}' for element or attribute '{place}'")
            raise Refused(wrong, element, general=True) from None

    def write(amount: int | None) -> str:
        number, named = _pretty(amount or 0)
        return f"{pad}<{tag} unit='{named}'>{number}</{tag}>"

    return block(tag, read, write)


def _read_long(text: str) -> int:
    found = _SIGNED.fullmatch(text)
    if not found or not -2**63 <= int(found[1]) < 2**63:
        raise ValueError("Expected integer value")
    return int(found[1])


def _read_hex(text: str) -> int:
    found = _HEX.fullmatch(text)
    if not found:
        raise ValueError
    return int(found[1], 16)


def _wrapping(kind: Kind[int], bits: int) -> Kind[int | None]:
    def read(text: str) -> int | None:
        assert kind.read
        number = int(text) % 2**bits if _NEGATIVE.fullmatch(text) else kind.read(text)
        return number or None

    return Kind(read, str)


def _read_cpuset(text: str) -> str:
    try:
        return bitmap.canonical(text) if text else str(bitmap.numbers(text))  # the latter refuses it
    except LibvirtError:
        raise ValueError from None


LONG: Kind[int] = Kind(_read_long, str)
ANY_BASE: Kind[int] = Kind(hexa(1).read, str)
POLICY: Kind[int] = Kind(_read_hex, "0x{:04x}".format)
# Where libvirt lets C turn a negative number into a huge one; zero is as good as absent.
WRAPPING_UINT = _wrapping(UINT, 32)
WRAPPING_ULONG = _wrapping(ULONG, 64)
# CPUs or NUMA nodes as libvirt writes them, and its usual refusal of what is no such set.
CPUSET: Kind[str] = Kind(_read_cpuset)
NO_CPUSET = (c.VIR_ERR_INVALID_ARG, "Failed to parse bitmap '{value}'", c.VIR_FROM_NONE)
