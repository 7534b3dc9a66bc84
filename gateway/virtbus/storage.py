"""``virStoragePool`` and ``virStorageVol``, and what a connection can do with them: one method per row of the storage
service.
"""

from __future__ import annotations

from virtbus.arguments import flag_bits, number, text, uuid_from_bytes, uuid_from_text
from virtbus.errors import api_call
from virtbus.handle import MAX_NAME, Caller, Handle
from virtbus.unsupported import complete
from virtbus_shared import constants as c
from virtbus_shared.api import storage as rows
from virtbus_shared.api.common import ListFlags

MAX_PATH = 4096  # characters


@complete
class virStoragePool(Handle):
    """A storage pool: a name and a UUID."""

    def __init__(self, parent: Caller, _obj: rows.Pool) -> None:
        super().__init__(parent)
        self._name = _obj.name
        self._uuid = _obj.uuid

    def _ref(self) -> rows.PoolRef:
        return rows.PoolRef(uuid=self._uuid, name=self._name[:MAX_NAME])

    def _flags(self, flags: int) -> rows.PoolFlags:
        return rows.PoolFlags(uuid=self._uuid, name=self._name[:MAX_NAME], flags=flag_bits(flags))

    @api_call
    def name(self) -> str:
        """Its name; no call."""
        return self._name

    @api_call
    def UUID(self) -> bytes:
        """Its UUID as 16 bytes; no call."""
        return bytes.fromhex(self._uuid.replace("-", ""))

    @api_call
    def UUIDString(self) -> str:
        """Its UUID as text; no call."""
        return self._uuid

    @api_call
    def build(self, flags: int = 0) -> int:
        """Make what it stands on, such as its directory; ``flags`` are ``VIR_STORAGE_POOL_BUILD_*``."""
        self._call("virStoragePoolBuild", rows.POOL_BUILD, self._flags(flags))
        return 0

    @api_call
    def create(self, flags: int = 0) -> int:
        """Start it; ``flags`` are ``VIR_STORAGE_POOL_CREATE_*``."""
        self._call("virStoragePoolCreate", rows.POOL_CREATE, self._flags(flags))
        return 0

    @api_call
    def destroy(self) -> int:
        """Stop it; its volumes stay where they are."""
        self._call("virStoragePoolDestroy", rows.POOL_DESTROY, self._ref())
        return 0

    @api_call
    def delete(self, flags: int = 0) -> int:
        """Delete what it stands on; ``flags`` are ``VIR_STORAGE_POOL_DELETE_*``."""
        self._call("virStoragePoolDelete", rows.POOL_DELETE, self._flags(flags))
        return 0

    @api_call
    def undefine(self) -> int:
        """Forget its definition. Code 55 if it runs."""
        self._call("virStoragePoolUndefine", rows.POOL_UNDEFINE, self._ref())
        return 0

    @api_call
    def refresh(self, flags: int = 0) -> int:
        """Look again at what it holds; ``flags`` must be 0."""
        self._call("virStoragePoolRefresh", rows.POOL_REFRESH, self._flags(flags))
        return 0

    @api_call
    def info(self) -> list[int]:
        """[state, capacity, allocation, available]; sizes in bytes."""
        info = self._call("virStoragePoolGetInfo", rows.POOL_GET_INFO, self._ref())
        return [info.state, info.capacity, info.allocation, info.available]

    @api_call
    def XMLDesc(self, flags: int = 0) -> str:
        """Its description as XML; ``flags`` are ``VIR_STORAGE_XML_*``."""
        return self._call("virStoragePoolGetXMLDesc", rows.POOL_GET_XML_DESC, self._flags(flags)).xml

    @api_call
    def autostart(self) -> int:
        """1 if it starts with its node, else 0."""
        return int(self._call("virStoragePoolGetAutostart", rows.POOL_GET_AUTOSTART, self._ref()).value)

    @api_call
    def setAutostart(self, autostart: int) -> int:
        """Say whether it starts with its node."""
        self._call("virStoragePoolSetAutostart", rows.POOL_SET_AUTOSTART, rows.SetAutostart(
            uuid=self._uuid, name=self._name[:MAX_NAME], autostart=bool(number(autostart))))
        return 0

    @api_call
    def isActive(self) -> int:
        """1 if it runs, else 0."""
        return int(self._call("virStoragePoolIsActive", rows.POOL_IS_ACTIVE, self._ref()).value)

    @api_call
    def isPersistent(self) -> int:
        """1 if it is defined, 0 if it ends with its run."""
        return int(self._call("virStoragePoolIsPersistent", rows.POOL_IS_PERSISTENT, self._ref()).value)

    @api_call
    def listAllVolumes(self, flags: int = 0) -> list[virStorageVol]:
        """Its volumes; ``flags`` must be 0. Code 55 if it does not run."""
        return [virStorageVol(self, found) for found in self._volumes("virStoragePoolListAllVolumes", flags)]

    @api_call
    def listVolumes(self) -> list[str]:
        """Names of its volumes."""
        return [volume.name for volume in self._volumes("virStoragePoolListVolumes", 0)]

    @api_call
    def numOfVolumes(self) -> int:
        """How many volumes it has."""
        return len(self._volumes("virStoragePoolNumOfVolumes", 0))

    def _volumes(self, function: str, flags: int) -> list[rows.Volume]:
        return self._call(function, rows.VOL_LIST_ALL, self._flags(flags)).volumes

    @api_call
    def storageVolLookupByName(self, name: str) -> virStorageVol:
        """Its volume of a name. Code 50 if there is none."""
        function = "virStorageVolLookupByName"
        return virStorageVol(self, self._call(function, rows.VOL_LOOKUP_BY_NAME, rows.VolName(
            uuid=self._uuid, name=self._name[:MAX_NAME], vol=text(name, function, "name"))))

    @api_call
    def createXML(self, xmlDesc: str, flags: int = 0) -> virStorageVol:
        """Create a volume by a ``<volume>`` document; ``flags`` are ``VIR_STORAGE_VOL_CREATE_*``."""
        function = "virStorageVolCreateXML"
        return virStorageVol(self, self._call(function, rows.VOL_CREATE_XML, rows.VolXML(
            uuid=self._uuid, name=self._name[:MAX_NAME], flags=flag_bits(flags),
            xml=text(xmlDesc, function, "xmlDesc"))))


