"""Finding and listing domains: by name, UUID and id, with misses, every filter of the list, and the counts."""

import uuid
from types import ModuleType
from typing import Any

from tests.support.recording import Recorder

UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"
OTHER = "11111111-2222-3333-4444-555555555555"
XML = (f"<domain type='test'><name>other</name><uuid>{OTHER}</uuid><memory>65536</memory>"
       "<os><type>hvm</type></os></domain>")
FILTERS = ("ACTIVE", "INACTIVE", "PERSISTENT", "TRANSIENT", "RUNNING", "PAUSED", "SHUTOFF", "OTHER", "MANAGEDSAVE",
           "NO_MANAGEDSAVE", "AUTOSTART", "NO_AUTOSTART", "HAS_SNAPSHOT", "NO_SNAPSHOT", "HAS_CHECKPOINT",
           "NO_CHECKPOINT")


def run(libvirt: ModuleType, uri: str) -> dict[str, Any]:
    """Look-ups and lists."""
    r = Recorder(libvirt)
    conn = libvirt.open(uri)
    everything(r, libvirt, conn, "one running")
    r.call(conn, "defineXML", XML, label="define another")
    everything(r, libvirt, conn, "one more defined")
    r.section("combined filters")
    for first, second in (("ACTIVE", "INACTIVE"), ("ACTIVE", "SHUTOFF"), ("PERSISTENT", "INACTIVE"),
                          ("AUTOSTART", "NO_AUTOSTART"), ("RUNNING", "PAUSED")):
        r.call(conn, "listAllDomains", flag(libvirt, first) | flag(libvirt, second), label=f"{first}|{second}")
    r.call(conn, "listAllDomains", 1 << 30)
    r.section("found")
    for method, key in (("lookupByName", "test"), ("lookupByUUIDString", UUID), ("lookupByUUIDString", UUID.upper()),
                        ("lookupByUUIDString", UUID.replace("-", "")), ("lookupByUUID", uuid.UUID(UUID).bytes),
                        ("lookupByID", 1), ("lookupByName", "other"), ("lookupByUUIDString", OTHER)):
        dom = r.call(conn, method, key)
        r.call(dom, "name")
        r.call(dom, "ID")
        r.call(dom, "UUIDString")
        r.call(dom, "UUID")
    r.section("missed")
    for method, key in (("lookupByName", "zz"), ("lookupByName", ""), ("lookupByUUIDString", OTHER[:-1] + "6"),
                        ("lookupByUUIDString", "not-a-uuid"), ("lookupByUUIDString", ""), ("lookupByUUID", b"\0" * 16),
                        ("lookupByID", 99), ("lookupByID", -1), ("lookupByID", 0)):
        r.call(conn, method, key)
    r.section("wrong types")
    # UUIDs of a wrong length are left out: libvirt-python answers with whatever error came before.
    wrong: tuple[tuple[str, object], ...] = (
        ("lookupByName", 1), ("lookupByName", None), ("lookupByName", b"test"),
        ("lookupByID", "1"), ("lookupByID", None), ("lookupByID", 1.5),
        ("lookupByUUIDString", 5), ("listAllDomains", "x"))
    for method, argument in wrong:
        r.call(conn, method, argument)
    r.call(conn, "lookupByName")
    r.call(conn, "lookupByName", "a", "b")
    return r.steps


def flag(libvirt: ModuleType, name: str) -> int:
    """The number of a filter."""
    return int(getattr(libvirt, f"VIR_CONNECT_LIST_DOMAINS_{name}"))


def everything(r: Recorder, libvirt: ModuleType, conn: Any, section: str) -> None:
    """All lists and counts."""
    r.section(section)
    for method in ("numOfDomains", "numOfDefinedDomains", "listDomainsID", "listDefinedDomains", "listAllDomains"):
        r.call(conn, method)
    for name in FILTERS:
        r.call(conn, "listAllDomains", flag(libvirt, name), label=f"listAllDomains {name}")
