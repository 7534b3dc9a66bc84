"""Network interfaces: their type, their MAC address, and what a connection has to name."""

from __future__ import annotations

import re
import uuid

from virtbus_domain.normalise.context import Context, xml_error
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.interface import GENERATED_TARGET
from virtbus_domain.xml.network_port import VirtualPort
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


def complete_interfaces(domain: Domain, context: Context) -> None:
    """Type and MAC address of each interface; refuse a connection that names no other end."""
    assert domain.devices
    for interface in domain.devices.interfaces:
        interface.type = interface.type or "user"
        if interface.type in ("network", "bridge") and interface.source is None:
            raise xml_error(f"interface type='{interface.type}' requires a 'source' element")
        if interface.type == "direct" and interface.source and interface.source.mode is None:
            interface.source.mode = "vepa"
        if interface.mac is None:
            interface.mac = "52:54:00:{:02x}:{:02x}:{:02x}".format(*context.randbytes(3))
        elif int(interface.mac[:2], 16) & 1:
            raise xml_error(f"expected unicast mac address, found multicast '{interface.mac}'")
        if interface.virtualport is not None:
            _identify_port(interface.virtualport, context)
        if interface.model is not None and not re.fullmatch("[a-zA-Z0-9_-]+", interface.model, re.ASCII):
            raise LibvirtError(c.VIR_ERR_INVALID_ARG, "Model name contains invalid characters",
                               domain=c.VIR_FROM_DOMAIN)
        if context.qemu and interface.model is None and interface.type != "hostdev":
            interface.model = "rtl8139"  # libvirt's default card on x86, whatever the machine


_PORT_IDS = {"802.1Qbg": "instanceid", "openvswitch": "interfaceid", "midonet": "interfaceid"}


def _identify_port(port: VirtualPort, context: Context) -> None:
    """A switch knows a port by a UUID; one that nobody chose is made up."""
    name = _PORT_IDS.get(port.type or "")
    if name is not None and getattr(port, name) is None:
        setattr(port, name, str(uuid.UUID(bytes=context.randbytes(16), version=4)))


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
        if interface.source:
            interface.source.portid = None
            if interface.source.network is not None:
                interface.source.bridge = None
