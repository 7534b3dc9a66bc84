"""Networks: lists, look-ups, every change of state, documents, and errors."""

import uuid
from types import ModuleType
from typing import Any

from tests.support.recording import Recorder

UUID = "11111111-2222-3333-4444-555555555555"
XML = f"""<network>
  <name>n</name>
  <uuid>{UUID}</uuid>
  <bridge name='virbr7' stp='on' delay='0'/>
  <mac address='52:54:00:00:00:01'/>
  <domain name='n.example.org'/>
  <ip address='192.168.7.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.7.2' end='192.168.7.9'/></dhcp>
  </ip>
</network>"""
ACTIONS = (("create",), ("destroy",), ("undefine",), ("setAutostart", 1), ("setAutostart", 0), ("bridgeName",))
BAD = {
    "empty": "", "unclosed": "<network>", "another root": "<domain/>", "no name": "<network/>",
    "slash in name": XML.replace(">n<", ">a/b<"), "bad uuid": XML.replace(UUID, "zz"),
    "unknown forward": XML.replace("<bridge", "<forward mode='x'/><bridge"),
    "bad mac": XML.replace("52:54:00:00:00:01", "x"), "bad address": XML.replace("192.168.7.1'", "x'"),
    "bad netmask": XML.replace("255.255.255.0", "x"), "bad range": XML.replace("192.168.7.2", "x"),
    "range outside": XML.replace("192.168.7.9", "192.168.9.9"),
    "range reversed": XML.replace("192.168.7.2'", "192.168.7.20'"),
    "bad delay": XML.replace("delay='0'", "delay='x'"), "bad stp": XML.replace("stp='on'", "stp='x'"),
}


def run(libvirt: ModuleType, uri: str) -> dict[str, Any]:
    """The life of a network."""
    r = Recorder(libvirt)
    conn = libvirt.open(uri)
    r.section("default")
    describe(r, libvirt, r.call(conn, "networkLookupByName", "default"))
    lists(r, libvirt, conn)
    r.section("look-ups")
    for method, key in (("networkLookupByUUIDString", "dd8fe884-6c02-601e-7551-cca97df1c5df"),
                        ("networkLookupByUUID", uuid.UUID("dd8fe884-6c02-601e-7551-cca97df1c5df").bytes),
                        ("networkLookupByName", "zz"), ("networkLookupByName", ""), ("networkLookupByName", None),
                        ("networkLookupByUUIDString", UUID), ("networkLookupByUUIDString", "zz"),
                        ("networkLookupByUUID", b"\0" * 16)):
        r.call(conn, method, key)
    for state in ("inactive", "active", "transient"):
        for action, *arguments in ACTIONS:
            r.section(f"{state}, {action}({', '.join(map(str, arguments))})")
            net = conn.networkCreateXML(XML) if state == "transient" else conn.networkDefineXML(XML)
            if state == "active":
                net.create()
            r.call(net, action, *arguments, label="answer")
            for method in ("isActive", "isPersistent", "autostart"):
                r.call(net, method)
            lists(r, libvirt, conn)
            clear(libvirt, conn)
    documents(r, libvirt, conn)
    return r.steps


def describe(r: Recorder, libvirt: ModuleType, net: Any) -> None:
    """Everything that reads a network."""
    for method in ("name", "UUIDString", "UUID", "isActive", "isPersistent", "autostart", "bridgeName", "XMLDesc"):
        r.call(net, method)
    r.call(net, "XMLDesc", libvirt.VIR_NETWORK_XML_INACTIVE)
    r.call(net, "XMLDesc", 1 << 29)
    r.call(net, "DHCPLeases")
    r.call(net, "listAllPorts")


def lists(r: Recorder, libvirt: ModuleType, conn: Any) -> None:
    """All lists and counts."""
    for method in ("numOfNetworks", "numOfDefinedNetworks", "listNetworks", "listDefinedNetworks", "listAllNetworks"):
        r.call(conn, method)
    for name in ("ACTIVE", "INACTIVE", "PERSISTENT", "TRANSIENT", "AUTOSTART", "NO_AUTOSTART"):
        r.call(conn, "listAllNetworks", getattr(libvirt, f"VIR_CONNECT_LIST_NETWORKS_{name}"), label=f"list {name}")
    r.call(conn, "listAllNetworks", 1 << 29)


def clear(libvirt: ModuleType, conn: Any) -> None:
    """Away with the network, whatever its state."""
    for step in ("destroy", "undefine"):
        try:
            getattr(conn.networkLookupByName("n"), step)()
        except libvirt.libvirtError:
            continue


def documents(r: Recorder, libvirt: ModuleType, conn: Any) -> None:
    """Documents in and out."""
    r.section("defined")
    net = r.call(conn, "networkDefineXML", XML, label="networkDefineXML")
    describe(r, libvirt, net)
    r.call(conn, "networkDefineXML", XML.replace("virbr7", "virbr8"), label="redefine")
    r.call(net, "bridgeName")
    r.call(conn, "networkDefineXML", XML.replace(UUID, UUID[:-1] + "6"), label="same name, other UUID")
    r.call(conn, "networkDefineXML", XML.replace(">n<", ">other<"), label="other name, same UUID")
    r.call(conn, "networkCreateXML", XML, label="create what is defined")
    r.call(conn, "networkCreateXML", XML, label="create what is active")
    clear(libvirt, conn)
    r.section("removed")
    for method in ("name", "UUIDString", "isActive", "XMLDesc", "create", "destroy", "undefine", "autostart"):
        r.call(net, method)
    r.section("refused")
    for name, xml in BAD.items():
        for method in ("networkDefineXML", "networkCreateXML"):
            r.call(conn, method, xml, label=f"{name}, {method}")
            clear(libvirt, conn)
    r.call(conn, "networkDefineXML", 5)
    r.call(conn, "listAllNetworks")
