"""What a driver is to the storage service. Its methods carry the names of the rows they serve."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from virtbus_shared import constants as c
from virtbus_shared.api import storage as api
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import AnyProcedure
from virtbus_shared.service.change import Change
from virtbus_shared.service.driver import Driver, DriverHost
from virtbus_shared.service.objects import Registry
from virtbus_shared.service.snapshot import Histogram
from virtbus_storage.object import KIND, PoolObject
from virtbus_storage.xml import Pool, Volume, complete_pool, parse_pool


def emit(change: Change, pool: PoolObject, event: int) -> None:
    """Record a lifecycle event."""
    change.event(api.POOL_LIFECYCLE, api.PoolLifecycleBody(pool=pool.reference, event=event, detail=0))


@dataclass(frozen=True, slots=True)
class PoolSizes:
    """What a pool stands on, bytes."""

    capacity: int
    allocated: int
    available: int


class StorageDriver(Driver):
    """One connection. ``pools`` are the pools on it."""

    xml_flags: ClassVar[int] = c.VIR_STORAGE_XML_INACTIVE  # what virStoragePoolGetXMLDesc takes
    stores_volumes: ClassVar[bool] = False  # whether the store is the only place where its volumes are

    def __init__(self, host: DriverHost) -> None:
        super().__init__(host)
        self.pools: Registry[PoolObject] = Registry()
        self.refresh_seconds: dict[str, Histogram] = {}  # by type of pool

    def load(self) -> None:
        """Take in what the store kept."""
        for uuid, record in self.host.load(KIND):
            self.pools.add(PoolObject.from_record(uuid, record))

    def autostarting(self) -> Iterable[tuple[AnyProcedure, dict[str, str]]]:
        """Marked pools that do not run."""
        return [(api.POOL_CREATE, {"uuid": p.uuid, "name": p.name})
                for p in self.pools if p.autostart and not p.active]

    @contextmanager
    def refreshing(self, pool: PoolObject) -> Iterator[None]:
        """Around every look at what a pool stands on: counts how it went. A look that is cancelled came too late."""
        began, outcome = time.perf_counter(), "failed"
        try:
            yield
            outcome = "ok"
        except asyncio.CancelledError:
            outcome = "timeout"
            raise
        finally:
            pool.refreshes[outcome] += 1
            self.refresh_seconds.setdefault(pool.type, Histogram()).observe(time.perf_counter() - began)

    @abstractmethod
    async def statistics(self, pool: PoolObject) -> PoolSizes:
        """The sizes of what a running pool stands on; the pool object keeps those of its last full refresh.

        Called without the pool's turn, and not again before it has returned.
        """

    def keep(self, change: Change, pool: PoolObject) -> None:
        """Store a pool as it is now."""
        change.put(KIND, pool.uuid, pool.record(with_volumes=self.stores_volumes))

    def read(self, xml: str) -> Pool:
        """A pool's document, checked and with libvirt's defaults."""
        model = parse_pool(xml)
        complete_pool(model)
        return model

    def missing(self, procedure: str, ref: api.PoolRef) -> str:
        """What a call on a pool that is gone says it looked for."""
        del procedure
        return f"uuid '{ref.uuid}'" + (f" ({ref.name})" if ref.name else "")

    def invalid(self, detail: str) -> LibvirtError:
        """``VIR_ERR_OPERATION_INVALID``."""
        return LibvirtError(c.VIR_ERR_OPERATION_INVALID, detail, domain=self.error_domain)

    def require_active(self, pool: PoolObject) -> None:
        """Refuse an operation on a pool that does not run."""
        if not pool.active:
            raise self.invalid(f"storage pool '{pool.name}' is not active")

    def require_inactive(self, pool: PoolObject) -> None:
        """Refuse an operation on a pool that runs."""
        if pool.active:
            raise self.invalid(f"storage pool '{pool.name}' is active")

    @abstractmethod
    def adopt(self, pool: PoolObject, model: Pool) -> None:
        """Take a document over into the pool that it describes: path, sizes."""

    @abstractmethod
    async def pool_build(self, pool: PoolObject, flags: int) -> None:
        """Make what the pool stands on."""

    @abstractmethod
    async def pool_create(self, pool: PoolObject) -> None:
        """Start: look at what the pool holds, for the first time."""

    @abstractmethod
    async def pool_refresh(self, pool: PoolObject) -> None:
        """Look again: sets sizes and volumes."""

    async def pool_destroy(self, pool: PoolObject) -> None:
        """Stop; the volumes stay where they are."""

    @abstractmethod
    async def pool_delete(self, pool: PoolObject, flags: int) -> None:
        """Delete what the pool stands on."""

    @abstractmethod
    def volume_exists(self, name: str) -> LibvirtError:
        """The error for a volume name that is taken."""

    @abstractmethod
    async def vol_create_xml(self, pool: PoolObject, model: Volume, flags: int) -> Volume:
        """Create a volume; gives it as it then is, with key and path."""

    @abstractmethod
    async def vol_delete(self, pool: PoolObject, volume: Volume, flags: int) -> None:
        """Delete a volume and its data."""

    def document(self, pool: PoolObject, model: Pool) -> Pool:
        """A pool's stored document with its facts of now."""
        model.uuid = pool.uuid
        model.capacity, model.allocation, model.available = pool.capacity, pool.allocation, pool.available
        return model
