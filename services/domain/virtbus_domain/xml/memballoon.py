"""The memory balloon: how the host takes memory back from a guest, and learns how much the guest uses."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_domain.xml.values import VIRTIO_MODELS
from virtbus_shared.service.xml import attr, element
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import INT, ONOFF, Kind, words


def _read_period(text: str) -> int | None:
    assert INT.read
    return max(INT.read(text), 0) or None


_PERIOD: Kind[int | None] = Kind(_read_period, str)


@element
class Memballoon(Element):
    """One per domain; "none" says that there shall be none. Statistics come every ``stats_period`` seconds."""

    model: str | None = attr("@model", words(*VIRTIO_MODELS, "xen", "none"), required=True)
    autodeflate: bool | None = attr("@autodeflate", ONOFF)
    free_page_reporting: bool | None = attr("@freePageReporting", ONOFF)
    stats_period: int | None = attr("stats/@period", _PERIOD)
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
    driver_iommu: bool | None = attr("driver/@iommu", ONOFF)
    driver_ats: bool | None = attr("driver/@ats", ONOFF)
    driver_packed: bool | None = attr("driver/@packed", ONOFF)
    driver_page_per_vq: bool | None = attr("driver/@page_per_vq", ONOFF)