@complete
class virStorageVol(Handle):
    """A storage volume: the name of its pool, its name there, and its key."""

    def __init__(self, parent: Caller, _obj: rows.Volume) -> None:
        super().__init__(parent)
        self._pool = _obj.pool
        self._name = _obj.name
        self._key = _obj.key

    def _ref(self) -> rows.VolRef:
        return rows.VolRef(key=self._key, pool=self._pool[:MAX_NAME], name=self._name[:MAX_NAME])

    def _flags(self, flags: int) -> rows.VolFlags:
        return rows.VolFlags(key=self._key, pool=self._pool[:MAX_NAME], name=self._name[:MAX_NAME],
                             flags=flag_bits(flags))

    @api_call
    def name(self) -> str:
        """Its name; no call."""
        return self._name

    @api_call
    def key(self) -> str:
        """Its key, unique on the node; no call."""
        return self._key

    @api_call
    def path(self) -> str:
        """Its path on the node."""
        return self._call("virStorageVolGetPath", rows.VOL_GET_PATH, self._ref()).path

    @api_call
    def delete(self, flags: int = 0) -> int:
        """Delete it and its data; ``flags`` are ``VIR_STORAGE_VOL_DELETE_*``."""
        self._call("virStorageVolDelete", rows.VOL_DELETE, self._flags(flags))
        return 0

    @api_call
    def info(self) -> list[int]:
        """[type, capacity, allocation]; sizes in bytes."""
        return self._info("virStorageVolGetInfo", 0)

    @api_call
    def infoFlags(self, flags: int = 0) -> list[int]:
        """As ``info``; with ``VIR_STORAGE_VOL_GET_PHYSICAL`` the physical size stands for the allocation."""
        return self._info("virStorageVolGetInfoFlags", flags)

    def _info(self, function: str, flags: int) -> list[int]:
        info = self._call(function, rows.VOL_GET_INFO, self._flags(flags))
        return [info.type, info.capacity, info.allocation]

    @api_call
    def XMLDesc(self, flags: int = 0) -> str:
        """Its description as XML; ``flags`` must be 0."""
        return self._call("virStorageVolGetXMLDesc", rows.VOL_GET_XML_DESC, self._flags(flags)).xml

    @api_call
    def storagePoolLookupByVolume(self) -> virStoragePool:
        """The pool that holds it."""
        return virStoragePool(self, self._call("virStoragePoolLookupByVolume", rows.POOL_LOOKUP_BY_VOLUME, self._ref()))


