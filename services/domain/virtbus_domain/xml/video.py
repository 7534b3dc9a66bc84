"""Video cards of a guest."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_domain.xml.lenient import YES, known, unless
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, UINT, YESNO, Kind, Refusal, words

MODELS = ("vga", "cirrus", "vmvga", "xen", "vbox", "qxl", "parallels", "virtio", "gop", "none", "bochs", "ramfb")


def _read_amount(text: str) -> int | None:
    """A number; an empty text and zero leave the choice to the driver."""
    assert UINT.read
    return (UINT.read(text) or None) if text else None


_AMOUNT: Kind[int | None] = Kind(_read_amount, str)


def _wrong(name: str, code: int = c.VIR_ERR_XML_ERROR) -> Refusal:
    return (code, f"cannot parse video {name} '{{value}}'")


@element
class Video(Element):
    """One card; memory sizes in KiB, ``heads`` the number of screens, ``resolution`` the preferred one in pixels."""

    driver_iommu: bool | None = attr("driver/@iommu", ONOFF)
    driver_ats: bool | None = attr("driver/@ats", ONOFF)
    driver_packed: bool | None = attr("driver/@packed", ONOFF)
    driver_page_per_vq: bool | None = attr("driver/@page_per_vq", ONOFF)
    driver_vgaconf: str | None = attr("driver/@vgaconf", known("on", "off"))
    driver_name: str | None = attr("driver/@name", words("qemu", "vhostuser"))
    model: str | None = attr("model/@type", unless(words("default", "", *MODELS), "default", ""),
                             error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown video model '{value}'"))
    ram: int | None = attr("model/@ram", _AMOUNT, error=_wrong("ram"))
    vram: int | None = attr("model/@vram", _AMOUNT, error=_wrong("vram"))
    vram64: int | None = attr("model/@vram64", _AMOUNT, error=_wrong("vram64"))
    vgamem: int | None = attr("model/@vgamem", _AMOUNT, error=_wrong("vgamem"))
    heads: int | None = attr("model/@heads", _AMOUNT, error=_wrong("heads", c.VIR_ERR_INTERNAL_ERROR))
    primary: bool | None = attr("model/@primary", YES)
    blob: bool | None = attr("model/@blob", ONOFF)
    accel3d: bool | None = attr("model/acceleration/@accel3d", YESNO)
    accel2d: bool | None = attr("model/acceleration/@accel2d", YESNO)
    rendernode: str | None = attr("model/acceleration/@rendernode")
    resolution_x: int | None = attr("model/resolution/@x", UINT)
    resolution_y: int | None = attr("model/resolution/@y", UINT)
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
