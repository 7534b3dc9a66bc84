"""The ``test`` driver: pools and volumes in memory, with the contents and words of libvirt's ``test:///default``."""

from __future__ import annotations

import time
from typing import ClassVar

from virtbus_shared import constants as c
from virtbus_shared.api import storage as api
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service import node_file
from virtbus_storage.driver import PoolSizes, StorageDriver
from virtbus_storage.object import PoolObject
from virtbus_storage.xml import Pool, PoolTarget, Volume, VolumeTarget, format_pool

CAPACITY = 100 * 2**30  # bytes that every pool of the test driver has

DEFAULT = """
<node>
  <pool type='dir'>
    <name>default-pool</name>
    <uuid>dfe224cb-28fb-8dd0-c4b2-64eb3f0f4566</uuid>
    <target><path>/default-pool</path></target>
  </pool>
</node>
"""


class TestDriver(StorageDriver):
    """``test:///default``, and in-process ``test:///a/file.xml``."""

    __test__ = False  # its name makes pytest curious

    paths = ("/default",)
    prefix = "test"
    error_domain = c.VIR_FROM_TEST
    stores_volumes: ClassVar[bool] = True
    xml_flags = 0

    @classmethod
    def accepts(cls, path: str, *, inprocess: bool) -> bool:
        """In-process, also a file that describes a node."""
        return node_file.accepts(path, inprocess=inprocess)

    async def start(self) -> None:
        """Continue with what the store kept, or begin with the default content."""
        self.load()
        if len(self.pools):
            return
        change = self.host.change()
        for text in node_file.documents(self.host.path, DEFAULT, "pool"):
            model = self.read(text)
            pool = PoolObject(str(model.name), str(model.uuid), str(model.type))
            self.adopt(pool, model)
            pool.inactive = pool.live = format_pool(model)
            pool.state = c.VIR_STORAGE_POOL_RUNNING
            self.pools.add(pool)
            self.keep(change, pool)
        await self.host.commit(change)

    async def stop(self) -> None:
        """Nothing is held."""

    def missing(self, procedure: str, ref: api.PoolRef) -> str:
        """The test driver looks most pools up by their name."""
        by_uuid = procedure in (api.POOL_LOOKUP_BY_UUID.name, api.POOL_IS_ACTIVE.name, api.POOL_IS_PERSISTENT.name)
        return f"uuid '{ref.uuid}'" if by_uuid or not ref.name else f"name '{ref.name}'"

    def adopt(self, pool: PoolObject, model: Pool) -> None:
        """Every pool has the same size."""
        pool.path = (model.target or PoolTarget()).path or ""
        pool.capacity, pool.allocation, pool.available = CAPACITY, 0, CAPACITY

    async def pool_build(self, pool: PoolObject, flags: int) -> None:
        """There is nothing to build."""

    async def pool_create(self, pool: PoolObject) -> None:
        """Runs at once."""

    async def pool_refresh(self, pool: PoolObject) -> None:
        """There is nothing to find."""
        with self.refreshing(pool):
            pool.refreshed = time.time()

    async def statistics(self, pool: PoolObject) -> PoolSizes:
        """As the volumes have left them."""
        return PoolSizes(pool.capacity, pool.allocation, pool.available)

    async def pool_delete(self, pool: PoolObject, flags: int) -> None:
        """There is nothing to delete."""

    def volume_exists(self, name: str) -> LibvirtError:
        """The test driver does not use the code made for it."""
        del name
        return LibvirtError(c.VIR_ERR_OPERATION_FAILED, "storage vol already exists", domain=self.error_domain)

    async def vol_create_xml(self, pool: PoolObject, model: Volume, flags: int) -> Volume:
        """A volume takes its allocation from the pool."""
        allocation = model.allocation or 0
        if pool.allocation + allocation > pool.capacity:
            raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"Not enough free space in pool for volume '{model.name}'",
                               domain=self.error_domain)
        model.target = model.target or VolumeTarget()
        model.target.path = model.key = f"{pool.path}/{model.name}"
        pool.allocation += allocation
        pool.available = pool.capacity - pool.allocation
        return model

    async def vol_delete(self, pool: PoolObject, volume: Volume, flags: int) -> None:
        """A volume gives its allocation back."""
        pool.allocation -= volume.allocation or 0
        pool.available = pool.capacity - pool.allocation
