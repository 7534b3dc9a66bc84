"""Network interfaces of a guest, and what they are connected to."""

from __future__ import annotations

import re

from virtbus_domain.xml.address import (
    PciAddress,
    acpi_index,
    address,
    alias,
    boot_loadparm,
    boot_order,
    rom_bar,
    rom_enabled,
    rom_file,
)
from virtbus_domain.xml.lenient import TEXT, YES, known, unless
from virtbus_domain.xml.network_port import Bandwidth, FilterRef, IpAddress, PortForward, Route, VirtualPort, Vlan
from virtbus_domain.xml.values import UINT_OR_ZERO
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, choice, element, fixed, sub, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import (
    INT,
    MAC,
    ONOFF,
    UINT,
    ULONG,
    UUID,
    YESNO,
    Kind,
    Refusal,
    hexa,
    words,
)

TYPES = ("user", "ethernet", "vhostuser", "server", "client", "mcast", "network", "bridge", "internal", "direct",
         "hostdev", "udp", "vdpa", "null", "vds")
VIRTIO_MODELS = ("virtio", "virtio-transitional", "virtio-non-transitional")
DIRECT_MODES = ("vepa", "private", "bridge", "passthrough")
VHOSTUSER_MODES = ("client", "server")
HOSTDEV_DRIVERS = ("kvm", "vfio", "xen")

# Names that a driver gives to host devices by itself: not the user's choice, so not part of a stored definition.
GENERATED_TARGET = ("vnet", "macvtap", "macvlan")

# What libvirt reads of a source, by type of interface; the addresses of ``ips`` and ``routes`` it always reads.
SOURCE_FIELDS: dict[str, tuple[str, ...]] = {
    "ethernet": (),
    "vhostuser": ("type", "path", "mode", "reconnect_enabled", "reconnect_timeout"),
    "server": ("address", "port"), "client": ("address", "port"), "mcast": ("address", "port"),
    "udp": ("address", "port", "local_address", "local_port"),
    "network": ("network", "portgroup", "portid", "bridge", "mac_table_manager"),
    "bridge": ("bridge", "mac_table_manager"),
    "internal": ("name",),
    "direct": ("dev", "mode"),
    "hostdev": ("vendor_id", "product_id", "device_address"),
    "vdpa": ("dev",),
    "vds": ("switchid", "portid", "portgroupid", "connectionid"),
}

_LONG = re.compile(r"\s*[+-]?[0-9]{1,19}", re.ASCII)


def _unsupported(detail: str) -> Refusal:
    return (c.VIR_ERR_CONFIG_UNSUPPORTED, detail)


def _read_long(text: str) -> int:
    if not _LONG.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        raise ValueError("Expected long long integer value")
    return int(text)


def _read_switch(text: str) -> str:
    assert UUID.read
    try:
        return UUID.read(text)
    except ValueError:
        raise ValueError("Expected UUID") from None


def _read_vendor(text: str) -> int:
    assert _USB_ID.read
    number = _USB_ID.read(text)
    if number == 0:
        raise ValueError("Zero is not permitted")
    return number


def _read_mtu(text: str) -> int | None:
    assert UINT_OR_ZERO.read
    return UINT_OR_ZERO.read(text) if text else None


def _read_frames(text: str) -> int | None:
    if not text:
        return None
    assert ULONG.read
    try:
        number = ULONG.read(text)
    except ValueError:
        detail = f"cannot parse value '{text}' for coalesce parameter"
        raise LibvirtError(c.VIR_ERR_XML_DETAIL, detail, domain=c.VIR_FROM_DOMAIN) from None
    if number > _MAX_UINT:
        detail = f"value '{text}' is too big for coalesce parameter, maximum is '{_MAX_UINT}'"
        raise LibvirtError(c.VIR_ERR_OVERFLOW, detail, domain=c.VIR_FROM_DOMAIN)
    return number or None


