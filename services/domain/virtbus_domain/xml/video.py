"""Video cards of a guest."""

from __future__ import annotations

from virtbus_domain.xml.address import address, alias
from virtbus_shared.service.xml import attr, element
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, UINT, YESNO, words

MODELS = ("vga", "cirrus", "vmvga", "xen", "vbox", "qxl", "parallels", "virtio", "gop", "none", "bochs", "ramfb")


@element
class Video(Element):
    """One card; memory sizes in KiB, ``heads`` the number of screens, ``resolution`` the preferred one in pixels."""

    driver_iommu: bool | None = attr("driver/@iommu", ONOFF)
    driver_ats: bool | None = attr("driver/@ats", ONOFF)
    driver_packed: bool | None = attr("driver/@packed", ONOFF)
    driver_page_per_vq: bool | None = attr("driver/@page_per_vq", ONOFF)
    driver_vgaconf: str | None = attr("driver/@vgaconf", words("io", "on", "off"))
    driver_name: str | None = attr("driver/@name", words("qemu", "vhostuser"))
    model: str | None = attr("model/@type", words(*MODELS))
    ram: int | None = attr("model/@ram", UINT)
    vram: int | None = attr("model/@vram", UINT)
    vram64: int | None = attr("model/@vram64", UINT)
    vgamem: int | None = attr("model/@vgamem", UINT)
    heads: int | None = attr("model/@heads", UINT)
    primary: bool | None = attr("model/@primary", YESNO)
    blob: bool | None = attr("model/@blob", ONOFF)
    accel3d: bool | None = attr("model/acceleration/@accel3d", YESNO)
    accel2d: bool | None = attr("model/acceleration/@accel2d", YESNO)
    rendernode: str | None = attr("model/acceleration/@rendernode")
    resolution_x: int | None = attr("model/resolution/@x", UINT)
    resolution_y: int | None = attr("model/resolution/@y", UINT)
    alias: str | None = alias()
    acpi_index: int | None = attr("acpi/@index", UINT)
    address: Element | None = address()
