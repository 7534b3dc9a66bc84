"""Finding domains: lists with libvirt's filters, and look-ups by name, UUID and number. All from memory."""

from __future__ import annotations

from collections.abc import Callable

from virtbus_domain.handlers import Ctx, handlers
from virtbus_domain.object import DomainObject
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.api.common import ListFlags
from virtbus_shared.errors import LibvirtError

Test = Callable[[DomainObject], bool]

# libvirt's filters come in groups: within a group the bits are alternatives, groups are combined.
_GROUPS: tuple[tuple[tuple[int, Test], ...], ...] = (
    ((c.VIR_CONNECT_LIST_DOMAINS_ACTIVE, lambda d: d.active),
     (c.VIR_CONNECT_LIST_DOMAINS_INACTIVE, lambda d: not d.active)),
    ((c.VIR_CONNECT_LIST_DOMAINS_PERSISTENT, lambda d: d.persistent),
     (c.VIR_CONNECT_LIST_DOMAINS_TRANSIENT, lambda d: not d.persistent)),
    ((c.VIR_CONNECT_LIST_DOMAINS_RUNNING, lambda d: d.state == c.VIR_DOMAIN_RUNNING),
     (c.VIR_CONNECT_LIST_DOMAINS_PAUSED, lambda d: d.state == c.VIR_DOMAIN_PAUSED),
     (c.VIR_CONNECT_LIST_DOMAINS_SHUTOFF, lambda d: d.state == c.VIR_DOMAIN_SHUTOFF),
     (c.VIR_CONNECT_LIST_DOMAINS_OTHER, lambda d: d.state not in (
         c.VIR_DOMAIN_RUNNING, c.VIR_DOMAIN_PAUSED, c.VIR_DOMAIN_SHUTOFF))),
    ((c.VIR_CONNECT_LIST_DOMAINS_AUTOSTART, lambda d: d.autostart),
     (c.VIR_CONNECT_LIST_DOMAINS_NO_AUTOSTART, lambda d: not d.autostart)),
    # No driver here keeps managed-save images, snapshots or checkpoints: every domain is without.
    ((c.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE, lambda _: False),
     (c.VIR_CONNECT_LIST_DOMAINS_NO_MANAGEDSAVE, lambda _: True)),
    ((c.VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT, lambda _: False),
     (c.VIR_CONNECT_LIST_DOMAINS_NO_SNAPSHOT, lambda _: True)),
    ((c.VIR_CONNECT_LIST_DOMAINS_HAS_CHECKPOINT, lambda _: False),
     (c.VIR_CONNECT_LIST_DOMAINS_NO_CHECKPOINT, lambda _: True)),
)
LIST_FLAGS = sum(bit for group in _GROUPS for bit, _ in group)


def matching(ctx: Ctx, flags: int) -> list[DomainObject]:
    """The domains that pass libvirt's filters."""
    groups = [[test for bit, test in group if flags & bit] for group in _GROUPS]
    tests = [alternatives for alternatives in groups if alternatives]
    return [d for d in ctx.driver.domains if all(any(test(d) for test in group) for group in tests)]


@handlers.answers(api.LIST_ALL)
def list_all(ctx: Ctx, params: ListFlags) -> api.Domains:
    """virConnectListAllDomains, and the calls that count or list a part of it."""
    ctx.driver.check_flags(params.flags, LIST_FLAGS, "ConnectListAllDomains")
    return api.Domains(domains=[d.reference for d in matching(ctx, params.flags)])


def _found(ctx: Ctx, domain: DomainObject | None, detail: str) -> api.Domain:
    if domain is None:
        raise LibvirtError(c.VIR_ERR_NO_DOMAIN, ctx.driver.lookup_detail(detail), domain=ctx.driver.error_domain)
    return domain.reference


@handlers.answers(api.LOOKUP_BY_NAME)
def lookup_by_name(ctx: Ctx, params: api.DomainName) -> api.Domain:
    """virDomainLookupByName."""
    return _found(ctx, ctx.driver.domains.by_name(params.name), f"no domain with matching name '{params.name}'")


@handlers.answers(api.LOOKUP_BY_UUID)
def lookup_by_uuid(ctx: Ctx, params: api.DomainRef) -> api.Domain:
    """virDomainLookupByUUID."""
    return _found(ctx, ctx.driver.domains.by_uuid(params.uuid), f"no domain with matching uuid '{params.uuid}'")


@handlers.answers(api.LOOKUP_BY_ID)
def lookup_by_id(ctx: Ctx, params: api.DomainID) -> api.Domain:
    """virDomainLookupByID."""
    found = next((d for d in ctx.driver.domains if d.active and d.id == params.id), None)
    return _found(ctx, found, f"no domain with matching id {params.id}")
