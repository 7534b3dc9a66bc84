"""``virStoragePool``, ``virStorageVol``, and the calls that find them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

import virtbus as libvirt
from virtbus import libvirtError, virConnect

UUID = "11111111-2222-3333-4444-555555555555"
XML = f"<pool type='dir'><name>p</name><uuid>{UUID}</uuid><target><path>/virtbus-p</path></target></pool>"
VOLUME = "<volume><name>v</name><capacity>1048576</capacity></volume>"


@pytest.fixture
def conn() -> Iterator[virConnect]:
    """A node of its own: nobody else in this process has it open."""
    with libvirt.open("test:///default") as found:
        yield found


def test_life_of_a_pool(conn: virConnect) -> None:
    """Actions answer 0, facts have libvirt's shapes, predicates are ints."""
    pool = conn.storagePoolDefineXML(XML)
    assert (pool.name(), pool.UUIDString(), pool.UUID()) == ("p", UUID, uuid.UUID(UUID).bytes)
    assert [pool.build(), pool.create(), pool.refresh()] == [0, 0, 0]
    assert [pool.isActive(), pool.isPersistent(), pool.autostart()] == [1, 1, 0]
    assert type(pool.isActive()) is int
    state, capacity, allocation, available = pool.info()
    assert state == libvirt.VIR_STORAGE_POOL_RUNNING
    assert capacity == allocation + available
    assert [pool.setAutostart(1), pool.autostart()] == [0, 1]
    assert "<name>p</name>" in pool.XMLDesc()
    assert [pool.destroy(), pool.delete(), pool.undefine()] == [0, 0, 0]
    with pytest.raises(libvirtError) as error:
        pool.isActive()
    assert error.value.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_POOL
    assert conn.storagePoolCreateXML(XML).destroy() == 0


def test_life_of_a_volume(conn: virConnect) -> None:
    """It is found by name, key and path, says its sizes in bytes, and knows its pool."""
    pool = conn.storagePoolLookupByName("default-pool")
    vol = pool.createXML(VOLUME)
    assert (vol.name(), vol.key(), vol.path()) == ("v", "/default-pool/v", "/default-pool/v")
    assert vol.info() == [libvirt.VIR_STORAGE_VOL_FILE, 1048576, 1048576]
    assert "<name>v</name>" in vol.XMLDesc()
    assert (pool.listVolumes(), pool.numOfVolumes(), [v.name() for v in pool.listAllVolumes()]) == (["v"], 1, ["v"])
    for found in (pool.storageVolLookupByName("v"), conn.storageVolLookupByKey(vol.key()),
                  conn.storageVolLookupByPath(vol.path())):
        assert found.key() == vol.key()
        assert found.connect() is conn
    assert vol.storagePoolLookupByVolume().name() == "default-pool"
    assert vol.delete() == 0
    with pytest.raises(libvirtError) as error:
        vol.info()
    assert error.value.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL


def test_info_with_flags(conn: virConnect) -> None:
    """The form with flags answers the same in the same shape."""
    vol = conn.storagePoolLookupByName("default-pool").createXML(VOLUME, 0)
    assert vol.infoFlags() == vol.infoFlags(0) == vol.info()


def test_lists_and_counts(conn: virConnect) -> None:
    """Every list and count follows from the flags."""
    conn.storagePoolDefineXML(XML)
    assert (conn.numOfStoragePools(), conn.numOfDefinedStoragePools()) == (1, 1)
    assert (conn.listStoragePools(), conn.listDefinedStoragePools()) == (["default-pool"], ["p"])
    assert sorted(pool.name() for pool in conn.listAllStoragePools()) == ["default-pool", "p"]
    assert [p.name() for p in conn.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE)] == ["p"]


def test_look_ups(conn: virConnect) -> None:
    """By name and UUID; what is no name is code 8 from the storage part, what is too long too."""
    conn.storagePoolDefineXML(XML)
    assert conn.storagePoolLookupByName("p").UUIDString() == UUID
    assert conn.storagePoolLookupByUUID(uuid.UUID(UUID).bytes).name() == "p"
    assert conn.storagePoolLookupByUUIDString(UUID).name() == "p"
    with pytest.raises(libvirtError) as missing:
        conn.storageVolLookupByKey(None)  # type: ignore[arg-type]
    assert missing.value.err is not None
    assert missing.value.err[:3] == (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_FROM_STORAGE,
                                     "key in virStorageVolLookupByKey must not be NULL")
    with pytest.raises(libvirtError, match="at most 4096") as long:
        conn.storageVolLookupByPath("/" * 5000)
    assert long.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG
