"""Network interfaces: their type, their MAC address, what a connection has to name, and what QEMU cannot connect."""

from __future__ import annotations

import ipaddress
import re

from virtbus_domain.normalise.context import Context, internal_error, qemu_unsupported, unsupported, xml_error
from virtbus_domain.normalise.virtual_port import read_virtual_port
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.interface import GENERATED_TARGET, HOSTDEV_DRIVERS, VIRTIO_MODELS, Interface, InterfaceSource
from virtbus_domain.xml.network_port import Bandwidth, IpAddress, Route, Vlan
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

# What a source has to name, by type of interface; those types need a source.
_NEEDED: dict[str | None, tuple[str, ...]] = {
    "network": ("network",), "bridge": ("bridge",), "direct": ("dev",), "internal": ("name",), "vdpa": ("dev",),
    "vds": (), "vhostuser": ("type", "path", "mode"), "server": ("port",), "client": ("port", "address"),
    "mcast": ("port", "address"), "udp": ("port", "address")}
_MODEL = re.compile("[a-zA-Z0-9_-]+", re.ASCII)
_WITH_MTU = ("network", "bridge", "ethernet", "vhostuser", "vdpa", "direct")
_COALESCED = ("network", "bridge", "ethernet", "direct")
_ISOLATED = ("network", "bridge")


def _missing(attribute: str, element: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_XML_ERROR, f"Missing required attribute '{attribute}' in element '{element}'",
                        domain=c.VIR_FROM_XML)


def _general(detail: str, code: int) -> LibvirtError:
    return LibvirtError(code, detail, domain=c.VIR_FROM_NONE)


# --- reading --------------------------------------------------------------------------------------------------------


def read_interfaces(domain: Domain, context: Context) -> None:
    """Type and MAC address of each interface; refuse a connection that names no other end."""
    assert domain.devices
    for interface in domain.devices.interfaces:
        interface.type = interface.type or "user"
        if interface.type in _NEEDED or interface.type == "hostdev":
            _read_source(interface)
        if interface.virtualport is not None:
            read_virtual_port(interface, interface.virtualport, context)
        _read_card(interface, context)
        if interface.ips or interface.routes:
            _read_addresses(interface)
        if interface.vlan is not None:
            _read_vlan(interface.vlan)
        if interface.bandwidth is not None:
            _read_bandwidth(interface.bandwidth, interface)
        if interface.teaming_type or interface.teaming_persistent:
            _read_teaming(interface)


def _read_source(interface: Interface) -> None:
    source, kind = interface.source, interface.type
    if kind == "hostdev":
        if source is None or source.device_address is None:
            raise xml_error("missing source address type")
        return
    if source is None:
        raise xml_error(f"interface type='{kind}' requires a 'source' element")
    for name in _NEEDED[kind]:
        if getattr(source, name) is None:
            raise _missing(name, "source")
    if kind == "direct":
        source.mode = source.mode or "vepa"
    elif kind == "udp":
        _check_local_end(source)
    elif kind == "vhostuser":
        if source.reconnect_enabled and source.reconnect_timeout is None:
            raise _missing("timeout", "reconnect")
        if interface.model not in VIRTIO_MODELS:
            raise internal_error("Wrong or no <model> 'type' attribute specified with <interface type='vhostuser'/>. "
                                 "vhostuser requires the virtio-net* frontend")


def _check_local_end(source: InterfaceSource) -> None:
    if source.local_address is None and source.local_port is None:
        raise xml_error("'<local>' element missing for 'udp' socket interface")
    for name in ("port", "address"):
        if getattr(source, f"local_{name}") is None:
            raise _missing(name, "local")


