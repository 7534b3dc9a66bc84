"""Shapes of value that device models share: numbers where zero means absent, and refusals of their own.

``virtbus_shared.service.xml_values`` has the general kinds. Most refusals are libvirt's usual ones, which the mapping
makes; ``refusing`` is for values that libvirt hands to another of its parts, whose error domain the refusal then has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_values import INT, UINT, ULONG, AnyRefusal, Kind

T = TypeVar("T")


def refusing(kind: Kind[T], code: int, detail: str, domain: int) -> Kind[T]:
    """A kind whose refusal has a code, a detail ("{value}" is what the user wrote) and an error domain of its own."""
    def read(text: str) -> T:
        assert kind.read
        try:
            return kind.read(text)
        except ValueError:
            raise LibvirtError(code, detail.replace("{value}", text), domain=domain) from None

    return Kind(read, kind.write)


def wrong_text(place: str) -> AnyRefusal:
    """The usual refusal of a text, where libvirt calls its element otherwise than usual."""
    return (c.VIR_ERR_XML_ERROR, f"Invalid value '{{value}}' for element or attribute '{place}'", c.VIR_FROM_XML)


def unless_zero(kind: Kind[int]) -> Kind[int | None]:
    """A number of which zero is as good as absent."""
    def read(text: str) -> int | None:
        assert kind.read
        return kind.read(text) or None

    return Kind(read, str)


def synonyms(meaning: Mapping[str, str]) -> Kind[str]:
    """One of a known enumeration in which some words mean another one: what is written is the meaning."""
    def read(text: str) -> str:
        try:
            return meaning[text]
        except KeyError:
            raise ValueError from None

    return Kind(read)


def _read_port(text: str) -> int | None:
    try:
        number = UINT.read(text) if UINT.read else 0
    except ValueError:
        raise LibvirtError(c.VIR_ERR_INVALID_ARG, f"failed to parse port number '{text}'") from None
    if number > 0xFFFF:
        raise LibvirtError(c.VIR_ERR_INVALID_ARG, f"port '{text}' out of range")
    return number or None


def _read_any_text(text: str) -> str:
    if not text:
        raise ValueError
    return text


def _read_if_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


# A text that must not be empty.
NOT_EMPTY: Kind[str] = Kind(_read_any_text)
UINT_OR_ZERO = unless_zero(UINT)
ULONG_OR_ZERO = unless_zero(ULONG)
# A TCP port; 0 leaves the choice to the protocol.
PORT: Kind[int | None] = Kind(_read_port, str)
# What only the service itself writes: a client's own idea of it counts for nothing, so even nonsense is no fault.
OWN_NUMBER: Kind[int | None] = Kind(_read_if_number, str)


def _read_non_negative(text: str) -> int:
    assert INT.read
    number = INT.read(text)
    if number < 0:
        raise ValueError("Expected non-negative value")
    return number


# A signed number in libvirt's own code, where -1 means absent and so cannot be said.
NON_NEGATIVE: Kind[int] = Kind(_read_non_negative, str)

VIRTIO_MODELS = ("virtio", "virtio-transitional", "virtio-non-transitional")
