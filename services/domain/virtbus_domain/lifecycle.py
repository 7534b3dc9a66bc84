"""From start to stop: what makes a domain run, pause and end.

Each handler takes the domain's turn, lets the driver refuse what the state forbids, and calls the driver's method of
the row's name within the request's deadline. After a crash of the service, ``reconciles`` looks at the domain itself
to tell whether a request that had begun took effect.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from virtbus_domain.definition import read, take
from virtbus_domain.handlers import Ctx, find, handlers
from virtbus_domain.moves import Move, apply
from virtbus_domain.object import DomainObject
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import AnyProcedure, Nothing
from virtbus_shared.service.store import JournalEntry


@handlers.handles(api.CREATE)
async def create(ctx: Ctx, params: api.DomainFlags) -> api.Domain:
    """virDomainCreateWithFlags."""
    driver = ctx.driver
    driver.require_flags("DomainCreateWithFlags", params.flags)
    domain = await ctx.hold(lambda: find(ctx, params))
    driver.check(api.CREATE, domain)
    assert domain.inactive is not None  # an inactive domain is defined, or it is gone
    await _start(ctx, domain, await driver.read(domain.inactive), params.flags)
    return domain.reference


@handlers.handles(api.CREATE_XML)
async def create_xml(ctx: Ctx, params: api.DomainXML) -> api.Domain:
    """virDomainCreateXML: a transient domain, or a defined one that runs this once as the document says."""
    driver = ctx.driver
    driver.require_flags("DomainCreateXML", params.flags)
    model = await read(ctx, params.xml, check=bool(params.flags & c.VIR_DOMAIN_START_VALIDATE))
    domain = await ctx.hold(lambda: take(ctx, model))
    if domain.active:
        raise driver.invalid(f"domain '{domain.name}' is already active", c.VIR_FROM_DOMAIN)
    await _start(ctx, domain, model, params.flags)
    return domain.reference


async def _start(ctx: Ctx, domain: DomainObject, model: Domain, flags: int) -> None:
    """Give the domain a number and start it; when that fails it is as it was."""
    driver = ctx.driver
    before = domain.facts
    domain.id = model.id = driver.next_id()
    domain.facts = driver.facts(model)
    domain.live = format_domain(model, live=True, secure=True)
    try:
        async with driver.host.call("domain_create", ctx.request.deadline, driver.error_domain):
            move = await driver.domain_create(domain, model, flags)
    except BaseException:
        domain.id, domain.live, domain.facts = -1, None, before
        raise
    domain.started = time.time()
    apply(ctx.change, driver.domains, domain, move)


async def _operate(ctx: Ctx, row: AnyProcedure, domain: DomainObject,
                   effect: Callable[[], Awaitable[Move | None]]) -> Nothing:
    """One call to the driver and what came of it. The caller holds the domain's turn and has checked the state."""
    async with ctx.driver.host.call(row.name.replace(".", "_"), ctx.request.deadline, ctx.driver.error_domain):
        move = await effect()
    if move is not None:
        apply(ctx.change, ctx.driver.domains, domain, move)
    return Nothing()


@handlers.handles(api.SHUTDOWN)
async def shutdown(ctx: Ctx, params: api.DomainFlags) -> Nothing:
    """virDomainShutdownFlags."""
    ctx.driver.require_flags("DomainShutdownFlags", params.flags)
    domain = await ctx.hold(lambda: find(ctx, params))
    ctx.driver.check(api.SHUTDOWN, domain)
    return await _operate(ctx, api.SHUTDOWN, domain, lambda: ctx.driver.domain_shutdown(domain, params.flags))


@handlers.handles(api.REBOOT)
async def reboot(ctx: Ctx, params: api.DomainFlags) -> Nothing:
    """virDomainReboot."""
    ctx.driver.require_flags("DomainReboot", params.flags)
    domain = await ctx.hold(lambda: find(ctx, params))
    ctx.driver.check(api.REBOOT, domain)
    return await _operate(ctx, api.REBOOT, domain, lambda: ctx.driver.domain_reboot(domain, params.flags))


