"""The vsock device: sockets between guest and host that need no network."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_domain.xml.lenient import unless
from virtbus_domain.xml.values import VIRTIO_MODELS
from virtbus_shared.service.xml import attr, element
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, ORDER, YESNO, words


@element
class Vsock(Element):
    """One per domain; ``cid_address`` is the guest's number (3 or more), chosen at start where ``cid_auto`` says so."""

    model: str | None = attr("@model", unless(words(*VIRTIO_MODELS, "default"), "default"))
    cid_auto: bool | None = attr("cid/@auto", YESNO)
    cid_address: int | None = attr("cid/@address", ORDER)
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
    driver_iommu: bool | None = attr("driver/@iommu", ONOFF)
    driver_ats: bool | None = attr("driver/@ats", ONOFF)
    driver_packed: bool | None = attr("driver/@packed", ONOFF)
    driver_page_per_vq: bool | None = attr("driver/@page_per_vq", ONOFF)
