"""Watchdogs: what happens to a guest that hangs."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import words

ACTIONS = ("reset", "shutdown", "poweroff", "pause", "dump", "none", "inject-nmi")


@element
class Watchdog(Element):
    """A timer that the guest must restart in time, or ``action`` is taken."""

    model: str | None = attr("@model", words("i6300esb", "ib700", "diag288"),
                             error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown watchdog model '{value}'"),
                             required=(c.VIR_ERR_INTERNAL_ERROR, "watchdog must contain model name"))
    action: str | None = attr("@action", words(*ACTIONS),
                              error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown watchdog action '{value}'"))
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
