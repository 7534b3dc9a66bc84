"""Arguments as libvirt-python takes them: what it refuses with TypeError, what libvirt refuses with code 8.

Python's part (a number where text is wanted) never reaches libvirt and raises TypeError or ValueError; libvirt's part
(no name at all, a UUID that is none) is a ``LibvirtError`` that names the C function, and its origin is that
function's. Numbers are cut to their C width as the binding cuts them. Behaviour: libvirt-python 9.0.0.
"""

from __future__ import annotations

import re
from operator import index

from virtbus.errors import libvirtError, virResetLastError
from virtbus.unsupported import origin_of
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError, bare_error

# What libvirt reads as a UUID: 32 hexadecimal digits, with dashes and blanks between any two pairs.
_UUID = re.compile(r"\s*(?:[- ]*[0-9A-Fa-f]{2}){16}\s*")
MAX_DOCUMENT = 16 * 1024 * 1024  # characters


def text(value: str, function: str, name: str, limit: int = MAX_DOCUMENT) -> str:
    """A text that must be there. ``limit`` is in characters."""
    found = optional_text(value, function, limit)
    if found is None:
        raise bare_error(c.VIR_ERR_INVALID_ARG, f"{name} in {function} must not be NULL", function, name,
                         origin_of(function))
    return found


def optional_text(value: str | None, function: str, limit: int = MAX_DOCUMENT) -> str | None:
    """A text, or nothing."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{function}() argument must be str or None, not {type(value).__name__}")
    if "\0" in value:
        raise ValueError("embedded null character")
    value.encode()  # lone surrogates are no text: UnicodeEncodeError, a ValueError
    if len(value) > limit:
        raise LibvirtError(c.VIR_ERR_INVALID_ARG, f"{function}: {len(value)} characters; at most {limit} are accepted",
                           domain=origin_of(function))
    return value


def flag_bits(value: int) -> int:
    """An unsigned int of C."""
    return index(value) & 0xFFFFFFFF


def number(value: int) -> int:
    """An int of C; one that does not fit is an OverflowError."""
    found = index(value)
    if not -(2**31) <= found < 2**31:
        raise OverflowError(f"signed integer is {'greater than maximum' if found > 0 else 'less than minimum'}")
    return found


def not_negative(value: int, function: str, name: str) -> int:
    """An int of C that counts something."""
    found = number(value)
    if found < 0:
        raise bare_error(c.VIR_ERR_INVALID_ARG, f"{name} in {function} must be zero or greater", function, name,
                         origin_of(function))
    return found


def uuid_from_bytes(value: bytes, function: str) -> str:
    """Canonical text of a UUID in 16 bytes. Another length fails without saying why, as in libvirt-python."""
    if isinstance(value, str | bytes):
        if isinstance(value, bytes) and len(value) == 16:
            return canonical(value.hex())
        virResetLastError()
        raise libvirtError(f"{function}() failed")
    raise TypeError(f"{function}() argument must be read-only bytes-like object, not {type(value).__name__}")


def uuid_from_text(value: str, function: str) -> str:
    """Canonical text of a UUID in any form that libvirt reads."""
    found = text(value, function, "uuidstr")
    if not _UUID.fullmatch(found):
        # libvirt's files have two wordings of this refusal.
        message = "Invalid UUID" if function.startswith("virDomain") else f"uuidstr in {function} must be a valid UUID"
        raise bare_error(c.VIR_ERR_INVALID_ARG, message, function, "uuidstr", origin_of(function))
    return canonical(re.sub(r"[\s-]", "", found).lower())


def canonical(digits: str) -> str:
    """32 hexadecimal digits with dashes between."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
