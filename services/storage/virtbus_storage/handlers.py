"""The handlers of the storage service, and how they find their pool or volume."""

from __future__ import annotations

from virtbus_shared import constants as c
from virtbus_shared.api import storage as api
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.handlers import Context, Handlers
from virtbus_storage.driver import StorageDriver
from virtbus_storage.object import PoolObject
from virtbus_storage.xml import Volume

handlers: Handlers[StorageDriver] = Handlers("storage")

Ctx = Context[StorageDriver]


def no_pool(ctx: Ctx, which: str) -> LibvirtError:
    """``VIR_ERR_NO_STORAGE_POOL``, in libvirt's words."""
    return LibvirtError(c.VIR_ERR_NO_STORAGE_POOL, f"no storage pool with matching {which}",
                        domain=ctx.driver.error_domain)


def no_volume(ctx: Ctx, which: str) -> LibvirtError:
    """``VIR_ERR_NO_STORAGE_VOL``, in libvirt's words."""
    return LibvirtError(c.VIR_ERR_NO_STORAGE_VOL, f"no storage vol with matching {which}",
                        domain=ctx.driver.error_domain)


def find_pool(ctx: Ctx, ref: api.PoolRef) -> PoolObject:
    """The pool of a reference."""
    pool = ctx.driver.pools.by_uuid(ref.uuid)
    if pool is None:
        raise no_pool(ctx, ctx.driver.missing(ctx.request.procedure, ref))
    return pool


def find_volume(ctx: Ctx, ref: api.VolRef) -> tuple[PoolObject, Volume]:
    """The volume of a reference, and its pool. Only running pools have volumes."""
    if ref.pool:
        pool = ctx.driver.pools.by_name(ref.pool)
        if pool is None:
            raise no_pool(ctx, f"name '{ref.pool}'")
        ctx.driver.require_active(pool)
        candidates = [pool]
    else:
        candidates = [pool for pool in ctx.driver.pools if pool.active]
    for pool in candidates:
        for volume in pool.volumes.values():
            if volume.key == ref.key:
                return pool, volume
    raise no_volume(ctx, f"name '{ref.name}'" if ref.name else f"key '{ref.key}'")
