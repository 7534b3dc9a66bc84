"""Crypto devices: encryption that the host does for the guest. Newer than libvirt 9.0.0, which drops them."""

from __future__ import annotations

from virtbus_domain.xml.address import address, alias
from virtbus_domain.xml.values import UINT_OR_ZERO
from virtbus_shared.service.xml import attr, element
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, words


@element
class Crypto(Element):
    """One device, with so many queues to its back end."""

    model: str | None = attr("@model", words("virtio"))
    type: str | None = attr("@type", words("qemu"))
    backend_model: str | None = attr("backend/@model", words("builtin", "lkcf"))
    backend_queues: int | None = attr("backend/@queues", UINT_OR_ZERO)
    driver_iommu: bool | None = attr("driver/@iommu", ONOFF)
    driver_ats: bool | None = attr("driver/@ats", ONOFF)
    driver_packed: bool | None = attr("driver/@packed", ONOFF)
    driver_page_per_vq: bool | None = attr("driver/@page_per_vq", ONOFF)
    alias: str | None = alias()
    address: Element | None = address()