_MAX_UINT = 2**32 - 1
_USB_ID = hexa(4)


@element
class HostUsbAddress(Element):
    """Where the host sees a USB device."""

    type: str = fixed("@type", "usb")
    bus: int | None = attr("@bus", Kind(hexa(1).read, str))
    device: int | None = attr("@device", Kind(hexa(1).read, str))


@element
class InterfaceSource(Element):
    """The host's end, by type of interface: a network, a bridge, a host device, a socket or a switch port.

    ``portid`` and, below a network, ``bridge`` tell of a running domain. ``reconnect_timeout`` is in seconds.
    """

    type: str | None = attr("@type", words("unix"),
                            error=_unsupported("Type='{value}' unsupported for <interface type='vhostuser'>"))
    path: str | None = attr("@path")
    network: str | None = attr("@network")
    portgroup: str | None = attr("@portgroup")
    switchid: str | None = attr("@switchid", Kind(_read_switch))
    portid: str | None = attr("@portid", live=lambda portid, source: source.switchid is None)
    portgroupid: str | None = attr("@portgroupid")
    connectionid: int | None = attr("@connectionid", Kind(_read_long, str))
    name: str | None = attr("@name")
    bridge: str | None = attr("@bridge", live=lambda bridge, source: source.network is not None)
    mac_table_manager: str | None = attr("@macTableManager", known("kernel", "libvirt"), live=True)
    dev: str | None = attr("@dev")
    mode: str | None = attr("@mode", words(*DIRECT_MODES, *VHOSTUSER_MODES))
    vendor_id: int | None = attr("vendor/@id", Kind(_read_vendor, _USB_ID.write))
    product_id: int | None = attr("product/@id", _USB_ID)
    device_address: Element | None = choice(
        "address", "type", {"pci": PciAddress, "usb": HostUsbAddress},
        error=_unsupported("unknown host device source address type '{value}'"))
    address: str | None = attr("@address")
    port: int | None = attr("@port", INT)
    local_address: str | None = attr("local/@address")
    local_port: int | None = attr("local/@port", INT)
    reconnect_enabled: bool | None = attr("reconnect/@enabled", YESNO)
    reconnect_timeout: int | None = attr("reconnect/@timeout", UINT)
    ips: list[IpAddress] = subs("ip", IpAddress)
    routes: list[Route] = subs("route", Route)


@element
class InterfaceDriver(Element):
    """How packets move between host and guest: the back end, its queues, and the virtio features of both sides."""

    name: str | None = attr("@name", words("qemu", "vhost", *HOSTDEV_DRIVERS))
    txmode: str | None = attr("@txmode", words("iothread", "timer"))
    ioeventfd: bool | None = attr("@ioeventfd", ONOFF)
    event_idx: bool | None = attr("@event_idx", ONOFF)
    queues: int | None = attr("@queues", UINT_OR_ZERO)
    rx_queue_size: int | None = attr("@rx_queue_size", UINT_OR_ZERO)
    tx_queue_size: int | None = attr("@tx_queue_size", UINT_OR_ZERO)
    rss: bool | None = attr("@rss", ONOFF)
    rss_hash_report: bool | None = attr("@rss_hash_report", ONOFF)
    iommu: bool | None = attr("@iommu", ONOFF)
    ats: bool | None = attr("@ats", ONOFF)
    packed: bool | None = attr("@packed", ONOFF)
    page_per_vq: bool | None = attr("@page_per_vq", ONOFF)
    host_csum: bool | None = attr("host/@csum", ONOFF)
    host_gso: bool | None = attr("host/@gso", ONOFF)
    host_tso4: bool | None = attr("host/@tso4", ONOFF)
    host_tso6: bool | None = attr("host/@tso6", ONOFF)
    host_ecn: bool | None = attr("host/@ecn", ONOFF)
    host_ufo: bool | None = attr("host/@ufo", ONOFF)
    host_mrg_rxbuf: bool | None = attr("host/@mrg_rxbuf", ONOFF)
    guest_csum: bool | None = attr("guest/@csum", ONOFF)
    guest_tso4: bool | None = attr("guest/@tso4", ONOFF)
    guest_tso6: bool | None = attr("guest/@tso6", ONOFF)
    guest_ecn: bool | None = attr("guest/@ecn", ONOFF)
    guest_ufo: bool | None = attr("guest/@ufo", ONOFF)


