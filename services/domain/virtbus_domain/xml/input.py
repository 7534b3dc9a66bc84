"""Input devices of a guest: mouse, tablet, keyboard, or a device of the host."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_domain.xml.lenient import unless
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, Refusal, words

TYPES = ("mouse", "tablet", "keyboard", "passthrough", "evdev")
BUSES = ("ps2", "usb", "xen", "parallels", "virtio")
MODELS = ("virtio", "virtio-transitional", "virtio-non-transitional")
GRAB_TOGGLES = ("ctrl-ctrl", "alt-alt", "shift-shift", "meta-meta", "scrolllock", "ctrl-scrolllock")

# What libvirt reads of a source, by type.
SOURCE_FIELDS: dict[str, tuple[str, ...]] = {
    "passthrough": ("source_evdev",), "evdev": ("source_dev", "grab", "grab_toggle", "repeat"),
}


def _unknown(what: str) -> Refusal:
    return (c.VIR_ERR_CONFIG_UNSUPPORTED, f"unknown input {what} '{{value}}'")


@element
class Input(Element):
    """One device; the source is the host's event device that is passed through or shared (``grab`` "all": with all
    others of the guest, ``grab_toggle``: by which keys it changes sides)."""

    type: str | None = attr("@type", words(*TYPES), error=_unknown("device type"))
    bus: str | None = attr("@bus", unless(words("none", *BUSES), "none"), error=_unknown("bus type"))
    model: str | None = attr("@model", words(*MODELS), error=_unknown("model"))
    driver_iommu: bool | None = attr("driver/@iommu", ONOFF)
    driver_ats: bool | None = attr("driver/@ats", ONOFF)
    driver_packed: bool | None = attr("driver/@packed", ONOFF)
    driver_page_per_vq: bool | None = attr("driver/@page_per_vq", ONOFF)
    source_evdev: str | None = attr("source/@evdev")
    source_dev: str | None = attr("source/@dev")
    grab: str | None = attr("source/@grab", words("all"))
    grab_toggle: str | None = attr("source/@grabToggle", words(*GRAB_TOGGLES))
    repeat: bool | None = attr("source/@repeat", ONOFF)
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
