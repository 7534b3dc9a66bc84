"""What every device of a domain may carry: where it sits, and the name that joins it to QEMU's objects and events."""

from __future__ import annotations

from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, choice, element, fixed
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, UINT, hexa


@element
class PciAddress(Element):
    """A function on a PCI bus; libvirt writes these numbers in hexadecimal of fixed width."""

    type: str = fixed("@type", "pci")
    domain: int | None = attr("@domain", hexa(4))
    bus: int | None = attr("@bus", hexa(2))
    slot: int | None = attr("@slot", hexa(2))
    function: int | None = attr("@function", hexa(1))
    multifunction: bool | None = attr("@multifunction", ONOFF)


@element
class DriveAddress(Element):
    """A unit on a disk controller."""

    type: str = fixed("@type", "drive")
    controller: int | None = attr("@controller", UINT)
    bus: int | None = attr("@bus", UINT)
    target: int | None = attr("@target", UINT)
    unit: int | None = attr("@unit", UINT)


@element
class OtherAddress(Element):
    """An address of another kind, kept as written."""

    type: str | None = attr("@type")


ADDRESSES: dict[str, type[Element]] = {"pci": PciAddress, "drive": DriveAddress} | dict.fromkeys(
    ("none", "virtio-serial", "ccid", "usb", "spapr-vio", "virtio-s390", "ccw", "virtio-mmio", "isa", "dimm",
     "unassigned"), OtherAddress)


def address() -> Element | None:
    """The line of a device's address: one of the models above, picked by its type."""
    return choice("address", "type", ADDRESSES, error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown address type '{value}'"))


def alias() -> str | None:
    """The line of a device's alias: a user's own ("ua-...") is stored, a generated one belongs to a running domain."""
    return attr("alias/@name", live=lambda name, device: not name.startswith("ua-"))
