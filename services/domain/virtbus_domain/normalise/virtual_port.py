"""Virtual ports: how a switch outside the host is told who is there, and what each kind of switch needs to know."""

from __future__ import annotations

import uuid

from virtbus_domain.normalise.context import Context, unsupported
from virtbus_domain.xml.interface import Interface
from virtbus_domain.xml.network_port import VirtualPort
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_TYPES = ("network", "bridge", "direct", "hostdev")  # of interfaces that have one
# What identifies a port is made up when nobody chose it; a port whose type a network will tell gets both.
_MADE_UP = {"802.1Qbg": ("instanceid",), "openvswitch": ("interfaceid",), None: ("instanceid", "interfaceid")}
_NEEDED = {"802.1Qbg": ("managerid", "typeid", "typeidversion"), "802.1Qbh": ("profileid",),
           "midonet": ("interfaceid",)}
_EXTRA = {"802.1Qbg": ("profileid", "interfaceid"),
          "802.1Qbh": ("managerid", "typeid", "typeidversion", "instanceid", "interfaceid"),
          "openvswitch": ("managerid", "typeid", "typeidversion", "instanceid"),
          "midonet": ("managerid", "typeid", "typeidversion", "instanceid")}


def read_virtual_port(interface: Interface, port: VirtualPort, context: Context) -> None:
    """Refuse a port that lacks what its switch needs, or has more; a network may still add to it."""
    if interface.type not in _TYPES:
        raise unsupported(f"<virtualport> element unsupported for <interface type='{interface.type}'>")
    kind = port.type
    if kind is None and interface.type != "network":
        raise LibvirtError(c.VIR_ERR_XML_ERROR, "missing required virtualport type", domain=c.VIR_FROM_NONE)
    for name in _MADE_UP.get(kind, ()):
        if getattr(port, name) is None:
            setattr(port, name, str(uuid.UUID(bytes=context.randbytes(16), version=4)))
    if kind is None:
        return
    for name in _NEEDED.get(kind, ()) if interface.type != "network" else ():
        if getattr(port, name) is None:
            raise _refusal(f"missing {name}", kind)
    for name in _EXTRA[kind]:
        if getattr(port, name) is not None:
            raise _refusal(f"extra {name} unsupported", kind)
    if kind == "midonet":
        port.profileid = None


def _refusal(what: str, kind: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_XML_ERROR, f"{what} in <virtualport type='{kind}'>", domain=c.VIR_FROM_NET)