def _read_card(interface: Interface, context: Context) -> None:
    if interface.mac is None:
        interface.mac = "52:54:00:{:02x}:{:02x}:{:02x}".format(*context.randbytes(3))
    elif int(interface.mac[:2], 16) & 1:
        raise xml_error(f"expected unicast mac address, found multicast '{interface.mac}'")
    if interface.model is not None and not _MODEL.fullmatch(interface.model):
        raise LibvirtError(c.VIR_ERR_INVALID_ARG, "Model name contains invalid characters", domain=c.VIR_FROM_DOMAIN)
    driver = interface.driver
    if driver is not None and interface.type != "hostdev" and driver.name in HOSTDEV_DRIVERS:
        raise LibvirtError(c.VIR_ERR_XML_ERROR, f"Invalid value for attribute 'name' in element 'driver': "
                           f"'{driver.name}'.", domain=c.VIR_FROM_XML)
    if interface.port_isolated and interface.type not in _ISOLATED:
        raise unsupported(f"interface {interface.mac} - <port isolated='yes'/> is not supported for network interfaces "
                          f"with type='{interface.type}'")


def _read_addresses(interface: Interface) -> None:
    for address in interface.ips:
        _read_address(address)
    for route in interface.routes:
        _read_route(route)


def _read_address(address: IpAddress) -> None:
    if address.address is None:
        raise xml_error("Missing required address in <ip>")
    family = "ipv6" if ":" in address.address else "ipv4"
    if address.family not in (None, family):
        raise xml_error(f"Invalid address '{address.address}' in <ip>")
    address.family = family
    if (address.prefix or 0) > (32 if family == "ipv4" else 128):
        raise xml_error(f"Invalid prefix value '{address.prefix}' in <ip>")


def _read_route(route: Route) -> None:
    for name in ("address", "gateway"):
        if getattr(route, name) is None:
            raise _bad_route(f"Missing required {name} attribute")
    assert route.address is not None
    width = 128 if ":" in route.address else 32
    length = route.netmask or (width if route.prefix is None else route.prefix)
    if route.netmask is None and route.prefix is None and width == 32:
        length = _classful(route.address)
    try:
        ipaddress.ip_network(f"{route.address}/{length}")
    except ValueError:
        raise _bad_route(f"Address '{route.address}'", " is not a network address") from None


def _classful(address: str) -> int:
    """The length of an IPv4 network before classes were given up, which libvirt goes by where nothing is said."""
    first = int(address.partition(".")[0])
    if address == "0.0.0.0":  # noqa: S104  # everything, not a bind address
        return 0
    return 8 if first < 128 else 16 if first < 192 else 24 if first < 224 else 32


def _bad_route(what: str, why: str = "") -> LibvirtError:
    return LibvirtError(c.VIR_ERR_XML_ERROR, f"guest interface: {what} in route definition{why}",
                        domain=c.VIR_FROM_NETWORK)


def _read_vlan(vlan: Vlan) -> None:
    if not vlan.tags:
        raise _general("missing tag id - each <vlan> must have at least one <tag id='n'/> subelement",
                       c.VIR_ERR_XML_ERROR)
    if len(vlan.tags) > 1:
        vlan.trunk = True


def _read_bandwidth(bandwidth: Bandwidth, interface: Interface) -> None:
    for limits in (bandwidth.inbound, bandwidth.outbound):
        if limits is not None and limits.average is None and limits.floor is None:
            raise _general("Missing mandatory average or floor attributes", c.VIR_ERR_XML_DETAIL)
    if bandwidth.outbound and bandwidth.outbound.floor is not None:
        raise _general("'floor' attribute allowed only in <inbound> element", c.VIR_ERR_CONFIG_UNSUPPORTED)
    if bandwidth.inbound and bandwidth.inbound.floor is not None and interface.type != "network":
        raise _general("floor attribute is not supported for this config", c.VIR_ERR_CONFIG_UNSUPPORTED)


def _read_teaming(interface: Interface) -> None:
    """One of a pair that the guest sees as one; the one that may go names the one that stays."""
    if interface.teaming_type is None:
        raise unsupported("unknown teaming type '(null)'")
    if interface.teaming_type == "transient" and not interface.teaming_persistent:
        raise unsupported("teaming persistent attribute must be set if teaming type is 'transient'")


