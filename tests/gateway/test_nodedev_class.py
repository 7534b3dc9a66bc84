"""``virNodeDevice`` and what a connection knows of its host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import virtbus as libvirt
from virtbus import libvirtError, virConnect
from virtbus.nodedev import CAPABILITIES


@pytest.fixture
def conn() -> Iterator[virConnect]:
    """A connection to libvirt's test node."""
    with libvirt.open("test:///default") as found:
        yield found


def test_a_device(conn: virConnect) -> None:
    """A device knows its name, its parent, its capabilities and its XML."""
    root, host = conn.nodeDeviceLookupByName("computer"), conn.nodeDeviceLookupByName("scsi_host1")
    assert (root.name(), root.parent(), root.listCaps(), root.numOfCaps()) == ("computer", None, ["system"], 1)
    assert host.parent() == "computer"
    assert "<name>scsi_host1</name>" in host.XMLDesc()
    assert host.connect() is conn


def test_lists_by_capability(conn: virConnect) -> None:
    """Names of capabilities are those of the XML; one that nobody has gives nothing, and flags must be 0."""
    assert conn.numOfDevices(None) == len(conn.listDevices(None)) == len(conn.listAllDevices())
    assert conn.listDevices("system") == ["computer"]
    assert conn.numOfDevices("scsi_host") == 3
    assert conn.listDevices("nonsense") == []
    with pytest.raises(libvirtError, match="unsupported flags"):
        conn.listDevices(None, 1)
    with pytest.raises(TypeError):
        conn.numOfDevices(5)  # type: ignore[arg-type]


def test_capability_names() -> None:
    """The names that differ from their flags are mapped, and no two names share a flag."""
    assert CAPABILITIES["pci"] == libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV
    assert CAPABILITIES["usb"] == libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_INTERFACE
    assert CAPABILITIES["usb_device"] == libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV
    assert len(set(CAPABILITIES.values())) == len(CAPABILITIES) == 22


def test_the_host(conn: virConnect) -> None:
    """Memory is MiB in getInfo and bytes in getFreeMemory; a missing device is code 53."""
    assert conn.getInfo()[1] == 3072
    assert conn.getFreeMemory() > 0
    with pytest.raises(libvirtError, match="zz") as error:
        conn.nodeDeviceLookupByName("zz")
    assert error.value.get_error_code() == libvirt.VIR_ERR_NO_NODE_DEVICE
