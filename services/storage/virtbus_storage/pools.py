"""Storage pools: finding, defining, building, starting, refreshing, stopping."""

from __future__ import annotations

from collections.abc import Callable

from virtbus_shared import constants as c
from virtbus_shared.api import storage as api
from virtbus_shared.api.common import Document, Flag, ListFlags
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import Nothing
from virtbus_shared.service.store import JournalEntry
from virtbus_storage.driver import emit
from virtbus_storage.handlers import Ctx, find_pool, find_volume, handlers, no_pool
from virtbus_storage.object import KIND, PoolObject
from virtbus_storage.xml import Pool, format_pool, parse_pool

Test = Callable[[PoolObject], bool]


def _of_type(kind: str) -> Test:
    return lambda pool: pool.type == kind


_GROUPS: tuple[tuple[tuple[int, Test], ...], ...] = (
    ((c.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE, lambda p: p.active),
     (c.VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE, lambda p: not p.active)),
    ((c.VIR_CONNECT_LIST_STORAGE_POOLS_PERSISTENT, lambda p: p.persistent),
     (c.VIR_CONNECT_LIST_STORAGE_POOLS_TRANSIENT, lambda p: not p.persistent)),
    ((c.VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART, lambda p: p.autostart),
     (c.VIR_CONNECT_LIST_STORAGE_POOLS_NO_AUTOSTART, lambda p: not p.autostart)),
    tuple((value, _of_type(name.rpartition("STORAGE_POOLS_")[2].lower().replace("_", "-")))
          for name, value in vars(c).items()
          if name.startswith("VIR_CONNECT_LIST_STORAGE_POOLS_") and value >= c.VIR_CONNECT_LIST_STORAGE_POOLS_DIR),
)
LIST_FLAGS = sum(bit for group in _GROUPS for bit, _ in group)


@handlers.answers(api.POOL_LIST_ALL)
def pool_list_all(ctx: Ctx, params: ListFlags) -> api.Pools:
    """virConnectListAllStoragePools, and the calls that count or list a part of it."""
    ctx.driver.check_flags(params.flags, LIST_FLAGS, "ConnectListAllStoragePools")
    groups = [[test for bit, test in group if params.flags & bit] for group in _GROUPS]
    return api.Pools(pools=[p.reference for p in ctx.driver.pools
                            if all(any(test(p) for test in group) for group in groups if group)])


@handlers.answers(api.POOL_LOOKUP_BY_NAME)
def pool_lookup_by_name(ctx: Ctx, params: api.PoolName) -> api.Pool:
    """virStoragePoolLookupByName."""
    pool = ctx.driver.pools.by_name(params.name)
    if pool is None:
        raise no_pool(ctx, f"name '{params.name}'")
    return pool.reference


@handlers.answers(api.POOL_LOOKUP_BY_UUID)
def pool_lookup_by_uuid(ctx: Ctx, params: api.PoolRef) -> api.Pool:
    """virStoragePoolLookupByUUID."""
    return find_pool(ctx, params).reference


@handlers.answers(api.POOL_LOOKUP_BY_VOLUME)
def pool_lookup_by_volume(ctx: Ctx, params: api.VolRef) -> api.Pool:
    """virStoragePoolLookupByVolume."""
    return find_volume(ctx, params)[0].reference


def _take(ctx: Ctx, model: Pool) -> PoolObject:
    """The pool that a document is about, taken in if it is new; name and UUID must belong together."""
    driver, name, uuid = ctx.driver, str(model.name), str(model.uuid)
    by_uuid, by_name = driver.pools.by_uuid(uuid), driver.pools.by_name(name)
    for other in driver.pools:
        if other.name != name and other.type == model.type == "dir" and other.path == _path(model):
            raise LibvirtError(c.VIR_ERR_OPERATION_FAILED, f"Storage source conflict with pool: '{other.name}'",
                               domain=c.VIR_FROM_STORAGE)
    if by_uuid is not None and by_uuid.name != name:
        raise LibvirtError(c.VIR_ERR_OPERATION_FAILED, f"pool '{by_uuid.name}' is already defined with uuid {uuid}",
                           domain=c.VIR_FROM_STORAGE)
    if by_name is not None and by_name.uuid != uuid:
        raise LibvirtError(c.VIR_ERR_OPERATION_FAILED, f"pool '{name}' already exists with uuid {by_name.uuid}",
                           domain=c.VIR_FROM_STORAGE)
    if by_uuid is not None:
        return by_uuid
    pool = PoolObject(name, uuid, str(model.type))
    driver.pools.add(pool)
    ctx.change.undo(lambda: driver.pools.remove(pool))
    return pool


def _path(model: Pool) -> str | None:
    return model.target.path if model.target else None


def _keep_or_forget(ctx: Ctx, pool: PoolObject) -> None:
    """A pool that neither runs nor is defined is gone."""
    if pool.active or pool.persistent:
        ctx.driver.keep(ctx.change, pool)
    else:
        ctx.driver.pools.remove(pool)
        ctx.change.undo(lambda: ctx.driver.pools.add(pool))
        ctx.change.delete(KIND, pool.uuid)


