"""The guest's IOMMU: what translates the addresses that its devices use for direct memory access."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_domain.xml.values import UINT_OR_ZERO
from virtbus_shared.service.xml import attr, element
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, words


@element
class Iommu(Element):
    """One per domain; ``driver_aw_bits`` is the width in bits of the addresses that it translates."""

    model: str | None = attr("@model", words("intel", "smmuv3", "virtio"), required=True)
    driver_intremap: bool | None = attr("driver/@intremap", ONOFF)
    driver_caching_mode: bool | None = attr("driver/@caching_mode", ONOFF)
    driver_eim: bool | None = attr("driver/@eim", ONOFF)
    driver_iotlb: bool | None = attr("driver/@iotlb", ONOFF)
    driver_aw_bits: int | None = attr("driver/@aw_bits", UINT_OR_ZERO)
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
