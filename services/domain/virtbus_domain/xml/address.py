"""What every device of a domain may carry: where it sits, its name, its place in the boot order, its ROM.

The kinds of address are classes of their own, picked by ``type``; a device's model gets them with ``address()``. The
other functions here are lines that several device models share, so that each is declared once.
"""

from __future__ import annotations

import re

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, choice, element, fixed
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, ORDER, UINT, YESNO, Kind, hexa, words

_HEXADECIMAL = re.compile(r"\s*\+?(?:0[xX])?([0-9a-fA-F]{1,16})", re.ASCII)
_USB_PORT = re.compile(r"\s*\+?[0-9]{1,10}(?:\.\s*\+?[0-9]{1,10}){0,3}", re.ASCII)
_USER_ALIAS = re.compile("ua-[a-zA-Z0-9_-]*", re.ASCII)
_LOADPARM = re.compile("[A-Z0-9. ]+", re.ASCII)


def _base16(width: int, bits: int = 64) -> Kind[int]:
    """A number in hexadecimal even where 0x is left out."""
    def read(text: str) -> int:
        found = _HEXADECIMAL.fullmatch(text)
        if not found or int(found[1], 16) >= 2**bits:
            raise ValueError("Expected non-negative integer value")
        return int(found[1], 16)

    return Kind(read, f"0x{{:0{width}x}}".format)


def _read_usb_port(text: str) -> str | None:
    """Up to four numbers joined by dots; a zero ends the path, as there is no such port."""
    ports = [int(port) for port in text.split(".")] if _USB_PORT.fullmatch(text) else []
    if not ports or max(ports) >= 2**32:
        raise ValueError
    path = ports[:ports.index(0)] if 0 in ports else ports
    return ".".join(map(str, path)) or None


def _read_loadparm(text: str) -> str:
    """What the boot menu of an s390 machine loads: eight characters of a small set, in capitals and without hyphens."""
    name = text.upper().replace("-", "_") if text.isascii() else text
    if not 1 <= len(name) <= 8:
        detail = f"loadparm value '{name}' must be between 1 and 8 characters"
    elif not _LOADPARM.fullmatch(name):
        detail = f"invalid loadparm value '{name}', expecting chars in set of [a-zA-Z0-9.] and blank spaces"
    else:
        return name
    raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, detail, domain=c.VIR_FROM_DOMAIN)


LOADPARM: Kind[str] = Kind(_read_loadparm)


@element
class PciAddress(Element):
    """A function on a PCI bus, in hexadecimal of fixed width; ``zpci`` is what s390 knows it by."""

    type: str = fixed("@type", "pci")
    domain: int | None = attr("@domain", hexa(4))
    bus: int | None = attr("@bus", hexa(2))
    slot: int | None = attr("@slot", hexa(2))
    function: int | None = attr("@function", hexa(1))
    multifunction: bool | None = attr("@multifunction", ONOFF)
    zpci_uid: int | None = attr("zpci/@uid", hexa(4))
    zpci_fid: int | None = attr("zpci/@fid", hexa(8))


@element
class HostPciAddress(Element):
    """A function on the host's PCI bus."""

    domain: int | None = attr("@domain", hexa(4))
    bus: int | None = attr("@bus", hexa(2))
    slot: int | None = attr("@slot", hexa(2))
    function: int | None = attr("@function", hexa(1))


@element
class DriveAddress(Element):
    """A unit on a disk controller."""

    type: str = fixed("@type", "drive")
    controller: int | None = attr("@controller", UINT)
    bus: int | None = attr("@bus", UINT)
    target: int | None = attr("@target", UINT)
    unit: int | None = attr("@unit", UINT)


@element
class VirtioSerialAddress(Element):
    """A port of a virtio-serial controller."""

    type: str = fixed("@type", "virtio-serial")
    controller: int | None = attr("@controller", UINT)
    bus: int | None = attr("@bus", UINT)
    port: int | None = attr("@port", UINT)


@element
class CcidAddress(Element):
    """A slot of a smart card reader."""

    type: str = fixed("@type", "ccid")
    controller: int | None = attr("@controller", UINT)
    slot: int | None = attr("@slot", UINT)


