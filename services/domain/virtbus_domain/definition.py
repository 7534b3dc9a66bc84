"""Documents of domains: define, undefine, XML, autostart.

A definition changes nothing but the store, and the store writes it together with the end of its journal entry: after
a crash it is there with its outcome, or not there at all.
"""

from __future__ import annotations

import asyncio

from virtbus_domain.handlers import Ctx, find, handlers
from virtbus_domain.moves import emit
from virtbus_domain.object import KIND, DomainObject, identity
from virtbus_domain.xml import format_domain
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.validate import validate
from virtbus_shared import constants as c
from virtbus_shared.api import domain as api
from virtbus_shared.api.common import Document, Flag, String
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import Nothing


async def read(ctx: Ctx, xml: str, *, check: bool) -> Domain:
    """A client's document, completed by the driver; with ``check`` only if libvirt's schema allows it."""
    if check:
        await asyncio.to_thread(validate, xml, "domain")
    return await ctx.driver.read(xml)


def take(ctx: Ctx, model: Domain) -> DomainObject:
    """The domain that a document is about, taken in if it is new.

    Name and UUID must belong together: refuses a name that has another UUID, and a UUID that has another name.
    """
    domains = ctx.driver.domains
    name, uuid = identity(model)
    by_uuid, by_name = domains.by_uuid(uuid), domains.by_name(name)
    if by_uuid is not None and by_uuid.name != name:
        raise LibvirtError(c.VIR_ERR_OPERATION_FAILED,
                           f"domain '{by_uuid.name}' is already defined with uuid {uuid}", domain=c.VIR_FROM_DOMAIN)
    if by_name is not None and by_name.uuid != uuid:
        raise LibvirtError(c.VIR_ERR_OPERATION_FAILED,
                           f"domain '{name}' already exists with uuid {by_name.uuid}", domain=c.VIR_FROM_DOMAIN)
    if by_uuid is not None:
        return by_uuid
    domain = DomainObject(name, uuid, ctx.driver.facts(model))
    domains.add(domain)
    ctx.change.undo(lambda: domains.remove(domain))
    return domain


@handlers.handles(api.DEFINE_XML)
async def define_xml(ctx: Ctx, params: api.DomainXML) -> api.Domain:
    """virDomainDefineXMLFlags: a new definition, or a new version of one; a running domain keeps running as it is."""
    driver = ctx.driver
    driver.require_flags("DomainDefineXMLFlags", params.flags)
    model = await read(ctx, params.xml, check=bool(params.flags & c.VIR_DOMAIN_DEFINE_VALIDATE))
    domain = await ctx.hold(lambda: take(ctx, model))
    _define(ctx, domain, model)
    return domain.reference


def _define(ctx: Ctx, domain: DomainObject, model: Domain) -> None:
    before = domain.inactive, domain.facts, domain.defined, domain.updated

    def undo() -> None:
        domain.inactive, domain.facts, domain.defined, domain.updated = before

    ctx.change.undo(undo)
    detail = c.VIR_DOMAIN_EVENT_DEFINED_UPDATED if domain.persistent else c.VIR_DOMAIN_EVENT_DEFINED_ADDED
    domain.inactive = format_domain(model, live=False, secure=True)
    domain.defined = ctx.driver.facts(model)
    if domain.active:
        domain.updated = True
    else:
        domain.facts = domain.defined
    emit(ctx.change, domain, c.VIR_DOMAIN_EVENT_DEFINED, detail)
    ctx.change.put(KIND, domain.uuid, domain.record())


@handlers.handles(api.UNDEFINE)
async def undefine(ctx: Ctx, params: api.DomainFlags) -> Nothing:
    """virDomainUndefineFlags: a running domain goes on as a transient one."""
    driver = ctx.driver
    driver.require_flags("DomainUndefineFlags", params.flags)
    domain = await ctx.hold(lambda: find(ctx, params))
    driver.check(api.UNDEFINE, domain)
    before = domain.inactive, domain.autostart

    def undo() -> None:
        domain.inactive, domain.autostart = before

    ctx.change.undo(undo)
    domain.inactive, domain.autostart = None, False
    emit(ctx.change, domain, c.VIR_DOMAIN_EVENT_UNDEFINED, c.VIR_DOMAIN_EVENT_UNDEFINED_REMOVED)
    if domain.active:
        ctx.change.put(KIND, domain.uuid, domain.record())
    else:
        driver.domains.remove(domain)
        ctx.change.undo(lambda: driver.domains.add(domain))
        ctx.change.delete(KIND, domain.uuid)
    return Nothing()


@handlers.answers(api.GET_XML_DESC)
def get_xml_desc(ctx: Ctx, params: api.DomainFlags) -> Document:
    """virDomainGetXMLDesc."""
    flags = params.flags
    domain = find(ctx, params)
    secure = bool(flags & c.VIR_DOMAIN_XML_SECURE)
    if secure and ctx.request.read_only:
        raise LibvirtError(c.VIR_ERR_OPERATION_DENIED, "virDomainGetXMLDesc with secure flag", domain=c.VIR_FROM_DOMAIN)
    ctx.driver.require_flags("DomainGetXMLDesc", flags)
    live = domain.live is not None and not (flags & c.VIR_DOMAIN_XML_INACTIVE and domain.inactive is not None)
    text = domain.live if live else domain.inactive
    assert text is not None  # a domain has one or the other
    migratable = bool(flags & c.VIR_DOMAIN_XML_MIGRATABLE)
    live = live and not migratable and not flags & c.VIR_DOMAIN_XML_INACTIVE
    return Document(xml=ctx.driver.describe(text, live=live, secure=secure, migratable=migratable,
                                            domain_id=domain.id))


def _refuse_read_only(ctx: Ctx, function: str) -> None:
    """These calls look at the node on the caller's behalf, and libvirt keeps them from those who may only read."""
    if ctx.request.read_only:
        raise LibvirtError(c.VIR_ERR_OPERATION_DENIED, f"read only access prevents {function}",
                           domain=c.VIR_FROM_NONE)


@handlers.handles(api.XML_TO_NATIVE)
async def xml_to_native(ctx: Ctx, params: api.NativeText) -> String:
    """virConnectDomainXMLToNative."""
    _refuse_read_only(ctx, "virConnectDomainXMLToNative")
    return String(value=await ctx.driver.domain_xml_to_native(params.format, params.config, params.flags))


@handlers.handles(api.XML_FROM_NATIVE)
async def xml_from_native(ctx: Ctx, params: api.NativeText) -> Document:
    """virConnectDomainXMLFromNative."""
    _refuse_read_only(ctx, "virConnectDomainXMLFromNative")
    return Document(xml=await ctx.driver.domain_xml_from_native(params.format, params.config, params.flags))


@handlers.answers(api.GET_AUTOSTART)
def get_autostart(ctx: Ctx, params: api.DomainRef) -> Flag:
    """virDomainGetAutostart."""
    return Flag(value=find(ctx, params).autostart)


@handlers.handles(api.SET_AUTOSTART)
async def set_autostart(ctx: Ctx, params: api.SetAutostart) -> Nothing:
    """virDomainSetAutostart."""
    domain = await ctx.hold(lambda: find(ctx, params))
    ctx.driver.check(api.SET_AUTOSTART, domain)
    before = domain.autostart
    ctx.change.undo(lambda: setattr(domain, "autostart", before))
    domain.autostart = params.autostart
    ctx.change.put(KIND, domain.uuid, domain.record())
    return Nothing()
