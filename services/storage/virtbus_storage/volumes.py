"""Storage volumes: finding, creating, deleting, describing."""

from __future__ import annotations

from virtbus_shared import constants as c
from virtbus_shared.api import storage as api
from virtbus_shared.api.common import Document
from virtbus_shared.procedure import Nothing
from virtbus_shared.service.store import JournalEntry
from virtbus_storage.handlers import Ctx, find_pool, find_volume, handlers, no_volume
from virtbus_storage.object import VOLUME_TYPES, volume_path
from virtbus_storage.xml import complete_volume, format_volume, parse_volume


@handlers.answers(api.VOL_LIST_ALL)
def vol_list_all(ctx: Ctx, params: api.PoolFlags) -> api.Volumes:
    """virStoragePoolListAllVolumes."""
    ctx.driver.check_flags(params.flags, 0, "StoragePoolListAllVolumes")
    pool = find_pool(ctx, params)
    ctx.driver.require_active(pool)
    return api.Volumes(volumes=[pool.volume_reference(v) for v in pool.volumes.values()])


@handlers.answers(api.VOL_LOOKUP_BY_NAME)
def vol_lookup_by_name(ctx: Ctx, params: api.VolName) -> api.Volume:
    """virStorageVolLookupByName."""
    pool = find_pool(ctx, params)
    ctx.driver.require_active(pool)
    volume = pool.volumes.get(params.vol)
    if volume is None:
        raise no_volume(ctx, f"name '{params.vol}'")
    return pool.volume_reference(volume)


@handlers.answers(api.VOL_LOOKUP_BY_KEY)
def vol_lookup_by_key(ctx: Ctx, params: api.VolKey) -> api.Volume:
    """virStorageVolLookupByKey."""
    pool, volume = find_volume(ctx, api.VolRef(key=params.key))
    return pool.volume_reference(volume)


@handlers.answers(api.VOL_LOOKUP_BY_PATH)
def vol_lookup_by_path(ctx: Ctx, params: api.VolPath) -> api.Volume:
    """virStorageVolLookupByPath."""
    for pool in ctx.driver.pools:
        for volume in pool.volumes.values() if pool.active else ():
            if volume_path(volume) == params.path:
                return pool.volume_reference(volume)
    raise no_volume(ctx, f"path '{params.path}'")


@handlers.handles(api.VOL_CREATE_XML)
async def vol_create_xml(ctx: Ctx, params: api.VolXML) -> api.Volume:
    """virStorageVolCreateXML."""
    driver = ctx.driver
    driver.check_flags(params.flags, c.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA, "StorageVolCreateXML")
    pool = await ctx.hold(lambda: find_pool(ctx, params))
    driver.require_active(pool)
    model = parse_volume(params.xml)
    complete_volume(model)
    name = str(model.name)
    if name in pool.volumes:
        raise driver.volume_exists(name)
    async with driver.host.call("vol_create_xml", ctx.request.deadline, driver.error_domain):
        volume = await driver.vol_create_xml(pool, model, params.flags)
    pool.volumes[name] = volume
    driver.keep(ctx.change, pool)
    return pool.volume_reference(volume)


@handlers.handles(api.VOL_DELETE)
async def vol_delete(ctx: Ctx, params: api.VolFlags) -> Nothing:
    """virStorageVolDelete."""
    driver = ctx.driver
    driver.check_flags(params.flags, 0, "StorageVolDelete")
    pool = await ctx.hold(lambda: find_volume(ctx, params)[0])
    volume = find_volume(ctx, params)[1]
    async with driver.host.call("vol_delete", ctx.request.deadline, driver.error_domain):
        await driver.vol_delete(pool, volume, params.flags)
    del pool.volumes[str(volume.name)]
    driver.keep(ctx.change, pool)
    return Nothing()


@handlers.answers(api.VOL_GET_INFO)
def vol_get_info(ctx: Ctx, params: api.VolFlags) -> api.VolInfo:
    """virStorageVolGetInfoFlags."""
    ctx.driver.check_flags(params.flags, c.VIR_STORAGE_VOL_GET_PHYSICAL, "StorageVolGetInfoFlags")
    _, volume = find_volume(ctx, params)
    physical = params.flags & c.VIR_STORAGE_VOL_GET_PHYSICAL
    return api.VolInfo(type=VOLUME_TYPES[volume.type or "file"], capacity=volume.capacity or 0,
                       allocation=(volume.physical if physical else volume.allocation) or 0)


@handlers.answers(api.VOL_GET_XML_DESC)
def vol_get_xml_desc(ctx: Ctx, params: api.VolFlags) -> Document:
    """virStorageVolGetXMLDesc."""
    ctx.driver.check_flags(params.flags, 0, "StorageVolGetXMLDesc")
    return Document(xml=format_volume(find_volume(ctx, params)[1]))


@handlers.answers(api.VOL_GET_PATH)
def vol_get_path(ctx: Ctx, params: api.VolRef) -> api.Path:
    """virStorageVolGetPath."""
    return api.Path(path=volume_path(find_volume(ctx, params)[1]))


# -- after a crash: the driver has just looked which volumes are there ------------------------------------------------


@handlers.reconciles(api.VOL_CREATE_XML)
def reconcile_vol_create_xml(ctx: Ctx, params: api.VolXML, entry: JournalEntry) -> api.Volume | None:
    """Created if it is there now: an image appears under its name only when it is complete."""
    del entry
    pool = find_pool(ctx, params)
    volume = pool.volumes.get(str(parse_volume(params.xml).name))
    return pool.volume_reference(volume) if volume is not None else None


@handlers.reconciles(api.VOL_DELETE)
def reconcile_vol_delete(ctx: Ctx, params: api.VolFlags, entry: JournalEntry) -> Nothing | None:
    """Deleted if it is not there now."""
    del entry
    there = any(v.key == params.key for pool in ctx.driver.pools for v in pool.volumes.values())
    return None if there else Nothing()
