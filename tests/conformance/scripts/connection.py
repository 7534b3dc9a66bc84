"""Opening, facts about the host and the library, references, closing, and use after closing."""

import re
from types import ModuleType
from typing import Any

from tests.support.recording import Recorder

FACTS = ("getURI", "getType", "getVersion", "getLibVersion", "isAlive", "isEncrypted", "isSecure", "getInfo",
         "getFreeMemory", "getSecurityModel", "getSysinfo", "getSEVInfo", "listInterfaces", "numOfInterfaces")


def run(libvirt: ModuleType, uri: str) -> dict[str, Any]:
    """What a connection says of itself."""
    r = Recorder(libvirt)
    conn = r.call(libvirt, "open", uri, label="open")
    for fact in FACTS:
        r.call(conn, fact)
    r.call(conn, "getHostname", keep=lambda name: isinstance(name, str) and len(name) > 0)
    r.call(conn, "getMaxVcpus", None)
    r.call(conn, "getMaxVcpus", "test")
    r.call(conn, "getMaxVcpus", "other")
    r.call(conn, "getCellsFreeMemory", 0, 2)
    r.call(conn, "getCPUMap")
    r.call(conn, "getCPUStats", -1)
    r.call(conn, "getMemoryStats", -1)
    r.call(conn, "getCPUModelNames", "x86_64", keep=lambda models: len(models) > 10)
    r.call(conn, "setKeepAlive", 5, 3)
    r.call(conn, "getDomainCapabilities")
    r.section("capabilities")
    xml = r.call(conn, "getCapabilities", keep=lambda text: text.startswith("<capabilities>")) or ""
    r.note("host", re.findall(r"<host>.*?</cpu>", xml, re.DOTALL))
    r.note("cells", re.findall(r"<cell .*?</cell>", xml, re.DOTALL))
    r.note("guests", re.findall(r"<guest>.*?</guest>", xml, re.DOTALL))
    r.note("whole", xml)
    r.section("library")
    r.call(libvirt, "getVersion")
    r.call(libvirt, "getVersion", "test")
    r.call(libvirt, "getVersion", 3)
    r.call(libvirt, "virInitialize")
    r.section("held objects")
    dom = r.call(conn, "lookupByName", "test")
    r.call(conn, "close")
    r.call(dom, "name")
    r.call(dom, "isActive")
    r.note("connect() is the connection", dom is not None and dom.connect() is conn)
    r.call(dom, "shutdown")
    del dom  # the last of the session, which takes its changes along
    r.section("closed")
    for method in ("close", "getURI", "getType", "numOfDomains", "listAllDomains", "getCapabilities", "isAlive",
                   "listAllNetworks", "listAllStoragePools", "listAllDevices", "getInfo", "getHostname"):
        r.call(conn, method)
    r.call(conn, "lookupByName", "test")
    r.call(conn, "networkLookupByName", "default")
    r.call(conn, "storagePoolLookupByName", "default-pool")
    r.call(conn, "storageVolLookupByPath", "/x")
    r.call(conn, "nodeDeviceLookupByName", "computer")
    r.call(conn, "defineXML", "<domain/>")
    r.section("again")
    with libvirt.open(uri) as other:
        r.call(other, "isAlive")
    r.call(other, "isAlive")
    first, second = libvirt.open(uri), libvirt.open(uri)
    r.call(first, "numOfDomains", label="numOfDomains of the first")
    r.call(second.lookupByName("test"), "suspend", label="suspend through the second")
    r.call(first.lookupByName("test"), "state", label="state through the first")
    r.call(first, "close", label="close the first")
    r.call(second, "close", label="close the second")
    return r.steps