@element
class InterfaceBackend(Element):
    """The host's device files for tap and vhost, or what runs a user's network, with its log."""

    type: str | None = attr("@type", words("passt"))
    tap: str | None = attr("@tap")
    vhost: str | None = attr("@vhost")
    log_file: str | None = attr("@logFile")


@element
class Interface(Element):
    """One network card of the guest. ``mtu`` and ``sndbuf`` are in bytes; ``guest_dev`` is its name in a container."""

    type: str | None = attr("@type", words(*TYPES))
    managed: bool | None = attr("@managed", YES)
    trust_guest_rx_filters: bool | None = attr("@trustGuestRxFilters", YESNO)
    mac: str | None = attr("mac/@address", MAC,
                           error=(c.VIR_ERR_XML_ERROR, "unable to parse mac address '{value}'"))
    mac_type: str | None = attr("mac/@type", words("generated", "static"))
    mac_check: bool | None = attr("mac/@check", YESNO)
    source: InterfaceSource | None = sub("source", InterfaceSource)
    vlan: Vlan | None = sub("vlan", Vlan)
    virtualport: VirtualPort | None = sub("virtualport", VirtualPort)
    bandwidth: Bandwidth | None = sub("bandwidth", Bandwidth)
    port_isolated: bool | None = attr("port/@isolated", YESNO)
    ips: list[IpAddress] = subs("ip", IpAddress)
    routes: list[Route] = subs("route", Route)
    port_forwards: list[PortForward] = subs("portForward", PortForward)
    script: str | None = attr("script/@path", TEXT)
    downscript: str | None = attr("downscript/@path", TEXT)
    backenddomain: str | None = attr("backenddomain/@name", TEXT)
    target_dev: str | None = attr("target/@dev", live=lambda name, device: name.startswith(GENERATED_TARGET))
    target_managed: bool | None = attr("target/@managed", YESNO)
    guest_dev: str | None = attr("guest/@dev", TEXT)
    guest_actual: str | None = attr("guest/@actual", TEXT)
    model: str | None = attr("model/@type", TEXT)
    driver: InterfaceDriver | None = sub("driver", InterfaceDriver)
    backend: InterfaceBackend | None = sub("backend", InterfaceBackend)
    filterref: FilterRef | None = sub("filterref", FilterRef)
    sndbuf: int | None = text("tune/sndbuf", ULONG,
                              error=(c.VIR_ERR_XML_ERROR, "sndbuf must be a positive integer"))
    teaming_type: str | None = attr("teaming/@type", unless(words("", "persistent", "transient"), ""),
                                    error=_unsupported("unknown teaming type '{value}'"))
    teaming_persistent: str | None = attr("teaming/@persistent", TEXT)
    link_state: str | None = attr("link/@state", unless(words("", "up", "down"), ""),
                                  error=_unsupported("unknown interface link state '{value}'"))
    mtu: int | None = attr("mtu/@size", Kind(_read_mtu, str), error=(c.VIR_ERR_XML_ERROR, "malformed mtu size"))
    coalesce_rx_frames_max: int | None = attr("coalesce/rx/frames/@max", Kind(_read_frames, str))
    boot_order: int | None = boot_order()
    boot_loadparm: str | None = boot_loadparm()
    alias: str | None = alias()
    rom_enabled: bool | None = rom_enabled()
    rom_bar: bool | None = rom_bar()
    rom_file: str | None = rom_file()
    acpi_index: int | None = acpi_index()
    address: Element | None = address()
