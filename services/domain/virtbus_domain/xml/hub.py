"""Hubs: more ports for a USB bus."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import words


@element
class Hub(Element):
    """A hub of eight ports."""

    type: str | None = attr("@type", words("usb"),
                            error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown hub device type '{value}'"),
                            required=(c.VIR_ERR_INTERNAL_ERROR, "missing hub device type"))
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
