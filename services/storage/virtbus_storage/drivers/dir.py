"""The ``dir`` driver: pools that are directories of this node, volumes that are files in them.

Each running pool has a ``Directory`` with a thread of its own: a directory on a dead network file system holds up its
own pool and nothing else.
"""

from __future__ import annotations

import time

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError, no_support
from virtbus_shared.service.driver import DriverHost
from virtbus_storage.directory import Directory
from virtbus_storage.driver import PoolSizes, StorageDriver
from virtbus_storage.object import PoolObject
from virtbus_storage.xml import Permissions, Pool, PoolTarget, Volume, parse_pool

LOOK_TIMEOUT = 5.0  # seconds that a start waits for one pool


class DirDriver(StorageDriver):
    """``qemu:///system``: pools of type dir."""

    paths = ("/system",)
    prefix = "storage"
    error_domain = c.VIR_FROM_STORAGE

    def __init__(self, host: DriverHost) -> None:
        super().__init__(host)
        self._directories: dict[str, Directory] = {}  # by UUID of the pool
        self._wanted: dict[str, Permissions | None] = {}  # by the definition, by UUID of the pool
        self._permissions: dict[str, Permissions] = {}  # as found, by UUID of the pool

    async def start(self) -> None:
        """Load definitions; look again at pools that ran. One that cannot be looked at in time is inactive."""
        self.load()
        for pool in self.pools:
            target = parse_pool(pool.inactive or pool.live or "").target
            self._wanted[pool.uuid] = target.permissions if target else None
        for pool in [p for p in self.pools if p.active]:
            try:
                async with self.host.call("pool_refresh", time.time() + LOOK_TIMEOUT, self.error_domain):
                    await self.pool_refresh(pool)
            except LibvirtError as e:
                self.host.log.warning("pool %s is not there any more: %s", pool.name, e)
                pool.live, pool.state = None, c.VIR_STORAGE_POOL_INACTIVE
                change = self.host.change()
                self.keep(change, pool)
                await self.host.commit(change)

    async def stop(self) -> None:
        """Let the threads go; files stay."""
        for directory in self._directories.values():
            directory.close()

    def read(self, xml: str) -> Pool:
        """Only directories so far; other types are refused when they are defined."""
        model = super().read(xml)
        if model.type != "dir":
            raise no_support(f"storage pools of type {model.type}", self.error_domain)
        return model

    def adopt(self, pool: PoolObject, model: Pool) -> None:
        """The document says where; how large it is will be seen when it is looked at."""
        path = (model.target or PoolTarget()).path or ""
        if path != pool.path and pool.uuid in self._directories:
            self._directories.pop(pool.uuid).close()
        pool.path = path
        self._wanted[pool.uuid] = model.target.permissions if model.target else None
        pool.capacity = pool.allocation = pool.available = 0

    def _directory(self, pool: PoolObject) -> Directory:
        if pool.uuid not in self._directories:
            self._directories[pool.uuid] = Directory(pool.path)
        return self._directories[pool.uuid]

    async def pool_build(self, pool: PoolObject, flags: int) -> None:
        """Make the directory."""
        await self._directory(pool).build(self._wanted.get(pool.uuid))

    async def pool_create(self, pool: PoolObject) -> None:
        """Look at it."""
        await self.pool_refresh(pool)

    async def pool_refresh(self, pool: PoolObject) -> None:
        """Look at it again."""
        with self.refreshing(pool):
            contents = await self._directory(pool).scan()
        pool.refreshed = time.time()
        pool.capacity, pool.allocation, pool.available = contents.capacity, contents.allocation, contents.available
        pool.volumes = contents.volumes
        self._permissions[pool.uuid] = contents.permissions

    async def statistics(self, pool: PoolObject) -> PoolSizes:
        """The file system's sizes, asked for in the pool's own thread."""
        return PoolSizes(*await self._directory(pool).sizes())

    async def pool_destroy(self, pool: PoolObject) -> None:
        """Forget what was seen."""
        pool.volumes = {}
        pool.capacity = pool.allocation = pool.available = 0
        if pool.uuid in self._directories:
            self._directories.pop(pool.uuid).close()

    async def pool_delete(self, pool: PoolObject, flags: int) -> None:
        """Remove the directory, which must be empty."""
        if flags & c.VIR_STORAGE_POOL_DELETE_ZEROED:
            raise no_support("deleting a directory with its contents zeroed", self.error_domain)
        await self._directory(pool).remove()

    def volume_exists(self, name: str) -> LibvirtError:
        """``VIR_ERR_STORAGE_VOL_EXIST``."""
        return LibvirtError(c.VIR_ERR_STORAGE_VOL_EXIST, f"'{name}'", domain=self.error_domain)

    async def vol_create_xml(self, pool: PoolObject, model: Volume, flags: int) -> Volume:
        """Make the file, and look at the pool's sizes again."""
        metadata = bool(flags & c.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA)
        volume = await self._directory(pool).create(model, preallocate_metadata=metadata)
        await self._measure(pool)
        return volume

    async def vol_delete(self, pool: PoolObject, volume: Volume, flags: int) -> None:
        """Remove the file, and look at the pool's sizes again."""
        await self._directory(pool).delete(volume)
        await self._measure(pool)

    async def _measure(self, pool: PoolObject) -> None:
        sizes = await self._directory(pool).sizes()
        pool.capacity, pool.allocation, pool.available = sizes

    def document(self, pool: PoolObject, model: Pool) -> Pool:
        """A running pool's document shows the directory's owner and mode as they are."""
        if pool.active and model.target:
            model.target.permissions = self._permissions.get(pool.uuid)
        return super().document(pool, model)
