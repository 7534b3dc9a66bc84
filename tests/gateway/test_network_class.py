"""``virNetwork`` and the calls that find networks."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

import virtbus as libvirt
from virtbus import libvirtError, virConnect

UUID = "11111111-2222-3333-4444-555555555555"
XML = f"<network><name>n</name><uuid>{UUID}</uuid><bridge name='virbr7'/></network>"


@pytest.fixture
def conn() -> Iterator[virConnect]:
    """A node of its own: nobody else in this process has it open."""
    with libvirt.open("test:///default") as found:
        yield found


def test_life(conn: virConnect) -> None:
    """Actions answer 0, facts have libvirt's shapes, predicates are ints."""
    net = conn.networkDefineXML(XML)
    assert (net.name(), net.UUIDString(), net.UUID()) == ("n", UUID, uuid.UUID(UUID).bytes)
    assert net.create() == 0
    assert [net.isActive(), net.isPersistent(), net.autostart()] == [1, 1, 0]
    assert type(net.isActive()) is int
    assert net.bridgeName() == "virbr7"
    assert [net.setAutostart(1), net.autostart()] == [0, 1]
    assert "<name>n</name>" in net.XMLDesc()
    assert net.connect() is conn
    assert [net.destroy(), net.undefine()] == [0, 0]
    with pytest.raises(libvirtError) as error:
        net.isActive()
    assert error.value.get_error_code() == libvirt.VIR_ERR_NO_NETWORK


def test_plain_and_flags_forms(conn: virConnect) -> None:
    """The calls that exist with and without flags do the same."""
    assert conn.networkDefineXMLFlags(XML).undefine() == 0
    assert conn.networkCreateXML(XML).destroy() == 0
    assert conn.networkCreateXMLFlags(XML, 0).destroy() == 0


def test_lists_and_counts(conn: virConnect) -> None:
    """Every list and count follows from the flags."""
    conn.networkDefineXML(XML)
    assert (conn.numOfNetworks(), conn.numOfDefinedNetworks()) == (1, 1)
    assert (conn.listNetworks(), conn.listDefinedNetworks()) == (["default"], ["n"])
    assert sorted(net.name() for net in conn.listAllNetworks()) == ["default", "n"]
    assert [net.name() for net in conn.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_INACTIVE)] == ["n"]


def test_look_ups(conn: virConnect) -> None:
    """By name and UUID; misses are code 43, what is no name is code 8 from the network part."""
    conn.networkDefineXML(XML)
    assert conn.networkLookupByName("n").UUIDString() == UUID
    assert conn.networkLookupByUUID(uuid.UUID(UUID).bytes).name() == "n"
    assert conn.networkLookupByUUIDString(UUID.upper()).name() == "n"
    with pytest.raises(libvirtError, match="zz") as missed:
        conn.networkLookupByName("zz")
    assert missed.value.get_error_code() == libvirt.VIR_ERR_NO_NETWORK
    with pytest.raises(libvirtError) as error:
        conn.networkLookupByName(None)  # type: ignore[arg-type]
    assert error.value.err is not None
    assert error.value.err[:3] == (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_FROM_NETWORK,
                                   "name in virNetworkLookupByName must not be NULL")
    with pytest.raises(TypeError):
        conn.networkLookupByName(5)  # type: ignore[arg-type]
