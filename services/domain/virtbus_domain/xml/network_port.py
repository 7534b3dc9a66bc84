"""What connects one port to a network: virtual port, VLANs, bandwidth, addresses, routes, forwards and filters.

Domain interfaces carry these, and so do networks and network ports; the models here know nothing of either. libvirt
reads some of them in parts that belong to no driver, so their refusals have an error domain of their own.
"""

from __future__ import annotations

import socket

from virtbus_domain.xml.lenient import TEXT, known
from virtbus_domain.xml.values import ULONG_OR_ZERO, refusing, unless_zero
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, element, sub, subs
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ORDER, UINT, UUID, YESNO, Kind, Refusal, hexa, number, words

VIRTUALPORT_TYPES = ("802.1Qbg", "802.1Qbh", "openvswitch", "midonet")
MAX_VLAN = 4095

_NUMBER = hexa(1)


def _general(detail: str, code: int = c.VIR_ERR_XML_ERROR) -> LibvirtError:
    return LibvirtError(code, detail, domain=c.VIR_FROM_NONE)


def read_address(text: str) -> str:
    """An IP address as the C library writes it; like there, IPv4 may be one number. Raises ``ValueError``."""
    for family in (socket.AF_INET6, socket.AF_INET):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, text))
        except OSError:
            continue
    if not text or not text.isascii() or any(letter.isspace() for letter in text):
        raise ValueError
    try:
        return socket.inet_ntoa(socket.inet_aton(text))
    except OSError:
        raise ValueError from None


IP_ADDRESS: Kind[str] = Kind(read_address)


def _parameter(name: str, limit: int, *, out_of_range: str) -> Kind[int]:
    """A number of 802.1Qbg, in any of C's bases."""
    def read(text: str) -> int:
        assert _NUMBER.read
        try:
            value = _NUMBER.read(text)
        except ValueError:
            raise _general(f"cannot parse value of {name} parameter") from None
        if value > limit:
            raise _general(f"{out_of_range} out of range")
        return value

    return Kind(read, str)


def _uuid(name: str) -> Kind[str]:
    return refusing(UUID, c.VIR_ERR_XML_ERROR, f"cannot parse {name} parameter as a uuid", c.VIR_FROM_NONE)


def _amount(name: str) -> Kind[int | None]:
    return refusing(ULONG_OR_ZERO, c.VIR_ERR_CONFIG_UNSUPPORTED,
                    f"could not convert bandwidth {name} value '{{value}}'", c.VIR_FROM_NONE)


def _in_route(kind: Kind[str], detail: str) -> Kind[str]:
    return refusing(kind, c.VIR_ERR_XML_ERROR, f"guest interface: {detail} in route definition", c.VIR_FROM_NETWORK)


def _refused(code: int, detail: str) -> Kind[str]:
    def read(text: str) -> str:
        raise _general(detail, code)

    return Kind(read)


@element
class VirtualPort(Element):
    """How a switch outside the host is told who is there: IEEE 802.1Qbg or Qbh, Open vSwitch or MidoNet."""

    type: str | None = attr("@type", refusing(words(*VIRTUALPORT_TYPES), c.VIR_ERR_CONFIG_UNSUPPORTED,
                                              "unknown virtualport type {value}", c.VIR_FROM_NONE))
    managerid: int | None = attr("parameters/@managerid",
                                 _parameter("managerid", 0xFF, out_of_range="value of managerid"))
    typeid: int | None = attr("parameters/@typeid", _parameter("typeid", 0xFFFFFF, out_of_range="value for typeid"))
    typeidversion: int | None = attr("parameters/@typeidversion",
                                     _parameter("typeidversion", 0xFF, out_of_range="value of typeidversion"))
    instanceid: str | None = attr("parameters/@instanceid", _uuid("instanceid"))
    interfaceid: str | None = attr("parameters/@interfaceid", _uuid("interfaceid"))
    profileid: str | None = attr("parameters/@profileid", TEXT)


def _read_vlan(text: str) -> int:
    assert UINT.read
    tag = UINT.read(text)
    if tag > MAX_VLAN:
        raise _general(f"vlan tag id {tag} too large (maximum {MAX_VLAN})")
    return tag


