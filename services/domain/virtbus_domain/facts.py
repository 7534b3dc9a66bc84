"""What is known of domains and their hypervisor without asking one: states, sizes, numbers, statistics."""

from __future__ import annotations

from virtbus_domain.handlers import Ctx, find, handlers
from virtbus_domain.lookup import LIST_FLAGS, matching
from virtbus_domain.object import DomainObject
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.api.common import Document, Flag, Number, String
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import NoParams

STATS = (c.VIR_DOMAIN_STATS_STATE | c.VIR_DOMAIN_STATS_CPU_TOTAL | c.VIR_DOMAIN_STATS_BALLOON
         | c.VIR_DOMAIN_STATS_VCPU)  # the groups that are known from memory


@handlers.answers(api.OPEN)
def open_connection(ctx: Ctx, params: NoParams) -> api.OpenResult:
    """virConnectOpen: that this handler runs says that the connection exists."""
    del params
    return api.OpenResult(type=ctx.driver.type_name, version=ctx.driver.version)


@handlers.handles(api.GET_CAPABILITIES)
async def get_capabilities(ctx: Ctx, params: NoParams) -> Document:
    """The hypervisor's part of virConnectGetCapabilities."""
    del params
    return Document(xml=await ctx.driver.capabilities())


@handlers.answers(api.GET_MAX_VCPUS)
def get_node_max_vcpus(ctx: Ctx, params: api.MaxVcpus) -> Number:
    """virConnectGetMaxVcpus."""
    return Number(value=ctx.driver.max_vcpus(params.type))


@handlers.answers(api.GET_INFO)
def get_info(ctx: Ctx, params: api.DomainRef) -> api.DomainInfo:
    """virDomainGetInfo."""
    domain = find(ctx, params)
    facts = domain.facts
    return api.DomainInfo(state=domain.state, max_memory=facts.max_memory, memory=facts.memory, vcpus=facts.vcpus,
                          cpu_time=ctx.driver.cpu_time(domain))


@handlers.answers(api.GET_STATE)
def get_state(ctx: Ctx, params: api.DomainFlags) -> api.DomainState:
    """virDomainGetState."""
    ctx.driver.require_flags("DomainGetState", params.flags)
    domain = find(ctx, params)
    return api.DomainState(state=domain.state, reason=domain.reason)


@handlers.answers(api.IS_ACTIVE)
def is_active(ctx: Ctx, params: api.DomainRef) -> Flag:
    """virDomainIsActive."""
    return Flag(value=find(ctx, params).active)


@handlers.answers(api.IS_PERSISTENT)
def is_persistent(ctx: Ctx, params: api.DomainRef) -> Flag:
    """virDomainIsPersistent."""
    return Flag(value=find(ctx, params).persistent)


@handlers.answers(api.IS_UPDATED)
def is_updated(ctx: Ctx, params: api.DomainRef) -> Flag:
    """virDomainIsUpdated."""
    return Flag(value=find(ctx, params).updated)


@handlers.answers(api.GET_OS_TYPE)
def get_os_type(ctx: Ctx, params: api.DomainRef) -> String:
    """virDomainGetOSType."""
    return String(value=find(ctx, params).facts.os_type)


@handlers.answers(api.GET_MAX_MEMORY)
def get_max_memory(ctx: Ctx, params: api.DomainRef) -> Number:
    """virDomainGetMaxMemory, KiB."""
    return Number(value=find(ctx, params).facts.max_memory)


@handlers.answers(api.GET_VCPUS_FLAGS)
def get_vcpus_flags(ctx: Ctx, params: api.VcpusFlags) -> Number:
    """virDomainGetVcpusFlags: of the running domain, or of its definition."""
    flags = params.flags
    ctx.driver.require_flags("DomainGetVcpusFlags", flags)
    domain = find(ctx, params)
    if flags & c.VIR_DOMAIN_AFFECT_LIVE and not domain.active:
        raise ctx.driver.invalid("domain is not running", c.VIR_FROM_DOMAIN)
    if flags & c.VIR_DOMAIN_AFFECT_CONFIG and not domain.persistent:
        raise ctx.driver.invalid("transient domains do not have any persistent config", c.VIR_FROM_DOMAIN)
    facts = domain.defined if flags & c.VIR_DOMAIN_AFFECT_CONFIG else domain.facts
    return Number(value=facts.max_vcpus if flags & c.VIR_DOMAIN_VCPU_MAXIMUM else facts.vcpus)


@handlers.answers(api.GET_ALL_STATS)
def get_all_stats(ctx: Ctx, params: api.StatsRequest) -> api.AllStats:
    """virConnectGetAllDomainStats and virDomainListGetStats."""
    enforce = params.flags & c.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS
    flags = params.flags & ~c.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS
    ctx.driver.check_flags(flags, LIST_FLAGS, "ConnectGetAllDomainStats")
    if enforce and params.stats & ~STATS:
        raise LibvirtError(c.VIR_ERR_ARGUMENT_UNSUPPORTED, f"Stats types bits 0x{params.stats & ~STATS:x} are not "
                           "supported by this daemon", domain=ctx.driver.error_domain)
    wanted = set(params.uuids)
    groups = params.stats or STATS
    return api.AllStats.model_construct(stats=[
        api.DomainStats.model_construct(domain=d.reference, params=_stats(ctx, d, groups))
        for d in matching(ctx, flags) if not wanted or d.uuid in wanted])


def _stats(ctx: Ctx, domain: DomainObject, groups: int) -> dict[str, int | str | bool | float]:
    """libvirt's fields of one domain. What is not known is left out, never made up."""
    stats: dict[str, int | str | bool | float] = {}
    facts = domain.facts
    if groups & c.VIR_DOMAIN_STATS_STATE:
        stats["state.state"], stats["state.reason"] = domain.state, domain.reason
    if groups & c.VIR_DOMAIN_STATS_CPU_TOTAL and domain.active:
        stats["cpu.time"] = ctx.driver.cpu_time(domain)
    if groups & c.VIR_DOMAIN_STATS_BALLOON:
        if domain.active:
            stats["balloon.current"] = facts.memory
        stats["balloon.maximum"] = facts.max_memory
    if groups & c.VIR_DOMAIN_STATS_VCPU:
        stats["vcpu.current"], stats["vcpu.maximum"] = facts.vcpus, facts.max_vcpus
    return stats
