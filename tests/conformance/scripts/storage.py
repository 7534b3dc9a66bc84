"""Storage pools and volumes: lists, look-ups, every change of state, volumes of both formats, and errors."""

import uuid
from types import ModuleType
from typing import Any

from tests.support.recording import Recorder

UUID = "11111111-2222-3333-4444-555555555555"
XML = f"<pool type='dir'><name>p</name><uuid>{UUID}</uuid><target><path>/virtbus-p</path></target></pool>"
VOLUME = """<volume>
  <name>{name}</name>
  <capacity unit='MiB'>{size}</capacity>
  <allocation>0</allocation>
  <target><format type='{format}'/></target>
</volume>"""
ACTIONS = (("build", 0), ("create", 0), ("destroy",), ("delete", 0), ("undefine",), ("refresh", 0), ("setAutostart", 1),
           ("setAutostart", 0), ("listVolumes",), ("numOfVolumes",))
BAD = {
    "empty": "", "unclosed": "<pool>", "another root": "<domain/>", "no type": "<pool/>",
    "unknown type": "<pool type='x'/>",
    "no name": "<pool type='dir'/>", "no path": "<pool type='dir'><name>p</name></pool>",
    "bad uuid": XML.replace(UUID, "zz"), "slash in name": XML.replace(">p<", ">a/b<"),
}
BAD_VOLUMES = {
    "empty": "", "another root": "<pool/>", "no name": "<volume/>",
    "no capacity": "<volume><name>v</name></volume>",
    "bad capacity": "<volume><name>v</name><capacity>x</capacity></volume>",
    "bad unit": "<volume><name>v</name><capacity unit='x'>1</capacity></volume>",
    "bad format": VOLUME.format(name="v", size=1, format="x"),
    "too large": VOLUME.format(name="v", size=10**9, format="raw"),
}


def run(libvirt: ModuleType, uri: str) -> dict[str, Any]:
    """The life of pools and volumes."""
    r = Recorder(libvirt)
    conn = libvirt.open(uri)
    r.section("default-pool")
    pool = r.call(conn, "storagePoolLookupByName", "default-pool")
    describe(r, libvirt, pool)
    lists(r, libvirt, conn)
    r.section("look-ups")
    for method, key in (("storagePoolLookupByUUIDString", "dfe224cb-28fb-8dd0-c4b2-64eb3f0f4566"),
                        ("storagePoolLookupByUUID", uuid.UUID("dfe224cb-28fb-8dd0-c4b2-64eb3f0f4566").bytes),
                        ("storagePoolLookupByName", "zz"), ("storagePoolLookupByName", None),
                        ("storagePoolLookupByUUIDString", UUID), ("storagePoolLookupByUUIDString", "zz"),
                        ("storagePoolLookupByUUID", b"\0" * 16), ("storagePoolLookupByTargetPath", "/default-pool"),
                        ("storageVolLookupByKey", "zz"), ("storageVolLookupByPath", "/zz")):
        r.call(conn, method, key)
    for state in ("inactive", "active", "transient"):
        for action, *arguments in ACTIONS:
            r.section(f"{state}, {action}({', '.join(map(str, arguments))})")
            pool = conn.storagePoolCreateXML(XML) if state == "transient" else conn.storagePoolDefineXML(XML)
            if state == "active":
                pool.create()
            r.call(pool, action, *arguments, label="answer")
            for method in ("isActive", "isPersistent", "autostart", "info"):
                r.call(pool, method)
            r.call(conn, "listAllStoragePools")
            clear(libvirt, conn)
    documents(r, libvirt, conn)
    volumes(r, libvirt, conn)
    return r.steps


def describe(r: Recorder, libvirt: ModuleType, pool: Any) -> None:
    """Everything that reads a pool."""
    for method in ("name", "UUIDString", "UUID", "isActive", "isPersistent", "autostart", "info", "numOfVolumes",
                   "listVolumes", "listAllVolumes", "XMLDesc"):
        r.call(pool, method)
    r.call(pool, "XMLDesc", libvirt.VIR_STORAGE_XML_INACTIVE)
    r.call(pool, "XMLDesc", 1 << 29)
    r.call(pool, "listAllVolumes", 1 << 29)
    r.call(pool, "storageVolLookupByName", "zz")


