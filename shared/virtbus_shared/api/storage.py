"""Rows of the storage service: storage pools and storage volumes.

Sources: libvirt 9.0.0, ``libvirt-storage.h`` (names, flags, events).
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field

from virtbus_shared import constants as c
from virtbus_shared.api.common import Document, Flag, ListFlags
from virtbus_shared.procedure import (
    TABLE,
    Event,
    Flags,
    Nothing,
    Params,
    Priority,
    Procedure,
    Result,
    Text,
    Uuid,
)

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=Result)


class Pool(Result):
    """A reference to a storage pool."""

    name: str = Field(description="Name, unique on the connection.")
    uuid: str = Field(description="UUID in canonical text form.")


class Volume(Result):
    """A reference to a storage volume."""

    pool: str = Field(description="Name of its pool.")
    name: str = Field(description="Name, unique in the pool.")
    key: str = Field(description="Key, unique on the node.")


class PoolRef(Params):
    """Which storage pool."""

    uuid: Uuid
    name: str = Field(default="", max_length=1024, description="Its name as the caller knows it, for messages only.")


class PoolFlags(PoolRef):
    """Which storage pool, and how."""

    flags: Flags = 0


class PoolXML(Params):
    """A storage pool described by a document."""

    xml: Text = Field(description="A <pool> document.")
    flags: Flags = 0


class PoolName(Params):
    """A storage pool by its name."""

    name: str = Field(description="Name of the pool.")


class SetAutostart(PoolRef):
    """Whether a pool starts with its node."""

    autostart: bool = Field(description="True: start it when the service starts on a booted node.")


class Pools(Result):
    """A list of storage pools."""

    pools: list[Pool] = Field(description="The pools that match.")


class PoolInfo(Result):
    """virStoragePoolInfo."""

    state: int = Field(description="A VIR_STORAGE_POOL_* state.")
    capacity: int = Field(description="Logical size, bytes.")
    allocation: int = Field(description="In use, bytes.")
    available: int = Field(description="Free, bytes.")


class VolRef(Params):
    """Which storage volume, by its key."""

    key: str = Field(description="Key of the volume.", max_length=4096)
    pool: str = Field(default="", max_length=1024, description="Name of its pool as the caller knows it.")
    name: str = Field(default="", max_length=1024, description="Its name as the caller knows it, for messages only.")


class VolFlags(VolRef):
    """Which storage volume, and how."""

    flags: Flags = 0


class VolKey(Params):
    """A storage volume by its key."""

    key: str = Field(description="Key of the volume.", max_length=4096)


class VolPath(Params):
    """A storage volume by its path."""

    path: str = Field(description="Path on the node.", max_length=4096)


class VolName(PoolRef):
    """A storage volume by its name in a pool."""

    vol: str = Field(description="Name of the volume.")


class VolXML(PoolFlags):
    """A storage volume described by a document."""

    xml: Text = Field(description="A <volume> document.")


class Volumes(Result):
    """A list of storage volumes."""

    volumes: list[Volume] = Field(description="The volumes of the pool.")


class VolInfo(Result):
    """virStorageVolInfo."""

    type: int = Field(description="A VIR_STORAGE_VOL_* type.")
    capacity: int = Field(description="Logical size, bytes.")
    allocation: int = Field(description="In use on the host, bytes; the physical size if the flag asks for it.")


class Path(Result):
    """A path on the node."""

    path: str = Field(description="The path.")


class PoolLifecycleBody(Result):
    """virConnectStoragePoolEventLifecycleCallback."""

    pool: Pool = Field(description="The pool.")
    event: int = Field(description="A VIR_STORAGE_POOL_EVENT_* type.")
    detail: int = Field(description="Always 0 so far.")


class PoolRefreshBody(Result):
    """An event that says nothing more than its pool."""

    pool: Pool = Field(description="The pool.")


_POOL = (c.VIR_ERR_NO_STORAGE_POOL,)
_VOL = (c.VIR_ERR_NO_STORAGE_VOL,)
_XML = (c.VIR_ERR_XML_ERROR, c.VIR_ERR_XML_DETAIL, c.VIR_ERR_OPERATION_FAILED, c.VIR_ERR_CONFIG_UNSUPPORTED)
_INVALID = (c.VIR_ERR_OPERATION_INVALID,)


def _read(name: str, serves: str, params: type[P], result: type[R], summary: str, acl: str = "storage_pool:read",
          errors: tuple[int, ...] = _POOL) -> Procedure[P, R]:
    """A row that is answered from memory and allowed on a read-only connection."""
    return TABLE.procedure(Procedure(
        name=f"storage.{name}", summary=summary, params=params, result=result, acl=acl, read_only=True,
        priority=Priority.HIGH, serves=tuple(serves.split()), errors=errors, since="0.1"))


def _change(name: str, serves: str, params: type[P], result: type[R], summary: str, acl: str,
            errors: tuple[int, ...] = _POOL + _INVALID) -> Procedure[P, R]:
    """A row that changes state."""
    return TABLE.procedure(Procedure(
        name=f"storage.{name}", summary=summary, params=params, result=result, acl=acl, changes=True,
        serves=tuple(serves.split()), errors=errors, since="0.1"))


# Pools
POOL_LIST_ALL = _read(
    "pool_list_all", "virConnectListAllStoragePools virConnectListStoragePools virConnectNumOfStoragePools "
    "virConnectListDefinedStoragePools virConnectNumOfDefinedStoragePools", ListFlags, Pools,
    "All pools that match VIR_CONNECT_LIST_STORAGE_POOLS_* flags.", "connect:search_storage_pools", ())
POOL_LOOKUP_BY_NAME = _read("pool_lookup_by_name", "virStoragePoolLookupByName", PoolName, Pool, "The pool of a name.")
POOL_LOOKUP_BY_UUID = _read("pool_lookup_by_uuid", "virStoragePoolLookupByUUID virStoragePoolLookupByUUIDString",
                            PoolRef, Pool, "The pool of a UUID.")
POOL_LOOKUP_BY_VOLUME = _read("pool_lookup_by_volume", "virStoragePoolLookupByVolume", VolRef, Pool,
                              "The pool that holds a volume.")
POOL_DEFINE_XML = _change("pool_define_xml", "virStoragePoolDefineXML", PoolXML, Pool,
                          "Define a persistent pool, or change its definition.", "storage_pool:write", _XML)
POOL_CREATE_XML = _change("pool_create_xml", "virStoragePoolCreateXML", PoolXML, Pool,
                          "Start a transient pool from a document.", "storage_pool:start", _XML)
POOL_UNDEFINE = _change("pool_undefine", "virStoragePoolUndefine", PoolRef, Nothing, "Forget an inactive pool.",
                        "storage_pool:delete")
POOL_BUILD = _change("pool_build", "virStoragePoolBuild", PoolFlags, Nothing,
                     "Make what the pool stands on, such as its directory.", "storage_pool:format")
POOL_CREATE = _change("pool_create", "virStoragePoolCreate", PoolFlags, Nothing, "Start a defined pool.",
                      "storage_pool:start")
POOL_DESTROY = _change("pool_destroy", "virStoragePoolDestroy", PoolRef, Nothing,
                       "Stop a pool; its volumes stay where they are.", "storage_pool:stop")
POOL_DELETE = _change("pool_delete", "virStoragePoolDelete", PoolFlags, Nothing,
                      "Delete what an inactive pool stands on.", "storage_pool:format")
POOL_REFRESH = _change("pool_refresh", "virStoragePoolRefresh", PoolFlags, Nothing,
                       "Look again at what the pool holds.", "storage_pool:refresh")
POOL_GET_INFO = _read("pool_get_info", "virStoragePoolGetInfo", PoolRef, PoolInfo, "State and sizes.")
POOL_GET_XML_DESC = _read("pool_get_xml_desc", "virStoragePoolGetXMLDesc", PoolFlags, Document, "The pool as XML.")
POOL_GET_AUTOSTART = _read("pool_get_autostart", "virStoragePoolGetAutostart", PoolRef, Flag,
                           "Whether it starts with the node.")
POOL_SET_AUTOSTART = _change("pool_set_autostart", "virStoragePoolSetAutostart", SetAutostart, Nothing,
                             "Say whether it starts with the node.", "storage_pool:write")
POOL_IS_ACTIVE = _read("pool_is_active", "virStoragePoolIsActive", PoolRef, Flag, "Whether it runs.")
POOL_IS_PERSISTENT = _read("pool_is_persistent", "virStoragePoolIsPersistent", PoolRef, Flag, "Whether it is defined.")
# Volumes
VOL_LIST_ALL = _read("vol_list_all", "virStoragePoolListAllVolumes virStoragePoolListVolumes "
                     "virStoragePoolNumOfVolumes", PoolFlags, Volumes, "The volumes of a pool.",
                     "storage_pool:search_storage_vols")
VOL_LOOKUP_BY_NAME = _read("vol_lookup_by_name", "virStorageVolLookupByName", VolName, Volume,
                           "The volume of a name in a pool.", "storage_vol:getattr", _POOL + _VOL)
VOL_LOOKUP_BY_KEY = _read("vol_lookup_by_key", "virStorageVolLookupByKey", VolKey, Volume, "The volume of a key.",
                          "storage_vol:getattr", _VOL)
VOL_LOOKUP_BY_PATH = _read("vol_lookup_by_path", "virStorageVolLookupByPath", VolPath, Volume,
                           "The volume of a path.", "storage_vol:getattr", _VOL)
VOL_CREATE_XML = _change("vol_create_xml", "virStorageVolCreateXML", VolXML, Volume, "Create a volume in a pool.",
                         "storage_vol:create", _POOL + _INVALID + (c.VIR_ERR_STORAGE_VOL_EXIST,))
VOL_DELETE = _change("vol_delete", "virStorageVolDelete", VolFlags, Nothing, "Delete a volume and its data.",
                     "storage_vol:delete", _VOL + _INVALID)
VOL_GET_INFO = _read("vol_get_info", "virStorageVolGetInfo virStorageVolGetInfoFlags", VolFlags, VolInfo,
                     "Type and sizes.", "storage_vol:read", _VOL)
VOL_GET_XML_DESC = _read("vol_get_xml_desc", "virStorageVolGetXMLDesc", VolFlags, Document, "The volume as XML.",
                         "storage_vol:read", _VOL)
VOL_GET_PATH = _read("vol_get_path", "virStorageVolGetPath", VolRef, Path, "The path of a volume.",
                     "storage_vol:read", _VOL)

POOL_LIFECYCLE = TABLE.event(Event(
    name="storage.pool_lifecycle", summary="A pool was defined, undefined, started, stopped, built or deleted.",
    body=PoolLifecycleBody, id=c.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, since="0.1"))
POOL_REFRESHED = TABLE.event(Event(
    name="storage.pool_refresh", summary="A pool's contents were looked at again.", body=PoolRefreshBody,
    id=c.VIR_STORAGE_POOL_EVENT_ID_REFRESH, since="0.1"))