# --- completing -----------------------------------------------------------------------------------------------------


def complete_interfaces(domain: Domain, context: Context) -> None:
    """libvirt's default card on x86, whatever the machine."""
    assert domain.devices
    if context.qemu:
        for interface in domain.devices.interfaces:
            if interface.model is None and interface.type != "hostdev":
                interface.model = "virtio" if interface.type == "vdpa" else "rtl8139"


def name_test_interfaces(domain: Domain, context: Context) -> None:
    """The test driver gives every interface a host name at define: testnet0, testnet1, ..."""
    if context.qemu:
        return
    assert domain.devices
    used = {interface.target_dev for interface in domain.devices.interfaces}
    number = 0
    for interface in domain.devices.interfaces:
        if interface.target_dev is None:
            while f"testnet{number}" in used:
                number += 1
            interface.target_dev = f"testnet{number}"
            used.add(interface.target_dev)


def forget_host_names(domain: Domain, context: Context) -> None:
    """Names that the host gave to a running domain's interfaces are no part of its definition."""
    del context
    assert domain.devices
    for interface in domain.devices.interfaces:
        if interface.target_dev and interface.target_dev.startswith(GENERATED_TARGET):
            interface.target_dev = None
        source = interface.source
        if source is not None:
            if source.switchid is None:
                source.portid = None
            if source.network is not None:
                source.bridge = None


# --- checking -------------------------------------------------------------------------------------------------------


def check_qemu_interface(interface: Interface, domain: Domain) -> None:
    """Refuse what QEMU's driver cannot connect, or tell its card."""
    del domain
    if interface.ips or interface.routes:
        _check_guest_addresses(interface)
    driver = interface.driver
    if driver is not None:
        for name in ("rx_queue_size", "tx_queue_size"):
            if (getattr(driver, name) or 1).bit_count() != 1:
                raise qemu_unsupported(f"{name} has to be a power of two")
    if interface.mtu and interface.type not in _WITH_MTU:
        raise qemu_unsupported(f"setting MTU on interface type {interface.type} is not supported yet")
    if interface.teaming_type == "persistent" and interface.model not in VIRTIO_MODELS:
        raise qemu_unsupported("virtio-net teaming persistent interface must be <model type='virtio'/>, not "
                               f"'{interface.model or '(null)'}'")
    if interface.teaming_type == "transient" and interface.type not in ("hostdev", "network"):
        raise qemu_unsupported("virtio-net teaming transient interface must be type='hostdev', not "
                               f"'{interface.type}'")
    if interface.coalesce_rx_frames_max is not None and interface.type not in _COALESCED:
        raise qemu_unsupported(f"coalesce settings on interface type {interface.type} are not supported")


def _check_guest_addresses(interface: Interface) -> None:
    if interface.type != "user":
        raise qemu_unsupported("Invalid attempt to set network interface guest-side IP route and/or address info, not "
                               "supported by QEMU")
    if interface.routes:
        raise qemu_unsupported("Invalid attempt to set network interface guest-side IP route, not supported by QEMU")
    for address in interface.ips:
        if address.peer is not None:
            raise qemu_unsupported("Invalid attempt to set peer IP for guest")
    for family, name in (("ipv4", "IPv4"), ("ipv6", "IPv6")):
        if sum(address.family == family for address in interface.ips) > 1:
            raise qemu_unsupported(f"Only one {name} address per interface is allowed")


def check_interface(interface: Interface, domain: Domain) -> None:
    """Only a device that is the user's own may be left alone by libvirt."""
    del domain
    if interface.target_managed is False and interface.type != "ethernet":
        raise unsupported("unmanaged target dev is not supported on interfaces of type "
                          f"'{interface.type}'")
