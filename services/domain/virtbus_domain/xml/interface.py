"""Network interfaces of a guest, and what they are connected to."""

from __future__ import annotations

from virtbus_domain.xml.address import address, alias
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, raw, sub
from virtbus_shared.service.xml_lines import Element, Raw
from virtbus_shared.service.xml_values import MAC, ORDER, UINT, words

TYPES = ("user", "ethernet", "vhostuser", "server", "client", "mcast", "network", "bridge", "internal", "direct",
         "hostdev", "udp", "vdpa", "null", "vds")

# Names that a driver gives to host devices by itself: not the user's choice, so not part of a stored definition.
GENERATED_TARGET = "vnet"


@element
class InterfaceSource(Element):
    """A network, a bridge or a host device; ``portid`` and, below a network, ``bridge`` tell of a running domain."""

    network: str | None = attr("@network")
    portgroup: str | None = attr("@portgroup")
    portid: str | None = attr("@portid", live=True)
    bridge: str | None = attr("@bridge", live=lambda bridge, source: source.network is not None)
    dev: str | None = attr("@dev")
    mode: str | None = attr("@mode")


@element
class Interface(Element):
    """One network card of the guest."""

    type: str | None = attr("@type", words(*TYPES))
    trust_guest_rx_filters: str | None = attr("@trustGuestRxFilters", words("yes", "no"))
    mac: str | None = attr("mac/@address", MAC,
                           error=(c.VIR_ERR_XML_ERROR, "unable to parse mac address '{value}'"))
    mac_type: str | None = attr("mac/@type", words("generated", "static"))
    mac_check: str | None = attr("mac/@check", words("yes", "no"))
    source: InterfaceSource | None = sub("source", InterfaceSource)
    vlan: tuple[Raw, ...] = raw("vlan")
    virtualport: tuple[Raw, ...] = raw("virtualport")
    bandwidth: tuple[Raw, ...] = raw("bandwidth")
    port: tuple[Raw, ...] = raw("port")
    ip: tuple[Raw, ...] = raw("ip")
    route: tuple[Raw, ...] = raw("route")
    script: tuple[Raw, ...] = raw("script")
    downscript: tuple[Raw, ...] = raw("downscript")
    backenddomain: tuple[Raw, ...] = raw("backenddomain")
    guest: tuple[Raw, ...] = raw("guest")
    target_dev: str | None = attr("target/@dev", live=lambda name, device: name.startswith(GENERATED_TARGET))
    target_managed: str | None = attr("target/@managed", words("yes", "no"))
    model: str | None = attr("model/@type")
    driver: tuple[Raw, ...] = raw("driver")
    backend: tuple[Raw, ...] = raw("backend")
    filterref: tuple[Raw, ...] = raw("filterref")
    tune: tuple[Raw, ...] = raw("tune")
    link_state: str | None = attr("link/@state", words("up", "down"))
    mtu: int | None = attr("mtu/@size", UINT)
    teaming: tuple[Raw, ...] = raw("teaming")
    coalesce: tuple[Raw, ...] = raw("coalesce")
    boot_order: int | None = attr("boot/@order", ORDER)
    alias: str | None = alias()
    rom: tuple[Raw, ...] = raw("rom")
    address: Element | None = address()