@handlers.handles(api.POOL_DEFINE_XML)
async def pool_define_xml(ctx: Ctx, params: api.PoolXML) -> api.Pool:
    """virStoragePoolDefineXML."""
    ctx.driver.check_flags(params.flags, 0, "StoragePoolDefineXML")
    model = ctx.driver.read(params.xml)
    pool = await ctx.hold(lambda: _take(ctx, model))
    before = pool.inactive
    ctx.change.undo(lambda: setattr(pool, "inactive", before))
    pool.inactive = format_pool(model)
    if not pool.active:
        pool.type = str(model.type)
        ctx.driver.adopt(pool, model)
    emit(ctx.change, pool, c.VIR_STORAGE_POOL_EVENT_DEFINED)
    ctx.driver.keep(ctx.change, pool)
    return pool.reference


@handlers.handles(api.POOL_CREATE_XML)
async def pool_create_xml(ctx: Ctx, params: api.PoolXML) -> api.Pool:
    """virStoragePoolCreateXML."""
    builds = (c.VIR_STORAGE_POOL_CREATE_WITH_BUILD | c.VIR_STORAGE_POOL_CREATE_WITH_BUILD_OVERWRITE
              | c.VIR_STORAGE_POOL_CREATE_WITH_BUILD_NO_OVERWRITE)
    ctx.driver.check_flags(params.flags, builds, "StoragePoolCreateXML")
    model = ctx.driver.read(params.xml)
    pool = await ctx.hold(lambda: _take(ctx, model))
    if pool.active:
        raise LibvirtError(c.VIR_ERR_OPERATION_INVALID, f"pool is already active as '{pool.name}'",
                           domain=c.VIR_FROM_STORAGE)
    ctx.driver.adopt(pool, model)
    await _start(ctx, pool, model, build=bool(params.flags & builds))
    return pool.reference


async def _start(ctx: Ctx, pool: PoolObject, model: Pool, *, build: bool) -> None:
    driver = ctx.driver
    async with driver.host.call("pool_create", ctx.request.deadline, driver.error_domain):
        if build:
            await driver.pool_build(pool, 0)
        await driver.pool_create(pool)
    pool.live, pool.state = format_pool(model), c.VIR_STORAGE_POOL_RUNNING
    emit(ctx.change, pool, c.VIR_STORAGE_POOL_EVENT_STARTED)
    driver.keep(ctx.change, pool)
    ctx.change.settle()


@handlers.handles(api.POOL_CREATE)
async def pool_create(ctx: Ctx, params: api.PoolFlags) -> Nothing:
    """virStoragePoolCreate."""
    builds = (c.VIR_STORAGE_POOL_CREATE_WITH_BUILD | c.VIR_STORAGE_POOL_CREATE_WITH_BUILD_OVERWRITE
              | c.VIR_STORAGE_POOL_CREATE_WITH_BUILD_NO_OVERWRITE)
    ctx.driver.check_flags(params.flags, builds, "StoragePoolCreate")
    pool = await ctx.hold(lambda: find_pool(ctx, params))
    ctx.driver.require_inactive(pool)
    assert pool.inactive is not None  # an inactive pool is defined, or it is gone
    await _start(ctx, pool, parse_pool(pool.inactive), build=bool(params.flags & builds))
    return Nothing()


@handlers.handles(api.POOL_UNDEFINE)
async def pool_undefine(ctx: Ctx, params: api.PoolRef) -> Nothing:
    """virStoragePoolUndefine."""
    pool = await ctx.hold(lambda: find_pool(ctx, params))
    ctx.driver.require_inactive(pool)
    before = pool.inactive
    ctx.change.undo(lambda: setattr(pool, "inactive", before))
    pool.inactive = None
    emit(ctx.change, pool, c.VIR_STORAGE_POOL_EVENT_UNDEFINED)
    _keep_or_forget(ctx, pool)
    return Nothing()


@handlers.handles(api.POOL_BUILD)
async def pool_build(ctx: Ctx, params: api.PoolFlags) -> Nothing:
    """virStoragePoolBuild."""
    driver = ctx.driver
    driver.check_flags(params.flags, c.VIR_STORAGE_POOL_BUILD_OVERWRITE | c.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE,
                       "StoragePoolBuild")
    pool = await ctx.hold(lambda: find_pool(ctx, params))
    driver.require_inactive(pool)
    async with driver.host.call("pool_build", ctx.request.deadline, driver.error_domain):
        await driver.pool_build(pool, params.flags)
    emit(ctx.change, pool, c.VIR_STORAGE_POOL_EVENT_CREATED)
    return Nothing()


