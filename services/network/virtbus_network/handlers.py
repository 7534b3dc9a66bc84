"""The handlers of the network service: finding, defining, starting and stopping networks."""

from __future__ import annotations

import time

from virtbus_network.driver import NetworkDriver, emit
from virtbus_network.object import KIND, NetworkObject, bridge_name
from virtbus_network.xml import Network, format_network
from virtbus_shared import constants as c
from virtbus_shared.api import network as api
from virtbus_shared.api.common import Document, Flag, ListFlags, String
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import Nothing
from virtbus_shared.service.handlers import Context, Handlers
from virtbus_shared.service.store import JournalEntry

handlers: Handlers[NetworkDriver] = Handlers("network")

Ctx = Context[NetworkDriver]

_GROUPS = (
    ((c.VIR_CONNECT_LIST_NETWORKS_ACTIVE, lambda n: n.active),
     (c.VIR_CONNECT_LIST_NETWORKS_INACTIVE, lambda n: not n.active)),
    ((c.VIR_CONNECT_LIST_NETWORKS_PERSISTENT, lambda n: n.persistent),
     (c.VIR_CONNECT_LIST_NETWORKS_TRANSIENT, lambda n: not n.persistent)),
    ((c.VIR_CONNECT_LIST_NETWORKS_AUTOSTART, lambda n: n.autostart),
     (c.VIR_CONNECT_LIST_NETWORKS_NO_AUTOSTART, lambda n: not n.autostart)),
)
LIST_FLAGS = sum(bit for group in _GROUPS for bit, _ in group)


def find(ctx: Ctx, ref: api.NetworkRef) -> NetworkObject:
    """The network of a reference. Raises ``VIR_ERR_NO_NETWORK``."""
    network = ctx.driver.networks.by_uuid(ref.uuid)
    if network is None:
        raise _missing(ctx, ctx.driver.missing(ctx.request.procedure, ref))
    return network


def _missing(ctx: Ctx, which: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_NO_NETWORK, f"no network with matching {which}", domain=ctx.driver.error_domain)


@handlers.answers(api.LIST_ALL)
def list_all(ctx: Ctx, params: ListFlags) -> api.Networks:
    """virConnectListAllNetworks, and the calls that count or list a part of it."""
    ctx.driver.check_flags(params.flags, LIST_FLAGS, "ConnectListAllNetworks")
    groups = [[test for bit, test in group if params.flags & bit] for group in _GROUPS]
    return api.Networks(networks=[n.reference for n in ctx.driver.networks
                                  if all(any(test(n) for test in group) for group in groups if group)])


@handlers.answers(api.LOOKUP_BY_NAME)
def lookup_by_name(ctx: Ctx, params: api.NetworkName) -> api.Network:
    """virNetworkLookupByName."""
    network = ctx.driver.networks.by_name(params.name)
    if network is None:
        raise _missing(ctx, f"name '{params.name}'")
    return network.reference


@handlers.answers(api.LOOKUP_BY_UUID)
def lookup_by_uuid(ctx: Ctx, params: api.NetworkRef) -> api.Network:
    """virNetworkLookupByUUID."""
    return find(ctx, params).reference


def _claim(ctx: Ctx, model: Network) -> NetworkObject | None:
    """The network that a document is about, None for a new one; name and UUID must belong together."""
    name, uuid = str(model.name), str(model.uuid)
    by_uuid, by_name = ctx.driver.networks.by_uuid(uuid), ctx.driver.networks.by_name(name)
    if by_uuid is not None and by_uuid.name != name:
        raise LibvirtError(c.VIR_ERR_OPERATION_FAILED,
                           f"network '{by_uuid.name}' is already defined with uuid {uuid}", domain=c.VIR_FROM_NETWORK)
    if by_name is not None and by_name.uuid != uuid:
        raise LibvirtError(c.VIR_ERR_OPERATION_FAILED,
                           f"network '{name}' already exists with uuid {by_name.uuid}", domain=c.VIR_FROM_NETWORK)
    return by_uuid


def _take(ctx: Ctx, model: Network) -> NetworkObject:
    """The network that a document is about, taken in if it is new."""
    network = _claim(ctx, model)
    if network is None:
        network = NetworkObject(str(model.name), str(model.uuid))
        added = network
        ctx.driver.networks.add(added)
        ctx.change.undo(lambda: ctx.driver.networks.remove(added))
    return network


@handlers.handles(api.DEFINE_XML)
async def define_xml(ctx: Ctx, params: api.NetworkXML) -> api.Network:
    """virNetworkDefineXMLFlags."""
    ctx.driver.check_flags(params.flags, 0, "NetworkDefineXMLFlags")
    model = ctx.driver.parse(params.xml)
    network = await ctx.hold(lambda: _take(ctx, model))
    ctx.driver.complete(model)
    before = network.inactive, network.bridge

    def undo() -> None:
        network.inactive, network.bridge = before

    ctx.change.undo(undo)
    network.inactive = format_network(model)
    if not network.active:
        network.bridge = bridge_name(model)
    emit(ctx.change, network, c.VIR_NETWORK_EVENT_DEFINED)
    ctx.change.put(KIND, network.uuid, network.record())
    return network.reference


@handlers.handles(api.UNDEFINE)
async def undefine(ctx: Ctx, params: api.NetworkRef) -> Nothing:
    """virNetworkUndefine: a running network goes on as a transient one where the driver allows that."""
    network = await ctx.hold(lambda: find(ctx, params))
    ctx.driver.check_undefine(network)
    before = network.inactive, network.autostart

    def undo() -> None:
        network.inactive, network.autostart = before

    ctx.change.undo(undo)
    network.inactive, network.autostart = None, False
    emit(ctx.change, network, c.VIR_NETWORK_EVENT_UNDEFINED)
    _keep_or_forget(ctx, network)
    return Nothing()


