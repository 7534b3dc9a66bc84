"""Memory modules: memory that is plugged into a guest as a device, ordinary, persistent or resizable."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_domain.xml.bitmap import canonical
from virtbus_domain.xml.values import wrong_text
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, flag, text
from virtbus_shared.service.xml import size as kibibytes
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import UINT, UUID, YESNO, Kind, words

# What libvirt reads of a module, by its model, beyond what all have.
FIELDS: dict[str, tuple[str, ...]] = {
    "dimm": ("nodemask", "pagesize", "node"),
    "nvdimm": ("uuid", "source_path", "alignsize", "pmem", "node", "label_size", "readonly"),
    "virtio-pmem": ("source_path",),
    "virtio-mem": ("nodemask", "pagesize", "node", "block", "requested", "current"),
    "sgx-epc": ("nodemask", "node"),
}


@element
class MemoryDevice(Element):
    """One module; sizes are in KiB.

    ``requested`` is how much of a virtio-mem device the guest should use, in steps of ``block``; ``current`` how much
    it does. ``node`` is the guest's NUMA node, ``nodemask`` the host's nodes that the memory comes from.
    """

    model: str | None = attr("@model", words("dimm", "nvdimm", "virtio-pmem", "virtio-mem", "sgx-epc"),
                             required=True)
    access: str | None = attr("@access", words("shared", "private"))
    discard: bool | None = attr("@discard", YESNO)
    uuid: str | None = text("uuid", UUID, error=(c.VIR_ERR_INTERNAL_ERROR, "malformed uuid element"))
    nodemask: str | None = text("source/nodemask", Kind(canonical))
    pagesize: int | None = kibibytes("source/pagesize", "KiB", error=wrong_text("./pagesize"))
    source_path: str | None = text("source/path")
    alignsize: int | None = kibibytes("source/alignsize", "KiB", error=wrong_text("./alignsize"))
    pmem: bool = flag("source/pmem")
    size: int | None = kibibytes("target/size", "KiB", error=wrong_text("./size"))
    node: int | None = text("target/node", UINT, error=(c.VIR_ERR_XML_ERROR, "invalid value of memory device node"))
    label_size: int | None = kibibytes("target/label/size", "KiB", error=wrong_text("./label/size"))
    readonly: bool = flag("target/readonly")
    block: int | None = kibibytes("target/block", "KiB", error=wrong_text("./block"))
    requested: int | None = kibibytes("target/requested", "KiB", error=wrong_text("./requested"))
    current: int | None = kibibytes("target/current", "KiB", error=wrong_text("./current"), live=True)
    alias: str | None = alias()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
