"""The node device document: what a client reads about one piece of the node's hardware.

Orchestrators parse these documents (nova its PCI and network features, vdsm its disks), so the names and the order are
libvirt's: https://libvirt.org/formatnode.html, and ``virNodeDeviceDefFormat`` of 9.0.0 for what the page leaves open.
The service only writes them; reading serves tests and, later, the devices that clients create.
"""

from __future__ import annotations

from virtbus_shared import constants as c
from virtbus_shared.service.xml import Document, attr, choice, each, element, fixed, sub, subs, text
from virtbus_shared.service.xml_lines import Element, Partial
from virtbus_shared.service.xml_values import MAC, UINT, ULONG, hexa, number, words

__all__ = ["DevNode", "IdName", "IommuGroup", "NetCapability", "NodeDevice", "PciAddress", "PciCapability", "PciLink",
           "PciSubCapability", "RemovableMedia", "StorageCapability", "SystemCapability", "format_device",
           "parse_device"]


@element
class DevNode(Partial):
    """A file under /dev: ``type`` "dev" for the node itself, "link" for a symbolic link to it."""

    type: str | None = attr("@type", words("dev", "link"))
    path: str | None = text(".")


@element
class Capability(Partial):
    """A capability whose family has no model: kept as it is."""

    type: str | None = attr("@type")


@element
class SystemCapability(Partial):
    """The computer itself, as its firmware (DMI) describes it."""

    type: str = fixed("@type", "system")
    product: str | None = text("product")
    hardware_vendor: str | None = text("hardware/vendor")
    hardware_version: str | None = text("hardware/version")
    hardware_serial: str | None = text("hardware/serial")
    hardware_uuid: str | None = text("hardware/uuid")
    firmware_vendor: str | None = text("firmware/vendor")
    firmware_version: str | None = text("firmware/version")
    firmware_release_date: str | None = text("firmware/release_date")


@element
class IdName(Partial):
    """A PCI vendor or product: its number, and its name where the PCI database knows one."""

    id: int | None = attr("@id", hexa(4))
    name: str | None = text(".")


@element
class PciAddress(Partial):
    """Where a PCI function is."""

    domain: int | None = attr("@domain", hexa(4))
    bus: int | None = attr("@bus", hexa(2))
    slot: int | None = attr("@slot", hexa(2))
    function: int | None = attr("@function", hexa(1))


@element
class PciSubCapability(Partial):
    """``phys_function`` and ``virt_functions`` with addresses (SR-IOV), or a bridge kind without any."""

    type: str | None = attr("@type")
    max_count: int | None = attr("@maxCount", UINT)
    addresses: list[PciAddress] = subs("address", PciAddress)


@element
class IommuGroup(Partial):
    """The functions that can only be assigned to a guest together."""

    number: int | None = attr("@number", UINT)
    addresses: list[PciAddress] = subs("address", PciAddress)


@element
class PciLink(Partial):
    """A PCI Express link: what the device can ("cap", with its port) or what was negotiated ("sta"); speed in GT/s."""

    validity: str | None = attr("@validity", words("cap", "sta"))
    port: int | None = attr("@port", UINT)
    speed: str | None = attr("@speed", words("2.5", "5", "8", "16", "32", "64"))
    width: int | None = attr("@width", UINT)


@element
class PciCapability(Partial):
    """A PCI function; ``class_code`` is the 24-bit class, the address is written in decimal here."""

    type: str = fixed("@type", "pci")
    class_code: int | None = text("class", hexa(6))
    domain: int | None = text("domain", UINT)
    bus: int | None = text("bus", UINT)
    slot: int | None = text("slot", UINT)
    function: int | None = text("function", UINT)
    product: IdName | None = sub("product", IdName)
    vendor: IdName | None = sub("vendor", IdName)
    capabilities: list[PciSubCapability] = subs("capability", PciSubCapability)
    iommu_group: IommuGroup | None = sub("iommuGroup", IommuGroup)
    numa_node: int | None = attr("numa/@node", UINT)
    links: list[PciLink] = subs("pci-express/link", PciLink)


@element
class NetCapability(Partial):
    """A network interface of the host; ``link_speed`` in Mbit/s, ``features`` by libvirt's names (rx, tso, rdma)."""

    type: str = fixed("@type", "net")
    interface: str | None = text("interface")
    address: str | None = text("address", MAC)
    link_speed: int | None = attr("link/@speed", UINT)
    link_state: str | None = attr("link/@state", words("unknown", "notpresent", "down", "lowerlayerdown", "testing",
                                                       "dormant", "up"))
    features: list[str] = each("feature/@name")
    subtype: str | None = attr("capability/@type", words("80203", "80211"))


@element
class RemovableMedia(Partial):
    """What is in a drive with removable media; sizes in bytes."""

    type: str = fixed("@type", "removable")
    available: int | None = text("media_available", number(1))
    size: int | None = text("media_size", ULONG)
    label: str | None = text("media_label")
    logical_block_size: int | None = text("logical_block_size", ULONG)
    num_blocks: int | None = text("num_blocks", ULONG)


@element
class StorageCapability(Partial):
    """A disk of the host; ``block`` is its device node, ``size`` in bytes (absent for removable media)."""

    type: str = fixed("@type", "storage")
    block: str | None = text("block")
    bus: str | None = text("bus")
    drive_type: str | None = text("drive_type")
    model: str | None = text("model")
    vendor: str | None = text("vendor")
    serial: str | None = text("serial")
    removable: RemovableMedia | None = sub("capability", RemovableMedia)
    size: int | None = text("size", ULONG)
    logical_block_size: int | None = text("logical_block_size", ULONG)
    num_blocks: int | None = text("num_blocks", ULONG)


CAPABILITIES: dict[str, type[Element]] = {
    "system": SystemCapability, "pci": PciCapability, "net": NetCapability, "storage": StorageCapability,
} | dict.fromkeys(("usb_device", "usb", "scsi_host", "scsi_target", "scsi", "scsi_generic", "drm", "mdev", "ccw", "css",
                   "vdpa", "ap_card", "ap_queue", "ap_matrix"), Capability)


@element
class NodeDevice(Partial):
    """One device: ``path`` in sysfs, ``parent`` by libvirt's name ("computer" for the root)."""

    name: str | None = text("name")
    path: str | None = text("path")
    devnodes: list[DevNode] = subs("devnode", DevNode)
    parent: str | None = text("parent")
    driver: str | None = text("driver/name")
    capability: Element | None = choice("capability", "type", CAPABILITIES)


_DEVICE = Document(NodeDevice, "device", "node_device_definition", c.VIR_FROM_NODEDEV)


def parse_device(text: str) -> NodeDevice:
    """The device that a document describes."""
    return _DEVICE.parse(text)


def format_device(device: NodeDevice) -> str:
    """The document that a client reads."""
    return _DEVICE.format(device)
