"""The non-volatile memory of a pSeries machine. That of UEFI firmware is part of how a guest boots."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_shared.service.xml import element
from virtbus_shared.service.xml_lines import Element


@element(open_tag=True)
class NvramDevice(Element):
    """One per machine; only its place can be chosen."""

    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