class StorageCalls(Caller):
    """The part of ``virConnect`` that finds and makes pools, and finds volumes."""

    @api_call
    def listAllStoragePools(self, flags: int = 0) -> list[virStoragePool]:
        """All pools that match ``VIR_CONNECT_LIST_STORAGE_POOLS_*`` flags; 0 for all."""
        return [virStoragePool(self, found) for found in self._pools("virConnectListAllStoragePools", flags)]

    @api_call
    def listStoragePools(self) -> list[str]:
        """Names of the active pools."""
        return [p.name for p in self._pools("virConnectListStoragePools", c.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)]

    @api_call
    def numOfStoragePools(self) -> int:
        """How many pools are active."""
        return len(self._pools("virConnectNumOfStoragePools", c.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE))

    @api_call
    def listDefinedStoragePools(self) -> list[str]:
        """Names of the inactive pools."""
        return [p.name for p in self._pools("virConnectListDefinedStoragePools",
                                            c.VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE)]

    @api_call
    def numOfDefinedStoragePools(self) -> int:
        """How many pools are inactive."""
        return len(self._pools("virConnectNumOfDefinedStoragePools", c.VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE))

    def _pools(self, function: str, flags: int) -> list[rows.Pool]:
        return self._call(function, rows.POOL_LIST_ALL, ListFlags(flags=flag_bits(flags))).pools

    @api_call
    def storagePoolLookupByName(self, name: str) -> virStoragePool:
        """The pool of a name. Code 49 if there is none."""
        function = "virStoragePoolLookupByName"
        return virStoragePool(self, self._call(function, rows.POOL_LOOKUP_BY_NAME,
                                               rows.PoolName(name=text(name, function, "name"))))

    @api_call
    def storagePoolLookupByUUID(self, uuid: bytes) -> virStoragePool:
        """The pool of a UUID in 16 bytes. Code 49 if there is none."""
        function = "virStoragePoolLookupByUUID"
        return self._pool_by_uuid(function, uuid_from_bytes(uuid, function))

    @api_call
    def storagePoolLookupByUUIDString(self, uuidstr: str) -> virStoragePool:
        """The pool of a UUID in text. Code 49 if there is none."""
        function = "virStoragePoolLookupByUUIDString"
        return self._pool_by_uuid(function, uuid_from_text(uuidstr, function))

    def _pool_by_uuid(self, function: str, uuid: str) -> virStoragePool:
        return virStoragePool(self, self._call(function, rows.POOL_LOOKUP_BY_UUID, rows.PoolRef(uuid=uuid)))

    @api_call
    def storagePoolDefineXML(self, xml: str, flags: int = 0) -> virStoragePool:
        """Define a persistent pool by a ``<pool>`` document, or change its definition."""
        function = "virStoragePoolDefineXML"
        params = rows.PoolXML(xml=text(xml, function, "xml"), flags=flag_bits(flags))
        return virStoragePool(self, self._call(function, rows.POOL_DEFINE_XML, params))

    @api_call
    def storagePoolCreateXML(self, xmlDesc: str, flags: int = 0) -> virStoragePool:
        """Start a transient pool from a document; ``flags`` are ``VIR_STORAGE_POOL_CREATE_*``."""
        function = "virStoragePoolCreateXML"
        params = rows.PoolXML(xml=text(xmlDesc, function, "xmlDesc"), flags=flag_bits(flags))
        return virStoragePool(self, self._call(function, rows.POOL_CREATE_XML, params))

    @api_call
    def storageVolLookupByKey(self, key: str) -> virStorageVol:
        """The volume of a key. Code 50 if there is none."""
        function = "virStorageVolLookupByKey"
        params = rows.VolKey(key=text(key, function, "key", MAX_PATH))
        return virStorageVol(self, self._call(function, rows.VOL_LOOKUP_BY_KEY, params))

    @api_call
    def storageVolLookupByPath(self, path: str) -> virStorageVol:
        """The volume of a path on the node. Code 50 if there is none."""
        function = "virStorageVolLookupByPath"
        params = rows.VolPath(path=text(path, function, "path", MAX_PATH))
        return virStorageVol(self, self._call(function, rows.VOL_LOOKUP_BY_PATH, params))
