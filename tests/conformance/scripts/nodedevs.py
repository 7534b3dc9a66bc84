"""Node devices: lists by capability, look-ups, descriptions, and errors."""

from types import ModuleType
from typing import Any

from tests.support.recording import Recorder

CAPS = ("SYSTEM", "PCI_DEV", "USB_DEV", "NET", "SCSI_HOST", "STORAGE", "FC_HOST", "VPORTS")


def run(libvirt: ModuleType, uri: str) -> dict[str, Any]:
    """What the host is made of."""
    r = Recorder(libvirt)
    conn = libvirt.open(uri)
    r.section("lists")
    r.call(conn, "numOfDevices", None)
    r.call(conn, "numOfDevices", "scsi_host")
    r.call(conn, "numOfDevices", "nonsense")
    r.call(conn, "listDevices", None)
    r.call(conn, "listDevices", "system")
    r.call(conn, "listAllDevices")
    for name in CAPS:
        flag = getattr(libvirt, f"VIR_CONNECT_LIST_NODE_DEVICES_CAP_{name}")
        r.call(conn, "listAllDevices", flag, label=f"list {name}")
    r.call(conn, "listAllDevices", 1 << 29)
    for name in ("computer", "scsi_host1", "scsi_host2", "scsi_host11"):
        r.section(name)
        dev = r.call(conn, "nodeDeviceLookupByName", name)
        for method in ("name", "parent", "numOfCaps", "listCaps", "XMLDesc", "isActive", "isPersistent", "autostart",
                       "reset", "dettach", "reAttach"):
            r.call(dev, method)
        r.call(dev, "XMLDesc", 1 << 29)
    r.section("missed")
    r.call(conn, "nodeDeviceLookupByName", "zz")
    r.call(conn, "nodeDeviceLookupByName", "")
    r.call(conn, "nodeDeviceLookupByName", None)
    r.call(conn, "nodeDeviceLookupSCSIHostByWWN", "2000000012341234", "1000000012341234")
    r.section("virtual port")
    xml = ("<device><parent>scsi_host1</parent><capability type='scsi_host'>"
           "<capability type='fc_host'/></capability></device>")
    dev = r.call(conn, "nodeDeviceCreateXML", xml, 0, label="create",
                 keep=lambda device: device.name().startswith("scsi_host"))
    if dev is not None:
        r.call(dev, "parent")
        r.call(dev, "destroy")
    r.call(conn, "nodeDeviceCreateXML", "<device/>", 0)
    r.call(conn, "nodeDeviceCreateXML", "", 0)
    return r.steps
