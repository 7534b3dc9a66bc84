"""A read-only connection answers every question and refuses every change, by the same code and words."""

from types import ModuleType
from typing import Any

from tests.support.recording import Recorder

READS = {"virConnect": ("getURI", "getType", "numOfDomains", "listAllDomains", "listAllNetworks",
                        "listAllStoragePools", "listAllDevices", "getInfo", "isAlive"),
         "virDomain": ("state", "XMLDesc", "isActive", "autostart", "maxMemory"),
         "virNetwork": ("XMLDesc", "isActive", "bridgeName", "autostart"),
         "virStoragePool": ("XMLDesc", "info", "listVolumes"),
         "virNodeDevice": ("XMLDesc", "listCaps", "parent")}
WRITES: dict[str, tuple[tuple[Any, ...], ...]] = {
    "virConnect": (("defineXML", "<domain/>"), ("createXML", "<domain/>", 0), ("networkDefineXML", "<network/>"),
                   ("networkCreateXML", "<network/>"), ("storagePoolDefineXML", "<pool/>", 0),
                   ("storagePoolCreateXML", "<pool/>", 0), ("nodeDeviceCreateXML", "<device/>", 0),
                   ("restore", "/x"), ("setMemoryParameters", {})),
    "virDomain": (("create",), ("createWithFlags", 0), ("suspend",), ("resume",), ("shutdown",), ("shutdownFlags", 0),
                  ("reboot", 0), ("reset", 0), ("destroy",), ("destroyFlags", 0), ("undefine",), ("undefineFlags", 0),
                  ("setAutostart", 1), ("setMemory", 1024), ("setMaxMemory", 1024), ("setVcpus", 1), ("save", "/x"),
                  ("managedSave", 0), ("managedSaveRemove", 0), ("attachDevice", "<disk/>"),
                  ("detachDevice", "<disk/>"),
                  ("updateDeviceFlags", "<disk/>", 0), ("coreDump", "/x"), ("sendKey", 0, 0, [1], 1, 0),
                  ("setMetadata", 0, "x", None, None, 0), ("rename", "x"), ("injectNMI",), ("abortJob",)),
    "virNetwork": (("create",), ("destroy",), ("undefine",), ("setAutostart", 1), ("update", 3, 2, 0, "<x/>", 0)),
    "virStoragePool": (("create", 0), ("destroy",), ("undefine",), ("build", 0), ("delete", 0), ("refresh", 0),
                       ("setAutostart", 1), ("createXML", "<volume/>", 0)),
    "virStorageVol": (("delete", 0), ("wipe", 0), ("resize", 1, 0)),
    "virNodeDevice": (("destroy",), ("reset",), ("dettach",), ("reAttach",), ("setAutostart", 1)),
}
VOLUME = "<volume><name>v</name><capacity>1024</capacity></volume>"


def run(libvirt: ModuleType, uri: str) -> dict[str, Any]:
    """Reads, then writes, then a look whether anything changed."""
    r = Recorder(libvirt)
    # The volume is made through a second connection, which sees the same state.
    writable = libvirt.open(uri)
    writable.storagePoolLookupByName("default-pool").createXML(VOLUME, 0)
    conn = r.call(libvirt, "openReadOnly", uri, label="openReadOnly")
    pool = conn.storagePoolLookupByName("default-pool")
    objects = {"virConnect": conn, "virDomain": conn.lookupByName("test"),
               "virNetwork": conn.networkLookupByName("default"), "virStoragePool": pool,
               "virStorageVol": pool.storageVolLookupByName("v"),
               "virNodeDevice": conn.nodeDeviceLookupByName("computer")}
    r.section("reads")
    for name, reads in READS.items():
        for method in reads:
            r.call(objects[name], method, label=f"{name}.{method}")
    r.call(objects["virDomain"], "XMLDesc", libvirt.VIR_DOMAIN_XML_SECURE, label="secure XML")
    r.call(objects["virDomain"], "XMLDesc", libvirt.VIR_DOMAIN_XML_MIGRATABLE, label="migratable XML")
    r.section("writes")
    for name, writes in WRITES.items():
        for method, *arguments in writes:
            r.call(objects[name], method, *arguments, label=f"{name}.{method}")
    r.section("afterwards")
    r.call(objects["virDomain"], "state")
    r.call(pool, "listVolumes")
    r.call(conn, "listAllDomains")
    r.call(conn, "close", keep=lambda references: references >= 0)
    return r.steps
