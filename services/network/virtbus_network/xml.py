"""The network document: a bridge with its addresses, DHCP and DNS, or a way out through the host's own interfaces.

https://libvirt.org/formatnetwork.html tells what everything means; ``virNetworkDefFormatBuf`` of 9.0.0 is the source of
the order. ``parse_network`` reads what a client sent and checks it as libvirt does on define; ``complete_network`` adds
what define adds.
"""

from __future__ import annotations

import ipaddress
import os
import uuid
from collections.abc import Callable

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import Document, attr, block, element, raw, sub, subs, text
from virtbus_shared.service.xml_lines import Output, Partial, Raw
from virtbus_shared.service.xml_metadata import Metadata, read_metadata, write_metadata
from virtbus_shared.service.xml_values import MAC, UINT, UUID, YESNO, Refusal, words

FORWARD_MODES = ("none", "nat", "route", "open", "bridge", "private", "vepa", "passthrough", "hostdev")
# Modes for which libvirt makes a bridge of its own; the others use what the host has.
OWN_BRIDGE_MODES = (None, "none", "nat", "route", "open")
DNSMASQ_NAMESPACE = "http://libvirt.org/schemas/network/dnsmasq/1.0"


def _wrong(detail: str) -> Refusal:
    return (c.VIR_ERR_XML_ERROR, detail)


@element
class ForwardInterface(Partial):
    """A host interface that traffic may leave through; ``connections`` counts a running network's users of it."""

    dev: str | None = attr("@dev")
    connections: int | None = attr("@connections", UINT, live=True)


@element
class Forward(Partial):
    """How traffic leaves the network; without a mode, by address translation."""

    dev: str | None = attr("@dev")
    mode: str | None = attr("@mode", words(*FORWARD_MODES),
                            error=(c.VIR_ERR_CONFIG_UNSUPPORTED, "unknown forwarding type '{value}'"))
    managed: bool | None = attr("@managed", YESNO)
    connections: int | None = attr("@connections", UINT, live=True)
    driver: tuple[Raw, ...] = raw("driver")
    nat: tuple[Raw, ...] = raw("nat")
    pf: tuple[Raw, ...] = raw("pf")
    interfaces: list[ForwardInterface] = subs("interface", ForwardInterface)
    addresses: tuple[Raw, ...] = raw("address")


@element
class Bridge(Partial):
    """The host bridge; ``delay`` is the forwarding delay in seconds."""

    name: str | None = attr("@name")
    zone: str | None = attr("@zone")
    stp: str | None = attr("@stp")
    delay: int | None = attr("@delay", UINT, error=_wrong("Invalid delay value in network '{name}'"))
    mac_table_manager: str | None = attr("@macTableManager", words("kernel", "libvirt"))


@element
class DhcpRange(Partial):
    """Addresses to lease, both ends included."""

    start: str | None = attr("@start")
    end: str | None = attr("@end")
    lease: tuple[Raw, ...] = raw("lease")


@element
class DhcpHost(Partial):
    """A fixed lease, known by MAC address, client id or name."""

    mac: str | None = attr("@mac", MAC, error=_wrong("Cannot parse MAC address '{value}' in network '{name}'"))
    id: str | None = attr("@id")
    name: str | None = attr("@name")
    ip: str | None = attr("@ip")
    lease: tuple[Raw, ...] = raw("lease")


@element
class Dhcp(Partial):
    """The DHCP service of one address family."""

    ranges: list[DhcpRange] = subs("range", DhcpRange)
    hosts: list[DhcpHost] = subs("host", DhcpHost)
    bootp: tuple[Raw, ...] = raw("bootp")


@element(open_tag=True)
class Ip(Partial):
    """An address of the bridge, with ``netmask`` or ``prefix`` as the user wrote it, and its services."""

    family: str | None = attr("@family", words("ipv4", "ipv6"),
                              error=_wrong("Unrecognized family '{value}' in network '{name}'"))
    address: str | None = attr("@address")
    netmask: str | None = attr("@netmask")
    prefix: int | None = attr("@prefix", UINT, error=_wrong("Invalid prefix '{value}' in network '{name}'"))
    localptr: bool | None = attr("@localPtr", YESNO)
    tftp_root: str | None = attr("tftp/@root")
    dhcp: Dhcp | None = sub("dhcp", Dhcp)

    @property
    def interface(self) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
        """Address and network together; None without a netmask or prefix, where the address's class decides."""
        length = self.netmask if self.netmask is not None else self.prefix
        return None if length is None else ipaddress.ip_interface(f"{self.address}/{length}")


@element
class Network(Partial):
    """A virtual network; ``connections`` counts the guests on a running one."""

    connections: int | None = attr("@connections", UINT, live=True)
    ipv6: bool | None = attr("@ipv6", YESNO)
    trust_guest_rx_filters: bool | None = attr("@trustGuestRxFilters", YESNO)
    name: str | None = text("name")
    uuid: str | None = text("uuid", UUID, error=(c.VIR_ERR_INTERNAL_ERROR, "malformed uuid element"))
    metadata: Metadata | None = block("metadata", read_metadata, write_metadata)
    forward: Forward | None = sub("forward", Forward)
    bridge: Bridge | None = sub("bridge", Bridge)
    mtu: int | None = attr("mtu/@size", UINT)
    mac: str | None = attr("mac/@address", MAC,
                           error=_wrong("Invalid bridge mac address '{value}' in network '{name}'"))
    domain_name: str | None = attr("domain/@name")
    domain_local_only: bool | None = attr("domain/@localOnly", YESNO)
    domain_register: bool | None = attr("domain/@register", YESNO)
    dns: tuple[Raw, ...] = raw("dns")
    vlan: tuple[Raw, ...] = raw("vlan")
    bandwidth: tuple[Raw, ...] = raw("bandwidth")
    port: tuple[Raw, ...] = raw("port")
    ips: list[Ip] = subs("ip", Ip)
    routes: tuple[Raw, ...] = raw("route")
    virtualport: tuple[Raw, ...] = raw("virtualport")
    portgroups: tuple[Raw, ...] = raw("portgroup")


