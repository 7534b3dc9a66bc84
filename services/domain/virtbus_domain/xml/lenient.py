"""Shapes of value where libvirt is lenient: texts that are as good as absent, and so are not written again.

``values.py`` has the numbers of which that is true. A strict reader of its own would refuse documents that work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from virtbus_shared.service.xml_values import YESNO, Kind

T = TypeVar("T")


def unless(kind: Kind[T], *nothing: T) -> Kind[T | None]:
    """A kind of which some values say no more than absence does: an empty text, "default", a switch that is off."""
    def read(text: str) -> T | None:
        value = kind.read(text) if kind.read else cast(T, text)
        return None if value in nothing else value

    return Kind(read, cast("Callable[[T | None], str] | None", kind.write))


def known(*words: str) -> Kind[str | None]:
    """One of a known enumeration; another word is no fault, and counts for nothing."""
    return Kind(lambda text: text if text in words else None)


TEXT: Kind[str | None] = unless(Kind(), "")
# A switch that is off unless it says yes: anything else is "no", or, with the strict one, refused.
YES: Kind[bool | None] = Kind(lambda text: text == "yes" or None, lambda on: "yes" if on else "no")
YES_OR_NO: Kind[bool | None] = unless(YESNO, False)