def _read_trunk(text: str) -> bool | None:
    if text not in ("yes", "no", ""):
        raise _general(f'invalid "trunk=\'{text}\'" in <vlan> - must be yes or no')
    return text == "yes" or None


@element
class VlanTag(Element):
    """One VLAN; ``native_mode`` makes it the one of frames that carry no tag."""

    id: int | None = attr("@id", Kind(_read_vlan, str))
    native_mode: str | None = attr("@nativeMode", words("tagged", "untagged"))


@element
class Vlan(Element):
    """The VLANs of a port: one tag, or several in a trunk."""

    trunk: bool | None = attr("@trunk", Kind(_read_trunk, lambda on: "yes" if on else "no"))
    tags: list[VlanTag] = subs("tag", VlanTag)


@element
class BandwidthLimits(Element):
    """One direction: ``average``, ``peak`` and guaranteed ``floor`` in KiB a second, ``burst`` in KiB."""

    average: int | None = attr("@average", _amount("average"))
    peak: int | None = attr("@peak", _amount("peak"))
    floor: int | None = attr("@floor", _amount("floor"))
    burst: int | None = attr("@burst", _amount("burst"))


@element
class Bandwidth(Element):
    """Traffic limits, seen from the guest. ``class_id`` is how a network counts its ports: no domain may choose it."""

    class_id: str | None = attr("@classID", _refused(
        c.VIR_ERR_XML_DETAIL, "classID attribute not supported on <bandwidth> in this usage context"))
    inbound: BandwidthLimits | None = sub("inbound", BandwidthLimits)
    outbound: BandwidthLimits | None = sub("outbound", BandwidthLimits)


def _in_ip(detail: str, code: int = c.VIR_ERR_XML_ERROR) -> Refusal:
    return (code, f"Invalid {detail} '{{value}}' in <ip>")


@element
class IpAddress(Element):
    """An address of an interface; ``prefix`` in bits, ``peer`` the other end of a point-to-point link."""

    address: str | None = attr("@address", IP_ADDRESS, error=_in_ip("address"))
    family: str | None = attr("@family", known("ipv4", "ipv6"))
    prefix: int | None = attr("@prefix", unless_zero(number(128)), error=_in_ip("prefix value"))
    peer: str | None = attr("@peer", IP_ADDRESS, error=_in_ip("peer", c.VIR_ERR_INVALID_ARG))


@element
class Route(Element):
    """A static route; its network's size as ``netmask`` or ``prefix``, as the user wrote it."""

    family: str | None = attr("@family", _in_route(words("ipv4", "ipv6"), "Unrecognized family '{value}'"))
    address: str | None = attr("@address", _in_route(IP_ADDRESS, "Bad network address '{value}'"))
    netmask: str | None = attr("@netmask", _in_route(IP_ADDRESS, "Bad netmask address '{value}'"))
    prefix: int | None = attr("@prefix", UINT)
    gateway: str | None = attr("@gateway", _in_route(IP_ADDRESS, "Bad gateway address '{value}'"))
    metric: int | None = attr("@metric", ORDER)


@element
class PortForwardRange(Element):
    """Host ports ``start`` to ``end`` lead to guest ports from ``to`` on; ``exclude`` takes ports out again."""

    start: int | None = attr("@start", ORDER)
    end: int | None = attr("@end", ORDER)
    to: int | None = attr("@to", ORDER)
    exclude: bool | None = attr("@exclude", YESNO)


@element
class PortForward(Element):
    """Host ports of one protocol that lead to the guest, on one host address or device if given."""

    proto: str | None = attr("@proto", words("tcp", "udp"))
    address: str | None = attr("@address", IP_ADDRESS,
                               error=(c.VIR_ERR_XML_ERROR, "Invalid address '{value}' in <portForward>"))
    dev: str | None = attr("@dev")
    ranges: list[PortForwardRange] = subs("range", PortForwardRange)


@element
class FilterParameter(Element):
    """A variable of a network filter; a name given several times is a list."""

    name: str | None = attr("@name")
    value: str | None = attr("@value")


@element
class FilterRef(Element):
    """The network filter of a port, and the values of its variables."""

    filter: str | None = attr("@filter")
    parameters: list[FilterParameter] = subs("parameter", FilterParameter)
