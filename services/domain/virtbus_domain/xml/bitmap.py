"""Sets of small numbers as libvirt writes them ("0-3,8,^2"): CPUs and NUMA nodes."""

from __future__ import annotations

import re

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

MOST = 2**14  # libvirt's own bound for CPUs is of this order: nothing larger is ever meant
_PART = re.compile(r"\s*(\^?)(\d{1,6})(?:-(\d{1,6}))?\s*", re.ASCII)


def numbers(text: str) -> list[int]:
    """The numbers in ascending order. Raises ``LibvirtError`` (``VIR_ERR_INVALID_ARG``) for what is no such set."""
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None or (match[1] and match[3]):
            raise _refusal(text)
        first = int(match[2])
        last = int(match[3] or first)
        if last < first or last >= MOST:
            raise _refusal(text)
        if match[1]:
            found.discard(first)
        else:
            found.update(range(first, last + 1))
    return sorted(found)


def ranges(text: str) -> list[str]:
    """The same set as the fewest ranges: ["0-1", "3"]."""
    parts: list[str] = []
    first = last = -2
    for number in numbers(text) if text else []:
        if number == last + 1:
            last = number
            parts[-1] = f"{first}-{last}"
        else:
            first = last = number
            parts.append(str(number))
    return parts


def canonical(text: str) -> str:
    """The same set as libvirt writes it."""
    return ",".join(ranges(text))


def _refusal(text: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_INVALID_ARG, f"Failed to parse bitmap '{text}'", domain=c.VIR_FROM_NONE)
