"""Input devices of a guest: mouse, tablet, keyboard, or a device of the host."""

from __future__ import annotations

from virtbus_domain.xml.address import address, alias
from virtbus_shared.service.xml import attr, element
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, UINT, words

TYPES = ("mouse", "tablet", "keyboard", "passthrough", "evdev")
BUSES = ("ps2", "usb", "xen", "parallels", "virtio", "none")


@element
class Input(Element):
    """One device; ``source`` names the host's event device that is passed through or shared."""

    type: str | None = attr("@type", words(*TYPES))
    bus: str | None = attr("@bus", words(*BUSES))
    model: str | None = attr("@model", words("virtio", "virtio-transitional", "virtio-non-transitional"))
    driver_iommu: bool | None = attr("driver/@iommu", ONOFF)
    driver_ats: bool | None = attr("driver/@ats", ONOFF)
    driver_packed: bool | None = attr("driver/@packed", ONOFF)
    driver_page_per_vq: bool | None = attr("driver/@page_per_vq", ONOFF)
    source_evdev: str | None = attr("source/@evdev")
    source_dev: str | None = attr("source/@dev")
    grab: str | None = attr("source/@grab", words("all"))
    grab_toggle: str | None = attr("source/@grabToggle", words("ctrl-ctrl", "alt-alt", "shift-shift", "meta-meta",
                                                               "scrolllock", "ctrl-scrolllock"))
    repeat: bool | None = attr("source/@repeat", ONOFF)
    alias: str | None = alias()
    acpi_index: int | None = attr("acpi/@index", UINT)
    address: Element | None = address()
