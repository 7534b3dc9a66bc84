"""Shapes of value outside the devices: sets of CPUs, amounts with units, and numbers that libvirt reads in odd ways.

``values.py`` and ``lenient.py`` have those that devices share.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from virtbus_domain.xml import bitmap
from virtbus_domain.xml.values import refusing
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_values import UINT, ULONG, Kind, Refusal, hexa

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


def cpu_refusing(kind: Kind[T], code: int, detail: str) -> Kind[T]:
    """A kind that libvirt's code for processors refuses."""
    return refusing(kind, code, detail, c.VIR_FROM_CPU)


def scaled(place: str) -> Kind[int]:
    """An amount in an attribute with its unit beside it; ``place`` is how libvirt calls the attribute."""
    usual = refusing(ULONG, c.VIR_ERR_XML_ERROR, f"Invalid value '{{value}}' for element or attribute '{place}'",
                     c.VIR_FROM_XML)

    def read(text: str) -> int:
        assert usual.read
        if not text:
            raise LibvirtError(c.VIR_ERR_XML_ERROR, f"missing element or attribute '{place}'", domain=c.VIR_FROM_XML)
        return usual.read(text)

    return Kind(read, str)


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
    return bitmap.canonical(text) if text else str(bitmap.numbers(text))  # the latter refuses it


def _read_vcpus(text: str) -> str:
    try:
        return _read_cpuset(text)
    except LibvirtError:
        raise ValueError from None


LONG: Kind[int] = Kind(_read_long, str)
ANY_BASE: Kind[int] = Kind(hexa(1).read, str)
POLICY: Kind[int] = Kind(_read_hex, "0x{:04x}".format)
# Where libvirt lets C turn a negative number into a huge one; zero is as good as absent.
WRAPPING_UINT = _wrapping(UINT, 32)
WRAPPING_ULONG = _wrapping(ULONG, 64)
# CPUs or NUMA nodes as libvirt writes them. The refusal of most is a general one; ``VCPUS`` leaves it to its attribute.
CPUSET: Kind[str] = Kind(_read_cpuset)
VCPUS: Kind[str] = Kind(_read_vcpus)