@handlers.handles(api.RESET)
async def reset(ctx: Ctx, params: api.DomainFlags) -> Nothing:
    """virDomainReset."""
    ctx.driver.require_flags("DomainReset", params.flags)
    domain = await ctx.hold(lambda: find(ctx, params))
    ctx.driver.check(api.RESET, domain)
    return await _operate(ctx, api.RESET, domain, lambda: ctx.driver.domain_reset(domain, params.flags))


@handlers.handles(api.DESTROY)
async def destroy(ctx: Ctx, params: api.DomainFlags) -> Nothing:
    """virDomainDestroyFlags."""
    ctx.driver.require_flags("DomainDestroyFlags", params.flags)
    if not params.flags & c.VIR_DOMAIN_DESTROY_GRACEFUL:
        ctx.driver.interrupt(find(ctx, params))
    domain = await ctx.hold(lambda: find(ctx, params))
    ctx.driver.check(api.DESTROY, domain)
    return await _operate(ctx, api.DESTROY, domain, lambda: ctx.driver.domain_destroy(domain, params.flags))


@handlers.handles(api.SUSPEND)
async def suspend(ctx: Ctx, params: api.DomainRef) -> Nothing:
    """virDomainSuspend."""
    domain = await ctx.hold(lambda: find(ctx, params))
    ctx.driver.check(api.SUSPEND, domain)
    return await _operate(ctx, api.SUSPEND, domain, lambda: ctx.driver.domain_suspend(domain))


@handlers.handles(api.RESUME)
async def resume(ctx: Ctx, params: api.DomainRef) -> Nothing:
    """virDomainResume."""
    domain = await ctx.hold(lambda: find(ctx, params))
    ctx.driver.check(api.RESUME, domain)
    return await _operate(ctx, api.RESUME, domain, lambda: ctx.driver.domain_resume(domain))


# -- after a crash ---------------------------------------------------------------------------------------------------


@handlers.reconciles(api.CREATE)
def reconcile_create(ctx: Ctx, params: api.DomainFlags, entry: JournalEntry) -> api.Domain | None:
    """Started if it runs now, since the request came: the driver has just looked."""
    domain = find(ctx, params)
    return domain.reference if domain.active and domain.started >= entry.received else None


@handlers.reconciles(api.CREATE_XML)
def reconcile_create_xml(ctx: Ctx, params: api.DomainXML, entry: JournalEntry) -> api.Domain | None:
    """Started if the domain of the document runs now, since the request came.

    A document without a UUID names its domain by its name.
    """
    domain = ctx.driver.domains.by_name(str(parse_domain(params.xml).name))
    started = domain is not None and domain.active and domain.started >= entry.received
    return domain.reference if domain is not None and started else None


@handlers.reconciles(api.DESTROY)
def reconcile_destroy(ctx: Ctx, params: api.DomainFlags, entry: JournalEntry) -> Nothing | None:
    """Destroyed if it does not run now, and ended since the request came."""
    domain = ctx.driver.domains.by_uuid(params.uuid)
    return Nothing() if domain is None or (not domain.active and domain.changed >= entry.received) else None


@handlers.reconciles(api.SUSPEND)
def reconcile_suspend(ctx: Ctx, params: api.DomainRef, entry: JournalEntry) -> Nothing | None:
    """Suspended if it is paused now."""
    del entry
    return Nothing() if find(ctx, params).state == c.VIR_DOMAIN_PAUSED else None


@handlers.reconciles(api.RESUME)
def reconcile_resume(ctx: Ctx, params: api.DomainRef, entry: JournalEntry) -> Nothing | None:
    """Resumed if it runs now."""
    del entry
    return Nothing() if find(ctx, params).state == c.VIR_DOMAIN_RUNNING else None


def _cannot_tell(ctx: Ctx, params: api.DomainRef, entry: JournalEntry) -> Nothing | None:
    """A request to the guest leaves no trace on the host: it is not made a second time."""
    del params
    raise LibvirtError(c.VIR_ERR_OPERATION_ABORTED, f"the service stopped while {entry.procedure} ran; whether the "
                       "guest got it is unknown", domain=ctx.driver.error_domain)


for _row in (api.SHUTDOWN, api.REBOOT, api.RESET):
    handlers.reconciles(_row)(_cannot_tell)
