"""Controllers: the buses that other devices sit on."""

from __future__ import annotations

from virtbus_domain.xml.address import acpi_index, address, alias
from virtbus_domain.xml.lenient import unless
from virtbus_domain.xml.values import NON_NEGATIVE, UINT_OR_ZERO, VIRTIO_MODELS, wrong_text
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, element, size, sub, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, UINT, Kind, words

# The models of each type; a type that is not here has none.
MODELS: dict[str, tuple[str, ...]] = {
    "ide": ("piix3", "piix4", "ich6"),
    "scsi": ("auto", "buslogic", "lsilogic", "lsisas1068", "vmpvscsi", "ibmvscsi", "virtio-scsi", "lsisas1078",
             "virtio-transitional", "virtio-non-transitional", "ncr53c90", "dc390", "am53c974"),
    "virtio-serial": VIRTIO_MODELS,
    "usb": ("piix3-uhci", "piix4-uhci", "ehci", "ich9-ehci1", "ich9-uhci1", "ich9-uhci2", "ich9-uhci3",
            "vt82c686b-uhci", "pci-ohci", "nec-xhci", "qusb1", "qusb2", "qemu-xhci", "none"),
    "pci": ("pci-root", "pcie-root", "pci-bridge", "dmi-to-pci-bridge", "pcie-to-pci-bridge", "pcie-root-port",
            "pcie-switch-upstream-port", "pcie-switch-downstream-port", "pci-expander-bus", "pcie-expander-bus"),
}
TYPES = ("ide", "fdc", "scsi", "sata", "virtio-serial", "ccid", "usb", "pci", "xenbus", "isa")
# What libvirt reads of a controller, by its type, beyond what all have.
FIELDS: dict[str, tuple[str, ...]] = {
    "virtio-serial": ("ports", "vectors"), "usb": ("ports",), "xenbus": ("max_grant_frames", "max_event_channels"),
    "pci": ("model_name", "target_chassis_nr", "target_chassis", "target_port", "target_bus_nr", "target_index",
            "target_hotplug", "target_node", "pcihole64"),
}
PCI_MODEL_NAMES = ("pci-bridge", "i82801b11-bridge", "ioh3420", "x3130-upstream", "xio3130-downstream", "pxb",
                   "pxb-pcie", "pcie-root-port", "spapr-pci-host-bridge", "pcie-pci-bridge")


def _in_range(name: str, low: int, high: int, write: str = "{}") -> Kind[int]:
    """One of the numbers by which a PCI controller is told apart; ``name`` is what the refusal calls it."""
    def read(text: str) -> int:
        number = _read_any_base(text)
        if not low <= number <= high:
            detail = f"PCI controller {name} '{number}' out of range - must be {low}-{high}"
            raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_DOMAIN)
        return number

    return Kind(read, write.format)


def _read_any_base(text: str) -> int:
    base = 16 if text[:2].lower() == "0x" else 8 if text[:1] == "0" and len(text) > 1 else 10
    try:
        number = int(text, base) if text.isascii() and len(text) < 12 and "_" not in text else None
    except ValueError:
        number = None
    if number is None or not -(2**31) <= number < 2**31:
        raise ValueError("Expected integer value")
    if number < 0:
        raise ValueError("Expected non-negative value")
    return number


@element
class ControllerDriver(Element):
    """How a SCSI or another virtio controller works: its queues, limits and threads, and virtio's own options."""

    queues: int | None = attr("@queues", UINT_OR_ZERO)
    cmd_per_lun: int | None = attr("@cmd_per_lun", UINT_OR_ZERO)
    max_sectors: int | None = attr("@max_sectors", UINT_OR_ZERO)
    ioeventfd: bool | None = attr("@ioeventfd", ONOFF)
    iothread: int | None = attr("@iothread", UINT_OR_ZERO)
    iommu: bool | None = attr("@iommu", ONOFF)
    ats: bool | None = attr("@ats", ONOFF)
    packed: bool | None = attr("@packed", ONOFF)
    page_per_vq: bool | None = attr("@page_per_vq", ONOFF)


@element
class Controller(Element):
    """One controller; type and ``index`` are what device addresses refer to.

    ``master_startport`` makes it a companion of the USB controller of the same index, from that port on. The target
    is of PCI controllers: ``target_chassis`` and ``target_port`` are what a guest sees of a slot for hot-plugging,
    ``pcihole64`` is the size in KiB of the window for large devices.
    """

    type: str | None = attr("@type", words(*TYPES))
    index: int | None = attr("@index", NON_NEGATIVE)
    model: str | None = attr("@model", words(*dict.fromkeys(model for models in MODELS.values() for model in models)),
                             error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "Unknown model type '{value}'"))
    ports: int | None = attr("@ports", NON_NEGATIVE)
    vectors: int | None = attr("@vectors", NON_NEGATIVE)
    max_grant_frames: int | None = attr("@maxGrantFrames", NON_NEGATIVE)
    max_event_channels: int | None = attr("@maxEventChannels", NON_NEGATIVE)
    driver: ControllerDriver | None = sub("driver", ControllerDriver)
    model_name: str | None = attr("model/@name", unless(words("none", *PCI_MODEL_NAMES), "none"))
    target_chassis_nr: int | None = attr("target/@chassisNr", _in_range("chassisNr", 1, 255))
    target_chassis: int | None = attr("target/@chassis", _in_range("chassis", 0, 255))
    target_port: int | None = attr("target/@port", _in_range("port", 0, 255, "0x{:x}"))
    target_bus_nr: int | None = attr("target/@busNr", _in_range("busNr", 1, 254))
    target_index: int | None = attr("target/@index", Kind(_read_any_base, str))
    target_hotplug: bool | None = attr("target/@hotplug", ONOFF)
    target_node: int | None = text("target/node", UINT,
                                   error=(c.VIR_ERR_XML_ERROR, "invalid NUMA node in target"))
    alias: str | None = alias()
    master_startport: int | None = attr("master/@startport", UINT)
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
    pcihole64: int | None = size("pcihole64", "KiB", error=wrong_text("./pcihole64"))
