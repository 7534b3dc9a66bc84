"""Host devices that a guest gets for itself, or that a container sees."""

from __future__ import annotations

import re

from lxml import etree

from virtbus_domain.xml.address import (
    HostPciAddress,
    acpi_index,
    address,
    alias,
    boot_loadparm,
    boot_order,
    rom_bar,
    rom_enabled,
    rom_file,
)
from virtbus_domain.xml.network_port import IpAddress, Route
from virtbus_domain.xml.storage_source import StorageAuth, StorageHost
from virtbus_domain.xml.values import NOT_EMPTY, VIRTIO_MODELS
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, choice, element, flag, sub, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, ULONG, UUID, YESNO, ZERO, Kind, Refusal, hexa, words

SUBSYSTEM_TYPES = ("usb", "pci", "scsi", "scsi_host", "mdev")
CAPABILITY_TYPES = ("storage", "misc", "net")
# What libvirt reads of a device's source and of the device, by its type; SCSI by protocol.
SOURCE_FIELDS: dict[str, tuple[str, ...]] = {
    "pci": ("write_filtering", "address"),
    "usb": ("startup_policy", "guest_reset", "missing", "vendor_id", "product_id", "address"),
    "scsi": ("adapter_name", "address"),
    "iscsi": ("protocol", "name", "hosts", "auth", "initiator"),
    "scsi_host": ("protocol", "wwpn"), "mdev": ("address",),
    "storage": ("block",), "misc": ("char",), "net": ("interface",),
}
FIELDS: dict[str, tuple[str, ...]] = {
    "pci": ("driver_name", "teaming_type", "teaming_persistent"),
    "scsi": ("sgio", "rawio", "readonly", "shareable"), "scsi_host": ("model",),
    "mdev": ("model", "display", "ramfb"), "net": ("ips", "routes"),
}
MDEV_MODELS = ("vfio-pci", "vfio-ccw", "vfio-ap")


def _unsupported(detail: str) -> Refusal:
    return (c.VIR_ERR_CONFIG_UNSUPPORTED, detail)


_NO_ADAPTER: Refusal = (c.VIR_ERR_XML_ERROR, "'adapter' name must be specified for scsi hostdev source")
_WWPN = re.compile(r"naa\.(?:0x)?[0-9a-fA-F]{16}", re.ASCII)


def _read_wwpn(name: str) -> str:
    if not _WWPN.fullmatch(name):
        raise ValueError
    return name


def _nonzero(kind: Kind[int]) -> Kind[int]:
    def read(text: str) -> int:
        assert kind.read
        number = kind.read(text)
        if number == 0:
            raise ValueError(ZERO)
        return number

    return Kind(read, kind.write)


_USB_ID = _nonzero(hexa(4))
_ANY_BASE: Kind[int] = Kind(hexa(1).read, str)


@element
class HostUsbAddress(Element):
    """A USB device by the numbers of its bus and of itself, which change when it is plugged in again."""

    bus: int | None = attr("@bus", _ANY_BASE, required=True)
    device: int | None = attr("@device", _ANY_BASE, required=True)


@element
class HostScsiAddress(Element):
    """A unit behind one of the host's SCSI adapters."""

    bus: int | None = attr("@bus", _ANY_BASE, required=True)
    target: int | None = attr("@target", _ANY_BASE, required=True)
    unit: int | None = attr("@unit", ULONG, required=True)


@element
class MdevAddress(Element):
    """A mediated device."""

    uuid: str | None = attr(
        "@uuid", UUID, error=(c.VIR_ERR_INTERNAL_ERROR, "Cannot parse uuid attribute of element <address>"),
        required=_unsupported("Missing 'uuid' attribute for element <address>"))


HostAddress = HostPciAddress | HostUsbAddress | HostScsiAddress | MdevAddress
HOST_ADDRESSES: dict[str, type[HostAddress]] = {
    "pci": HostPciAddress, "usb": HostUsbAddress, "scsi": HostScsiAddress, "mdev": MdevAddress}