@handlers.handles(api.POOL_DESTROY)
async def pool_destroy(ctx: Ctx, params: api.PoolRef) -> Nothing:
    """virStoragePoolDestroy."""
    driver = ctx.driver
    pool = await ctx.hold(lambda: find_pool(ctx, params))
    driver.require_active(pool)
    async with driver.host.call("pool_destroy", ctx.request.deadline, driver.error_domain):
        await driver.pool_destroy(pool)
    pool.live, pool.state = None, c.VIR_STORAGE_POOL_INACTIVE
    emit(ctx.change, pool, c.VIR_STORAGE_POOL_EVENT_STOPPED)
    _keep_or_forget(ctx, pool)
    ctx.change.settle()
    return Nothing()


@handlers.handles(api.POOL_DELETE)
async def pool_delete(ctx: Ctx, params: api.PoolFlags) -> Nothing:
    """virStoragePoolDelete."""
    driver = ctx.driver
    driver.check_flags(params.flags, c.VIR_STORAGE_POOL_DELETE_ZEROED, "StoragePoolDelete")
    pool = await ctx.hold(lambda: find_pool(ctx, params))
    driver.require_inactive(pool)
    async with driver.host.call("pool_delete", ctx.request.deadline, driver.error_domain):
        await driver.pool_delete(pool, params.flags)
    emit(ctx.change, pool, c.VIR_STORAGE_POOL_EVENT_DELETED)
    return Nothing()


@handlers.handles(api.POOL_REFRESH)
async def pool_refresh(ctx: Ctx, params: api.PoolFlags) -> Nothing:
    """virStoragePoolRefresh."""
    driver = ctx.driver
    driver.check_flags(params.flags, 0, "StoragePoolRefresh")
    pool = await ctx.hold(lambda: find_pool(ctx, params))
    driver.require_active(pool)
    async with driver.host.call("pool_refresh", ctx.request.deadline, driver.error_domain):
        await driver.pool_refresh(pool)
    ctx.change.event(api.POOL_REFRESHED, api.PoolRefreshBody(pool=pool.reference))
    driver.keep(ctx.change, pool)
    return Nothing()


@handlers.answers(api.POOL_GET_INFO)
def pool_get_info(ctx: Ctx, params: api.PoolRef) -> api.PoolInfo:
    """virStoragePoolGetInfo."""
    pool = find_pool(ctx, params)
    return api.PoolInfo(state=pool.state, capacity=pool.capacity, allocation=pool.allocation,
                        available=pool.available)


@handlers.answers(api.POOL_GET_XML_DESC)
def pool_get_xml_desc(ctx: Ctx, params: api.PoolFlags) -> Document:
    """virStoragePoolGetXMLDesc."""
    ctx.driver.check_flags(params.flags, ctx.driver.xml_flags, "StoragePoolGetXMLDesc")
    pool = find_pool(ctx, params)
    text = pool.inactive if params.flags & c.VIR_STORAGE_XML_INACTIVE else pool.live
    model = parse_pool(text or pool.inactive or pool.live or "")
    return Document(xml=format_pool(ctx.driver.document(pool, model)))


@handlers.answers(api.POOL_GET_AUTOSTART)
def pool_get_autostart(ctx: Ctx, params: api.PoolRef) -> Flag:
    """virStoragePoolGetAutostart."""
    return Flag(value=find_pool(ctx, params).autostart)


@handlers.handles(api.POOL_SET_AUTOSTART)
async def pool_set_autostart(ctx: Ctx, params: api.SetAutostart) -> Nothing:
    """virStoragePoolSetAutostart."""
    pool = await ctx.hold(lambda: find_pool(ctx, params))
    if not pool.persistent:
        raise LibvirtError(c.VIR_ERR_INVALID_ARG, "pool has no config file", domain=ctx.driver.error_domain)
    before = pool.autostart
    ctx.change.undo(lambda: setattr(pool, "autostart", before))
    pool.autostart = params.autostart
    ctx.driver.keep(ctx.change, pool)
    return Nothing()


@handlers.answers(api.POOL_IS_ACTIVE)
def pool_is_active(ctx: Ctx, params: api.PoolRef) -> Flag:
    """virStoragePoolIsActive."""
    return Flag(value=find_pool(ctx, params).active)


@handlers.answers(api.POOL_IS_PERSISTENT)
def pool_is_persistent(ctx: Ctx, params: api.PoolRef) -> Flag:
    """virStoragePoolIsPersistent."""
    return Flag(value=find_pool(ctx, params).persistent)


# Building and refreshing may be repeated without harm, and starting, stopping and deleting leave their mark in the
# store alone: a request that did not finish had no effect that counts, so no row here needs reconciling but one.


@handlers.reconciles(api.POOL_DELETE)
def reconcile_pool_delete(ctx: Ctx, params: api.PoolFlags, entry: JournalEntry) -> Nothing | None:
    """Nobody can tell a pool that was deleted from one that was never built."""
    del params
    raise LibvirtError(c.VIR_ERR_OPERATION_ABORTED, f"the service stopped while {entry.procedure} ran; look at the "
                       "pool's target", domain=ctx.driver.error_domain)