def lists(r: Recorder, libvirt: ModuleType, conn: Any) -> None:
    """All lists and counts."""
    for method in ("numOfStoragePools", "numOfDefinedStoragePools", "listStoragePools", "listDefinedStoragePools",
                   "listAllStoragePools"):
        r.call(conn, method)
    for name in ("ACTIVE", "INACTIVE", "PERSISTENT", "TRANSIENT", "AUTOSTART", "NO_AUTOSTART", "DIR", "LOGICAL"):
        flags = getattr(libvirt, f"VIR_CONNECT_LIST_STORAGE_POOLS_{name}")
        r.call(conn, "listAllStoragePools", flags, label=f"list {name}")
    r.call(conn, "listAllStoragePools", 1 << 29)


def clear(libvirt: ModuleType, conn: Any) -> None:
    """Away with the pool, whatever its state."""
    for step in ("destroy", "undefine"):
        try:
            getattr(conn.storagePoolLookupByName("p"), step)()
        except libvirt.libvirtError:
            continue


def documents(r: Recorder, libvirt: ModuleType, conn: Any) -> None:
    """Documents in and out."""
    r.section("defined")
    pool = r.call(conn, "storagePoolDefineXML", XML, 0, label="storagePoolDefineXML")
    describe(r, libvirt, pool)
    r.call(conn, "storagePoolDefineXML", XML.replace(UUID, UUID[:-1] + "6"), 0, label="same name, other UUID")
    r.call(conn, "storagePoolDefineXML", XML.replace(">p<", ">other<"), 0, label="other name, same UUID")
    other = XML.replace(">p<", ">other<").replace(UUID, UUID[:-1] + "6")
    r.call(conn, "storagePoolDefineXML", other, 0, label="same path")
    r.call(conn, "storagePoolCreateXML", XML, 0, label="create what is defined")
    r.call(conn, "storagePoolCreateXML", XML, 0, label="create what is active")
    clear(libvirt, conn)
    r.section("removed")
    for method in ("name", "isActive", "XMLDesc", "info", "create", "destroy", "undefine", "refresh", "listAllVolumes"):
        r.call(pool, method)
    r.section("refused")
    for name, xml in BAD.items():
        for method in ("storagePoolDefineXML", "storagePoolCreateXML"):
            r.call(conn, method, xml, 0, label=f"{name}, {method}")
            clear(libvirt, conn)
    r.call(conn, "listAllStoragePools")


def volumes(r: Recorder, libvirt: ModuleType, conn: Any) -> None:
    """Volumes in the default pool."""
    pool = conn.storagePoolLookupByName("default-pool")
    for kind in ("raw", "qcow2"):
        r.section(f"{kind} volume")
        vol = r.call(pool, "createXML", VOLUME.format(name=f"v.{kind}", size=64, format=kind), 0, label="createXML")
        for method in ("name", "key", "path", "info", "XMLDesc"):
            r.call(vol, method)
        r.call(vol, "infoFlags", 0)
        r.call(vol, "XMLDesc", 1 << 29)
        r.call(r.call(vol, "storagePoolLookupByVolume"), "name")
        r.call(pool, "createXML", VOLUME.format(name=f"v.{kind}", size=64, format=kind), 0, label="once more")
        r.call(pool, "info")
        path = f"/default-pool/v.{kind}"
        r.call(conn, "storageVolLookupByPath", path)
        r.call(conn, "storageVolLookupByKey", path)
        r.call(pool, "storageVolLookupByName", f"v.{kind}")
    r.section("lists")
    r.call(pool, "listVolumes")
    r.call(pool, "listAllVolumes")
    r.call(pool, "numOfVolumes")
    r.section("refused")
    for name, xml in BAD_VOLUMES.items():
        r.call(pool, "createXML", xml, 0, label=name)
    r.call(pool, "createXML", 5)
    r.call(pool, "createXML", VOLUME.format(name="v", size=1, format="raw"), 1 << 29, label="unknown flags")
    r.section("deleted")
    vol = pool.storageVolLookupByName("v.raw")
    r.call(vol, "delete", 1 << 29)
    r.call(vol, "delete", 0)
    r.call(vol, "delete", 0)
    r.call(vol, "info")
    r.call(vol, "XMLDesc")
    r.call(vol, "path")
    r.call(pool, "info")
    r.call(pool, "listVolumes")
    r.section("inactive pool")
    left = pool.storageVolLookupByName("v.qcow2")
    r.call(pool, "destroy")
    for method in ("listVolumes", "listAllVolumes", "numOfVolumes", "info", "XMLDesc"):
        r.call(pool, method)
    r.call(left, "info")
    r.call(pool, "createXML", VOLUME.format(name="v", size=1, format="raw"), 0, label="createXML")
