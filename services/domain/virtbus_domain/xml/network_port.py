"""What connects one port to a network: virtual port, VLANs, bandwidth, addresses, routes, forwards and filters.

Domain interfaces carry these, and so do networks and network ports; the models here know nothing of either.
"""

from __future__ import annotations

from virtbus_shared.service.xml import attr, element, sub, subs
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import UINT, ULONG, UUID, YESNO, words

VIRTUALPORT_TYPES = ("802.1Qbg", "802.1Qbh", "openvswitch", "midonet")


@element
class VirtualPort(Element):
    """How a switch outside the host is told who is there: IEEE 802.1Qbg or Qbh, Open vSwitch or MidoNet."""

    type: str | None = attr("@type", words(*VIRTUALPORT_TYPES))
    managerid: int | None = attr("parameters/@managerid", UINT)
    typeid: int | None = attr("parameters/@typeid", UINT)
    typeidversion: int | None = attr("parameters/@typeidversion", UINT)
    instanceid: str | None = attr("parameters/@instanceid", UUID)
    interfaceid: str | None = attr("parameters/@interfaceid", UUID)
    profileid: str | None = attr("parameters/@profileid")


@element
class VlanTag(Element):
    """One VLAN; ``native_mode`` makes it the one of frames that carry no tag."""

    id: int | None = attr("@id", UINT)
    native_mode: str | None = attr("@nativeMode", words("tagged", "untagged"))


@element
class Vlan(Element):
    """The VLANs of a port: one tag, or several in a trunk."""

    trunk: bool | None = attr("@trunk", YESNO)
    tags: list[VlanTag] = subs("tag", VlanTag)


@element
class BandwidthLimits(Element):
    """One direction: ``average``, ``peak`` and guaranteed ``floor`` in KiB a second, ``burst`` in KiB."""

    average: int | None = attr("@average", ULONG)
    peak: int | None = attr("@peak", ULONG)
    floor: int | None = attr("@floor", ULONG)
    burst: int | None = attr("@burst", ULONG)


@element
class Bandwidth(Element):
    """Traffic limits, seen from the guest; ``class_id`` is the traffic class of a running port."""

    class_id: int | None = attr("@classID", UINT, live=True)
    inbound: BandwidthLimits | None = sub("inbound", BandwidthLimits)
    outbound: BandwidthLimits | None = sub("outbound", BandwidthLimits)


@element
class IpAddress(Element):
    """An address of an interface; ``prefix`` in bits, ``peer`` the other end of a point-to-point link."""

    address: str | None = attr("@address")
    family: str | None = attr("@family", words("ipv4", "ipv6"))
    prefix: int | None = attr("@prefix", UINT)
    peer: str | None = attr("@peer")


@element
class Route(Element):
    """A static route; its network's size as ``netmask`` or ``prefix``, as the user wrote it."""

    family: str | None = attr("@family", words("ipv4", "ipv6"))
    address: str | None = attr("@address")
    netmask: str | None = attr("@netmask")
    prefix: int | None = attr("@prefix", UINT)
    gateway: str | None = attr("@gateway")
    metric: int | None = attr("@metric", UINT)


@element
class PortForwardRange(Element):
    """Host ports ``start`` to ``end`` lead to guest ports from ``to`` on; ``exclude`` takes ports out again."""

    start: int | None = attr("@start", UINT)
    end: int | None = attr("@end", UINT)
    to: int | None = attr("@to", UINT)
    exclude: bool | None = attr("@exclude", YESNO)


@element
class PortForward(Element):
    """Host ports of one protocol that lead to the guest, on one host address or device if given."""

    proto: str | None = attr("@proto", words("tcp", "udp"))
    address: str | None = attr("@address")
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
