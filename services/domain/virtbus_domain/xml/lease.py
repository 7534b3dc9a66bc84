"""Leases: locks that a lock manager holds for a running domain, beside those of its disks."""

from __future__ import annotations

from virtbus_domain.xml.values import ULONG_OR_ZERO
from virtbus_shared.service.xml import attr, element, text
from virtbus_shared.service.xml_lines import Element


@element
class Lease(Element):
    """One lock: its ``key`` in a ``lockspace``, and the file that holds it, ``target_offset`` bytes from its start."""

    lockspace: str | None = text("lockspace")
    key: str | None = text("key")
    target_path: str | None = attr("target/@path")
    target_offset: int | None = attr("target/@offset", ULONG_OR_ZERO)
