"""Panic devices: how a guest that crashes says so."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_domain.xml.lenient import unless
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import words

MODELS = ("isa", "pseries", "hyperv", "s390")


@element
class Panic(Element):
    """One way of saying it; without a model the machine's own."""

    model: str | None = attr("@model", unless(words(*MODELS, "default"), "default"),
                             error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown panic model '{value}'"))
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