@element
class UsbAddress(Element):
    """A port of a USB bus; below hubs ``port`` is the path to it, "1.2" for the second port of the hub in the first."""

    type: str = fixed("@type", "usb")
    bus: int | None = attr("@bus", UINT)
    port: str | None = attr("@port", Kind(_read_usb_port), error=(
        c.VIR_ERR_INTERNAL_ERROR, "Cannot parse <address> 'port' attribute", c.VIR_FROM_DEVICE))


@element
class SpaprVioAddress(Element):
    """A register of the virtual I/O bus of pSeries machines."""

    type: str = fixed("@type", "spapr-vio")
    reg: int | None = attr("@reg", _base16(8))


@element
class CcwAddress(Element):
    """A device of the channel subsystem of s390 machines."""

    type: str = fixed("@type", "ccw")
    cssid: int | None = attr("@cssid", hexa(1))
    ssid: int | None = attr("@ssid", hexa(1))
    devno: int | None = attr("@devno", hexa(4))


@element
class IsaAddress(Element):
    """I/O port and interrupt line of an ISA device."""

    type: str = fixed("@type", "isa")
    iobase: int | None = attr("@iobase", _base16(1, 32))
    irq: int | None = attr("@irq", _base16(1, 32))


@element
class DimmAddress(Element):
    """A memory slot, and the guest physical address of what is plugged there."""

    type: str = fixed("@type", "dimm")
    slot: int | None = attr("@slot", UINT, required=True)
    base: int | None = attr("@base", _base16(1))


@element
class VirtioMmioAddress(Element):
    """One of the fixed virtio slots of an ARM machine; which one is the machine's choice."""

    type: str = fixed("@type", "virtio-mmio")


@element
class UnassignedAddress(Element):
    """No place: the guest does not see the device, which only goes along with another one of its IOMMU group."""

    type: str = fixed("@type", "unassigned")


@element
class VirtioS390Address(Element):
    """What virtio devices of s390 had before channel addresses; a document that names it is refused."""

    type: str | None = attr("@type", words(), error=(c.VIR_ERR_XML_ERROR, "virtio-s390 bus doesn't have an address"))


ADDRESSES: dict[str, type[Element]] = {
    "pci": PciAddress, "drive": DriveAddress, "virtio-serial": VirtioSerialAddress, "ccid": CcidAddress,
    "usb": UsbAddress, "spapr-vio": SpaprVioAddress, "virtio-s390": VirtioS390Address, "ccw": CcwAddress,
    "virtio-mmio": VirtioMmioAddress, "isa": IsaAddress, "dimm": DimmAddress, "unassigned": UnassignedAddress,
}


def address() -> Element | None:
    """The line of a device's address: one of the models above, picked by its type."""
    return choice("address", "type", ADDRESSES,
                  error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown address type '{value}'"),
                  required=(c.VIR_ERR_INTERNAL_ERROR, "No type specified for device address"))


def is_user_alias(name: str) -> bool:
    """Whether an alias is a user's own choice and so part of a definition."""
    return _USER_ALIAS.fullmatch(name) is not None


def alias() -> str | None:
    """The line of a device's alias: a user's own ("ua-...") is stored, a generated one belongs to a running domain."""
    return attr("alias/@name", live=lambda name, device: not is_user_alias(name))


def acpi_index() -> int | None:
    """The line of the number by which a guest's firmware tables, and so its network names, know a PCI device."""
    return attr("acpi/@index", ORDER)


def boot_order() -> int | None:
    """The line of a device's turn when the guest boots, from 1."""
    return attr("boot/@order", ORDER, required=True)


def boot_loadparm() -> str | None:
    """The line of what an s390 machine's boot loader is told to load from the device."""
    return attr("boot/@loadparm", LOADPARM)


def rom_enabled() -> bool | None:
    """The line that takes a PCI device's ROM away altogether."""
    return attr("rom/@enabled", YESNO)


def rom_bar() -> bool | None:
    """The line that shows or hides a PCI device's ROM in its address space."""
    return attr("rom/@bar", ONOFF)


def rom_file() -> str | None:
    """The line of the host's file that is a PCI device's ROM."""
    return attr("rom/@file")