def _type_of_device(address: etree._Element) -> str | None:
    """The type of the device in whose source an address stands, if it is one that has an address."""
    source = address.getparent()
    device = source.getparent() if source is not None else None
    kind = device.get("type") if device is not None else None
    return kind if kind in HOST_ADDRESSES else None


@element
class HostdevSource(Element):
    """The host's device, by type: an ``address``, a USB product, a SCSI unit of an adapter or of an iSCSI target.

    ``block``, ``char`` and ``interface`` are what a container sees. ``write_filtering`` keeps a guest from parts of
    a PCI device's configuration, ``guest_reset`` says when it may reset a USB device.
    """

    protocol: str | None = attr("@protocol", words("adapter", "iscsi", "vhost"),
                                error=_unsupported("Unknown SCSI subsystem protocol '{value}'"))
    name: str | None = attr("@name")
    wwpn: str | None = attr("@wwpn", Kind(_read_wwpn), error=(c.VIR_ERR_XML_ERROR, "malformed 'wwpn' value"))
    startup_policy: str | None = attr("@startupPolicy", words("mandatory", "requisite", "optional"))
    guest_reset: str | None = attr("@guestReset", words("off", "uninitialized", "on"))
    write_filtering: bool | None = attr("@writeFiltering", YESNO)
    missing: bool | None = attr("@missing", YESNO, live=True)
    vendor_id: int | None = attr("vendor/@id", _USB_ID, required=True)
    product_id: int | None = attr("product/@id", _USB_ID, required=True)
    hosts: list[StorageHost] = subs("host", StorageHost)
    auth: StorageAuth | None = sub("auth", StorageAuth)
    initiator: str | None = attr("initiator/iqn/@name")
    adapter_name: str | None = attr("adapter/@name", NOT_EMPTY, required=_NO_ADAPTER, error=_NO_ADAPTER)
    address: HostAddress | None = choice("address", _type_of_device, HOST_ADDRESSES, default=HostPciAddress)
    block: str | None = text("block")
    char: str | None = text("char")
    interface: str | None = text("interface")


@element
class Hostdev(Element):
    """A device of the host. A ``managed`` one is taken from its driver when the domain starts, and given back.

    ``teaming_persistent`` is the alias of the interface that takes over while the device is away, as in migration.
    """

    mode: str | None = attr("@mode", words("subsystem", "capabilities"),
                            error=_unsupported("unknown hostdev mode '{value}'"))
    type: str | None = attr("@type", words(*SUBSYSTEM_TYPES, *CAPABILITY_TYPES),
                            error=_unsupported("unknown host device source address type '{value}'"),
                            required=(c.VIR_ERR_XML_ERROR, "missing source address type"))
    managed: bool | None = attr("@managed", Kind(lambda text: text == "yes", lambda on: "yes" if on else "no"))
    sgio: str | None = attr("@sgio", words("filtered", "unfiltered"))
    rawio: bool | None = attr("@rawio", YESNO)
    model: str | None = attr("@model", words(*VIRTIO_MODELS, *MDEV_MODELS))
    display: bool | None = attr("@display", ONOFF)
    ramfb: bool | None = attr("@ramfb", ONOFF)
    driver_name: str | None = attr("driver/@name", words("kvm", "vfio", "xen"))
    source: HostdevSource | None = sub("source", HostdevSource)
    ips: list[IpAddress] = subs("ip", IpAddress)
    routes: list[Route] = subs("route", Route)
    teaming_type: str | None = attr("teaming/@type", words("persistent", "transient"),
                                    error=_unsupported("unknown teaming type '{value}'"))
    teaming_persistent: str | None = attr("teaming/@persistent")
    readonly: bool = flag("readonly")
    shareable: bool = flag("shareable")
    boot_order: int | None = boot_order()
    boot_loadparm: str | None = boot_loadparm()
    alias: str | None = alias()
    rom_enabled: bool | None = rom_enabled()
    rom_bar: bool | None = rom_bar()
    rom_file: str | None = rom_file()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
