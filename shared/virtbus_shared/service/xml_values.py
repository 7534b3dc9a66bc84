"""What an attribute or a text element may hold, and how libvirt writes it: numbers, words, sizes, addresses.

Reading is tolerant where libvirt is (hex or decimal PCI numbers, short MAC addresses, a dozen unit names) and writing
is canonical, so that two documents which mean the same come out the same. A ``Kind`` is both directions for one
shape of value; ``read`` raises ``ValueError`` whose text, if any, is libvirt's closing hint ("Expected integer
value"). The mapping that uses kinds is in ``xml.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError, invalid_arg

T = TypeVar("T")

ULONG_MAX = 2**64 - 1

# The one closing hint that libvirt gives instead of the value, not after it.
ZERO = "Zero is not permitted"

# What libvirt answers to a value: its error number and detail; "{value}" stands for what the user wrote.
Refusal = tuple[int, str]
# The same with the domain of the error, where it is another one than the document's.
AnyRefusal = Refusal | tuple[int, str, int]


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One shape of value. ``read`` is None for text taken as it is, ``write`` None for what is already text.

    Both depend on nothing but the value: answers are remembered. What ``write`` gives is written without escaping.
    """

    read: Callable[[str], T] | None = None
    write: Callable[[T], str] | None = None


class Memo(dict[Any, Any]):
    """What a function makes of the short texts and the numbers that it was asked for first.

    A line sees few different values and these again and again. Asking a dictionary is a single step of the interpreter,
    calling a function that checks a text is dozens. ``function`` must depend on its argument only.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, argument: Any) -> Any:
        answer = self._function(argument)
        if len(self) < 64 and not (isinstance(argument, str) and len(argument) > 16):
            self[argument] = answer
        return answer


_DECIMAL = re.compile(r"\s*\+?(\d+)", re.ASCII)
_SIGNED = re.compile(r"\s*([+-]?\d+)", re.ASCII)
_ANY_BASE = re.compile(r"\s*\+?(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))", re.ASCII)


def _bounded(number: int, low: int, high: int, expected: str) -> int:
    if not low <= number <= high:
        raise ValueError(expected)
    return number


def _read_uint(limit: int) -> Callable[[str], int]:
    expected = "Expected non-negative integer value"

    def read(text: str) -> int:
        if len(text) < 10 and text.isdecimal() and text.isascii():
            return _bounded(int(text), 0, limit, expected)
        if len(text) > 40 or not (found := _DECIMAL.fullmatch(text)):
            raise ValueError(expected)
        return _bounded(int(found[1]), 0, limit, expected)

    return read


def _read_int(text: str) -> int:
    expected = "Expected integer value"
    if len(text) < 10 and text.isdecimal() and text.isascii():
        return int(text)
    if len(text) > 40 or not (found := _SIGNED.fullmatch(text)):
        raise ValueError(expected)
    return _bounded(int(found[1]), -(2**31), 2**31 - 1, expected)


def _read_count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text, re.ASCII):
        raise ValueError
    return int(text)


def _read_any_base(text: str) -> int:
    """A number as C writes it: 0x1f, 037 or 31."""
    expected = "Expected non-negative integer value"
    if len(text) > 40 or not (found := _ANY_BASE.fullmatch(text)):
        raise ValueError(expected)
    hexadecimal, octal, decimal = found.groups()
    number = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(decimal)
    return _bounded(number, 0, 2**32 - 1, expected)


def _read_positive(text: str) -> int:
    number = _read_uint(2**32 - 1)(text)
    if number == 0:
        raise ValueError(ZERO)
    return number


def _read_octal_mode(text: str) -> int:
    if len(text) > 40 or not re.fullmatch("[0-7]+", text, re.ASCII):
        raise ValueError
    return _bounded(int(text, 8), 0, 0o777, "")


def _write_octal_mode(mode: int) -> str:
    return f"{mode:04o}"


_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


def _read_uuid(text: str) -> str:
    if _UUID.fullmatch(text):
        return text
    digits = text.strip().replace("-", "").lower()
    if not re.fullmatch("[0-9a-f]{32}", digits, re.ASCII):
        raise ValueError
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_MAC = re.compile("[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5}", re.ASCII)


_CANONICAL_MAC = re.compile("[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII)


def _read_mac(text: str) -> str:
    if _CANONICAL_MAC.fullmatch(text):
        return text
    if not _MAC.fullmatch(text):
        raise ValueError
    return ":".join(part.zfill(2) for part in text.lower().split(":"))


STR: Kind[str] = Kind()
UINT: Kind[int] = Kind(_read_uint(2**32 - 1), str)
ULONG: Kind[int] = Kind(_read_uint(ULONG_MAX), str)
INT: Kind[int] = Kind(_read_int, str)
COUNT: Kind[int] = Kind(_read_count, str)
ORDER: Kind[int] = Kind(_read_positive, str)
OCTAL: Kind[int] = Kind(_read_octal_mode, _write_octal_mode)
UUID: Kind[str] = Kind(_read_uuid)
MAC: Kind[str] = Kind(_read_mac)


def number(limit: int) -> Kind[int]:
    """A decimal number from 0 to ``limit``."""
    return Kind(_read_uint(limit), str)


def hexa(width: int) -> Kind[int]:
    """A number read in any of C's bases and written as 0x with ``width`` digits (libvirt's PCI numbers)."""
    return Kind(_read_any_base, f"0x{{:0{width}x}}".format)


def words(*allowed: str) -> Kind[str]:
    """One of a known enumeration; anything else is refused, as libvirt does."""
    known = {word: word for word in allowed}

    def read(text: str) -> str:
        try:
            return known[text]
        except KeyError:
            raise ValueError from None

    return Kind(read)


def _switch(on: str, off: str) -> Kind[bool]:
    meaning = {on: True, off: False}

    def read(text: str) -> bool:
        try:
            return meaning[text]
        except KeyError:
            raise ValueError from None

    return Kind(read, lambda value: on if value else off)


YESNO: Kind[bool] = _switch("yes", "no")
ONOFF: Kind[bool] = _switch("on", "off")

_POWERS = {letter: power for power, letter in enumerate("kmgtpe", start=1)}


def unit_bytes(unit: str) -> int:
    """How many bytes a unit name means: b, bytes, KB (1000), K and KiB (1024), up to EiB, in any case."""
    name = unit.lower()
    if name in ("b", "byte", "bytes"):
        return 1
    power = _POWERS.get(name[:1])
    if power is None or name[1:] not in ("", "ib", "b"):
        raise invalid_arg(f"unknown suffix '{unit}'")
    return int((1000 if name[1:] == "b" else 1024) ** power)


def read_size(text: str, unit: str, stored_unit: str) -> int:
    """A size in ``stored_unit``, rounded up.

    Raises ``ValueError`` when it is no number, ``LibvirtError`` for an unknown unit or one too large for 64 bits.
    """
    if unit == stored_unit and len(text) < 16 and text.isdecimal() and text.isascii():
        return int(text)
    amount = _read_uint(ULONG_MAX)(text) * unit_bytes(unit)
    if amount > ULONG_MAX:
        raise LibvirtError(c.VIR_ERR_OVERFLOW, f"value too large: {text.strip()}{unit}")
    return -(-amount // unit_bytes(stored_unit))