_NETWORK = Document(Network, "network", "network_definition", c.VIR_FROM_NETWORK)


def parse_network(text: str) -> Network:
    """The network that a document describes, checked but without defaults. Raises ``LibvirtError``."""
    network = _NETWORK.parse(text)
    _check(network)
    return network


def format_network(network: Network, *, live: bool = False) -> str:
    """The document of a network; ``live`` with the counts of connections of a running one."""
    return _NETWORK.format(network, Output.LIVE if live else Output.INACTIVE)


def complete_network(network: Network, randbytes: Callable[[int], bytes] = os.urandom) -> None:
    """Add what libvirt adds on define: UUID, forward mode, the forward device as an interface, bridge settings."""
    if network.uuid is None:
        network.uuid = str(uuid.UUID(bytes=randbytes(16), version=4))
    forward = network.forward
    if forward:
        forward.mode = forward.mode or "nat"
        if forward.dev and not forward.interfaces:
            forward.interfaces = [ForwardInterface(dev=forward.dev)]
    if (forward.mode if forward else None) in OWN_BRIDGE_MODES:
        bridge = network.bridge = network.bridge or Bridge()
        bridge.stp = "off" if bridge.stp == "off" else "on"
        bridge.delay = bridge.delay or 0
    elif network.bridge:
        network.bridge.stp = network.bridge.delay = None


def _error(code: int, detail: str | None) -> LibvirtError:
    return LibvirtError(code, detail, domain=c.VIR_FROM_NETWORK)


def _check(network: Network) -> None:
    if not network.name:
        raise _error(c.VIR_ERR_NO_NAME, None)
    if "/" in network.name:
        raise LibvirtError(c.VIR_ERR_XML_DETAIL, "invalid char in name: /", domain=c.VIR_FROM_XML)
    if "\n" in network.name:
        raise LibvirtError(c.VIR_ERR_XML_DETAIL, "invalid char in name: \n", domain=c.VIR_FROM_XML)
    for ip in network.ips:
        _check_ip(ip, network.name)
    forward = network.forward
    if forward and (forward.mode or "nat") in ("nat", "route") and not network.ips:
        raise _error(c.VIR_ERR_XML_ERROR, f"{forward.mode or 'nat'} forwarding requested, but no IP address provided "
                                          f"for network '{network.name}'")


def _check_ip(ip: Ip, name: str) -> None:
    if not ip.address:
        raise _error(c.VIR_ERR_XML_ERROR, f"Missing required address attribute in network '{name}'")
    try:
        version = ipaddress.ip_address(ip.address).version
    except ValueError:
        raise _error(c.VIR_ERR_XML_ERROR, f"Invalid address '{ip.address}' in network '{name}'") from None
    if version == 6 and ip.family is None:
        raise _error(c.VIR_ERR_CONFIG_UNSUPPORTED,
                     f"no family specified for non-IPv4 address '{ip.address}' in network '{name}'")
    if version != (6 if ip.family == "ipv6" else 4):
        raise _error(c.VIR_ERR_CONFIG_UNSUPPORTED,
                     f"family '{ip.family}' specified for address '{ip.address}' of another family in network '{name}'")
    if ip.prefix is not None and ip.prefix > (32 if version == 4 else 128):
        raise _error(c.VIR_ERR_CONFIG_UNSUPPORTED, f"Invalid IPv{version} prefix '{ip.prefix}' in network '{name}'")
    if ip.netmask is not None and not _is_address(ip.netmask):
        raise _error(c.VIR_ERR_XML_ERROR, f"Invalid netmask '{ip.netmask}' in network '{name}'")
    try:
        interface = ip.interface
    except ValueError:
        raise _error(c.VIR_ERR_CONFIG_UNSUPPORTED, f"Invalid netmask '{ip.netmask}' for address '{ip.address}' "
                                                   f"(both must be IPv4) in network '{name}'") from None
    for dhcp_range in ip.dhcp.ranges if ip.dhcp else []:
        _check_range(dhcp_range, interface, name)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_range(dhcp: DhcpRange, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface | None,
                 name: str) -> None:
    ends = []
    for attribute, value in (("start", dhcp.start), ("end", dhcp.end)):
        if not value:
            raise _error(c.VIR_ERR_XML_ERROR, f"Missing '{attribute}' attribute in dhcp range for network '{name}'")
        try:
            ends.append(ipaddress.ip_address(value))
        except ValueError:
            # libvirt asks the resolver, whose refusal is a system error that belongs to no part of it.
            raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR,
                               f"Cannot parse socket address '{value}': Name or service not known") from None
    start, end = ends
    if int(start) > int(end):
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"range {start} - {end} is reversed ")
    if interface and not (start in interface.network and end in interface.network):
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"range {start} - {end} is not entirely within network "
                                                     f"{interface.ip}/{interface.network.prefixlen}")
