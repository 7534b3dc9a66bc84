"""Network interfaces of a guest, and what they are connected to."""

from __future__ import annotations

from virtbus_domain.xml.address import address, alias
from virtbus_domain.xml.network_port import Bandwidth, FilterRef, IpAddress, PortForward, Route, VirtualPort, Vlan
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, sub, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import INT, MAC, ONOFF, ORDER, UINT, UUID, YESNO, words

TYPES = ("user", "ethernet", "vhostuser", "server", "client", "mcast", "network", "bridge", "internal", "direct",
         "hostdev", "udp", "vdpa", "null", "vds")

# Names that a driver gives to host devices by itself: not the user's choice, so not part of a stored definition.
GENERATED_TARGET = ("vnet", "macvtap", "macvlan")


@element
class InterfaceSource(Element):
    """The host's end, by type of interface: a network, a bridge, a host device, a socket or a switch port.

    ``portid`` and, below a network, ``bridge`` tell of a running domain.
    """

    vendor_id: str | None = attr("vendor/@id")
    product_id: str | None = attr("product/@id")
    device_address: Element | None = address()
    type: str | None = attr("@type")
    path: str | None = attr("@path")
    network: str | None = attr("@network")
    portgroup: str | None = attr("@portgroup")
    switchid: str | None = attr("@switchid", UUID)
    portid: str | None = attr("@portid", live=lambda portid, source: source.switchid is None)
    portgroupid: str | None = attr("@portgroupid")
    connectionid: int | None = attr("@connectionid", INT)
    name: str | None = attr("@name")
    bridge: str | None = attr("@bridge", live=lambda bridge, source: source.network is not None)
    mac_table_manager: str | None = attr("@macTableManager", words("kernel", "libvirt"), live=True)
    dev: str | None = attr("@dev")
    mode: str | None = attr("@mode")
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

    name: str | None = attr("@name", words("qemu", "vhost", "kvm", "vfio", "xen"))
    txmode: str | None = attr("@txmode", words("iothread", "timer"))
    ioeventfd: bool | None = attr("@ioeventfd", ONOFF)
    event_idx: bool | None = attr("@event_idx", ONOFF)
    queues: int | None = attr("@queues", UINT)
    rx_queue_size: int | None = attr("@rx_queue_size", UINT)
    tx_queue_size: int | None = attr("@tx_queue_size", UINT)
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
    """The host's device files for tap and vhost, or a ``type`` of user-mode network with its log."""

    type: str | None = attr("@type", words("passt"))
    tap: str | None = attr("@tap")
    vhost: str | None = attr("@vhost")
    log_file: str | None = attr("@logFile")


@element
class Interface(Element):
    """One network card of the guest."""

    type: str | None = attr("@type", words(*TYPES))
    managed: bool | None = attr("@managed", YESNO)
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
    script: str | None = attr("script/@path")
    downscript: str | None = attr("downscript/@path")
    backenddomain: str | None = attr("backenddomain/@name")
    target_dev: str | None = attr("target/@dev", live=lambda name, device: name.startswith(GENERATED_TARGET))
    target_managed: bool | None = attr("target/@managed", YESNO)
    guest_dev: str | None = attr("guest/@dev")
    guest_actual: str | None = attr("guest/@actual")
    model: str | None = attr("model/@type")
    driver: InterfaceDriver | None = sub("driver", InterfaceDriver)
    backend: InterfaceBackend | None = sub("backend", InterfaceBackend)
    filterref: FilterRef | None = sub("filterref", FilterRef)
    sndbuf: int | None = text("tune/sndbuf", UINT)
    teaming_type: str | None = attr("teaming/@type", words("persistent", "transient"))
    teaming_persistent: str | None = attr("teaming/@persistent")
    link_state: str | None = attr("link/@state", words("up", "down"))
    mtu: int | None = attr("mtu/@size", UINT)
    coalesce_rx_frames_max: int | None = attr("coalesce/rx/frames/@max", UINT)
    boot_order: int | None = attr("boot/@order", ORDER)
    boot_loadparm: str | None = attr("boot/@loadparm")
    alias: str | None = alias()
    rom_enabled: bool | None = attr("rom/@enabled", YESNO)
    rom_bar: bool | None = attr("rom/@bar", ONOFF)
    rom_file: str | None = attr("rom/@file")
    acpi_index: int | None = attr("acpi/@index", UINT)
    address: Element | None = address()