def _keep_or_forget(ctx: Ctx, network: NetworkObject) -> None:
    """A network that neither runs nor is defined is gone."""
    if network.active or network.persistent:
        ctx.change.put(KIND, network.uuid, network.record())
    else:
        ctx.driver.networks.remove(network)
        ctx.change.undo(lambda: ctx.driver.networks.add(network))
        ctx.change.delete(KIND, network.uuid)


@handlers.handles(api.CREATE)
async def create(ctx: Ctx, params: api.NetworkRef) -> Nothing:
    """virNetworkCreate."""
    network = await ctx.hold(lambda: find(ctx, params))
    ctx.driver.check_create(network)
    assert network.inactive is not None  # an inactive network is defined, or it is gone
    await _start(ctx, network, ctx.driver.parse(network.inactive))
    return Nothing()


@handlers.handles(api.CREATE_XML)
async def create_xml(ctx: Ctx, params: api.NetworkXML) -> api.Network:
    """virNetworkCreateXMLFlags: a transient network."""
    ctx.driver.check_flags(params.flags, 0, "NetworkCreateXMLFlags")
    model = ctx.driver.parse(params.xml)
    network = await ctx.hold(lambda: _take(ctx, model))
    if network.active:
        raise LibvirtError(c.VIR_ERR_OPERATION_INVALID, f"network is already active as '{network.name}'",
                           domain=c.VIR_FROM_NETWORK)
    await _start(ctx, network, model)
    return network.reference


async def _start(ctx: Ctx, network: NetworkObject, model: Network) -> None:
    driver = ctx.driver
    driver.complete(model)
    async with driver.host.call("network_create", ctx.request.deadline, driver.error_domain):
        await driver.network_create(network, model)
    network.live, network.bridge, network.started = format_network(model), bridge_name(model), time.time()
    emit(ctx.change, network, c.VIR_NETWORK_EVENT_STARTED)
    ctx.change.put(KIND, network.uuid, network.record())
    ctx.change.settle()


@handlers.handles(api.DESTROY)
async def destroy(ctx: Ctx, params: api.NetworkRef) -> Nothing:
    """virNetworkDestroy."""
    driver = ctx.driver
    network = await ctx.hold(lambda: find(ctx, params))
    driver.check_destroy(network)
    async with driver.host.call("network_destroy", ctx.request.deadline, driver.error_domain):
        await driver.network_destroy(network)
    network.live, network.started = None, 0.0
    emit(ctx.change, network, c.VIR_NETWORK_EVENT_STOPPED)
    _keep_or_forget(ctx, network)
    ctx.change.settle()
    return Nothing()


@handlers.answers(api.GET_XML_DESC)
def get_xml_desc(ctx: Ctx, params: api.NetworkFlags) -> Document:
    """virNetworkGetXMLDesc."""
    ctx.driver.check_flags(params.flags, ctx.driver.xml_flags, "NetworkGetXMLDesc")
    network = find(ctx, params)
    text = network.inactive if params.flags & c.VIR_NETWORK_XML_INACTIVE else network.live
    return Document(xml=text or network.inactive or network.live or "")


@handlers.answers(api.GET_BRIDGE_NAME)
def get_bridge_name(ctx: Ctx, params: api.NetworkRef) -> String:
    """virNetworkGetBridgeName."""
    network = find(ctx, params)
    if not network.bridge:
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"network '{network.name}' does not have a bridge name.",
                           domain=ctx.driver.error_domain)
    return String(value=network.bridge)


@handlers.answers(api.GET_AUTOSTART)
def get_autostart(ctx: Ctx, params: api.NetworkRef) -> Flag:
    """virNetworkGetAutostart."""
    return Flag(value=find(ctx, params).autostart)


@handlers.handles(api.SET_AUTOSTART)
async def set_autostart(ctx: Ctx, params: api.SetAutostart) -> Nothing:
    """virNetworkSetAutostart."""
    network = await ctx.hold(lambda: find(ctx, params))
    ctx.driver.check_autostart(network)
    before = network.autostart
    ctx.change.undo(lambda: setattr(network, "autostart", before))
    network.autostart = params.autostart
    ctx.change.put(KIND, network.uuid, network.record())
    return Nothing()


@handlers.answers(api.IS_ACTIVE)
def is_active(ctx: Ctx, params: api.NetworkRef) -> Flag:
    """virNetworkIsActive."""
    return Flag(value=find(ctx, params).active)


@handlers.answers(api.IS_PERSISTENT)
def is_persistent(ctx: Ctx, params: api.NetworkRef) -> Flag:
    """virNetworkIsPersistent."""
    return Flag(value=find(ctx, params).persistent)


# -- after a crash: the driver has just looked which networks run ------------------------------------------------------


@handlers.reconciles(api.CREATE)
def reconcile_create(ctx: Ctx, params: api.NetworkRef, entry: JournalEntry) -> Nothing | None:
    """Started if it runs now."""
    del entry
    return Nothing() if find(ctx, params).active else None


@handlers.reconciles(api.CREATE_XML)
def reconcile_create_xml(ctx: Ctx, params: api.NetworkXML, entry: JournalEntry) -> api.Network | None:
    """Started if the network of the document runs now."""
    del entry
    network = ctx.driver.networks.by_name(str(ctx.driver.parse(params.xml).name))
    return network.reference if network is not None and network.active else None


@handlers.reconciles(api.DESTROY)
def reconcile_destroy(ctx: Ctx, params: api.NetworkRef, entry: JournalEntry) -> Nothing | None:
    """Stopped if it does not run now."""
    del entry
    network = ctx.driver.networks.by_uuid(params.uuid)
    return Nothing() if network is None or not network.active else None
