"""Registering for events, and calling back: what a connection knows of its registrations, in libvirt's shapes.

Events come from a service's ``EventStream``, which starts with the first registration for that service and ends with
the last, and are called back in the registered event loop. Only events of the connection's own driver and path
count. Beyond libvirt, ``registerGapCallback`` tells when events are lost for good.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import index
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from virtbus.channel import Channel
from virtbus.domain import virDomain
from virtbus.errors import api_call, libvirtError, virResetLastError
from virtbus.eventloop import EventQueue
from virtbus.handle import Caller, Handle
from virtbus.network import virNetwork
from virtbus.nodedev import virNodeDevice
from virtbus.storage import virStoragePool
from virtbus.stream import EventStream
from virtbus_shared import constants as c
from virtbus_shared.api import TABLE, domain, network, nodedev, storage
from virtbus_shared.envelope import EventMessage
from virtbus_shared.errors import invalid_arg
from virtbus_shared.procedure import Result

if TYPE_CHECKING:
    from virtbus.connect import virConnect

T = TypeVar("T")

log = logging.getLogger("virtbus.events")

Callback = Callable[..., object]
# (service, epoch, last number seen, first number still known) follow the connection and precede the opaque.
GapCallback = Callable[["virConnect", str, str, int, int, object], object]
DomainCallback = Callable[["virConnect", virDomain, int, int, object], object]

# Service -> numbers that a client may register for; those that no row of the table emits are accepted and silent.
EVENT_IDS = {
    "domain": range(max(v for n, v in vars(c).items() if n.startswith("VIR_DOMAIN_EVENT_ID_")) + 1),
    "network": range(c.VIR_NETWORK_EVENT_ID_LIFECYCLE + 1),
    "storage": range(c.VIR_STORAGE_POOL_EVENT_ID_REFRESH + 1),
    "nodedev": range(c.VIR_NODE_DEVICE_EVENT_ID_UPDATE + 1),
}


@dataclass(eq=False)
class Registration:
    """One callback."""

    service: str
    event: int
    key: str | None  # UUID or name of the one object that it is about; None for all
    callback: Callback
    opaque: object
    active: bool = True


class Events(Caller):
    """The registrations of one connection. Lives while there is one."""

    def __init__(self, conn: virConnect, channel: Channel) -> None:
        self._conn = conn
        self._channel = channel
        self._queue = EventQueue()
        self._registrations: dict[int, Registration] = {}
        self._streams: dict[str, EventStream] = {}
        self._gap_callbacks: dict[int, tuple[GapCallback, object]] = {}

    def _connection(self) -> virConnect:
        return self._conn

    @property
    def idle(self) -> bool:
        """Nobody is registered."""
        return not self._registrations and not self._gap_callbacks

    def add(self, number: int, registration: Registration) -> None:
        """Deliver from now on. When this returns, no later event is missed."""
        service = registration.service
        emitted = any(row.service == service and row.id == registration.event for row in TABLE.events.values())
        self._registrations[number] = registration
        if emitted and service not in self._streams:
            try:
                self._streams[service] = EventStream(
                    self._open_channel("virConnectDomainEventRegisterAny"), service, self._deliver,
                    partial(self._deliver_gap, service))
            except BaseException:
                del self._registrations[number]
                raise

    def remove(self, number: int, service: str) -> None:
        """Call back no more, not even for what is queued."""
        found = self._registrations.get(number)
        if found is None or found.service != service:
            raise invalid_arg(f"could not find event callback {number} for deletion", c.VIR_FROM_NONE)
        found.active = False
        del self._registrations[number]
        if not any(other.service == service for other in self._registrations.values()):
            stream = self._streams.pop(service, None)
            if stream is not None:
                stream.close()

    def add_gap(self, number: int, callback: GapCallback, opaque: object) -> None:
        """Tell of gaps from now on."""
        self._gap_callbacks[number] = callback, opaque

    def remove_gap(self, number: int) -> None:
        """Tell of gaps no more."""
        if self._gap_callbacks.pop(number, None) is None:
            raise invalid_arg(f"could not find gap callback {number} for deletion", c.VIR_FROM_NONE)

    def close(self) -> None:
        """Leave the event loop."""
        self._queue.close()

    def _deliver(self, message: EventMessage) -> None:
        """Queue an event for those who registered for it."""
        row = TABLE.events.get(message.name)
        uri = self._open_channel("virConnectDomainEventRegisterAny").uri
        if row is None or message.driver != uri.driver or message.path != uri.path:
            return
        try:
            thing, key, rest = self._shape(row.body.model_validate(message.body))
        except ValidationError as e:
            log.warning("event %d of %s is not what it promises: %s", message.sequence, message.name, e)
            return
        for registration in tuple(self._registrations.values()):
            if (registration.service == row.service and registration.event == row.id
                    and registration.key in (None, key)):
                self._queue.post(partial(self._call_back, registration, thing, rest))

    def _call_back(self, registration: Registration, thing: Handle, rest: tuple[int, ...]) -> None:
        if registration.active:
            registration.callback(self._conn, thing, *rest, registration.opaque)

    def _deliver_gap(self, service: str, epoch: str, last: int, first: int) -> None:
        log.warning("events %d to %d of %s are lost (epoch %s)", last + 1, first - 1, service, epoch)
        for callback, opaque in tuple(self._gap_callbacks.values()):
            self._queue.post(partial(callback, self._conn, service, epoch, last, first, opaque))

    def _shape(self, body: Result) -> tuple[Handle, str, tuple[int, ...]]:
        """(object, the key that registrations for one object have, further arguments) of a callback."""
        match body:
            case domain.LifecycleBody():
                return virDomain(self, body.domain), body.domain.uuid, (body.event, body.detail)
            case domain.RebootBody():
                return virDomain(self, body.domain), body.domain.uuid, ()
            case network.LifecycleBody():
                return virNetwork(self, body.network), body.network.uuid, (body.event, body.detail)
            case storage.PoolLifecycleBody():
                return virStoragePool(self, body.pool), body.pool.uuid, (body.event, body.detail)
            case storage.PoolRefreshBody():
                return virStoragePool(self, body.pool), body.pool.uuid, ()
            case nodedev.LifecycleBody():
                return virNodeDevice(self, body.device), body.device.name, (body.event, body.detail)
        raise TypeError(f"no callback shape for {type(body).__name__}")


class EventCalls(Caller):
    """The part of ``virConnect`` that registers for events.

    Callbacks get ``(conn, object, ..., opaque)`` in the event loop, which must be registered first; lifecycle events
    have (event, detail) in between, reboot and refresh events nothing.
    """

    def __init__(self) -> None:
        self._events: Events | None = None
        self._events_lock = threading.Lock()
        self._numbers = itertools.count()
        self._old_style: dict[DomainCallback, int] = {}

    @api_call
    def domainEventRegisterAny(self, dom: virDomain | None, eventID: int, cb: Callback, opaque: object) -> int:
        """Call back for a ``VIR_DOMAIN_EVENT_ID_*`` of one domain, or of all for None; the answer deregisters."""
        key = None if dom is None else _checked(dom, virDomain).UUIDString()
        return self._register("virConnectDomainEventRegisterAny", "domain", eventID, key, cb, opaque)

    @api_call
    def domainEventDeregisterAny(self, callbackID: int) -> None:
        """The reverse of ``domainEventRegisterAny``."""
        self._deregister("virConnectDomainEventDeregisterAny", "domain", callbackID)

    @api_call
    def domainEventRegister(self, cb: DomainCallback, opaque: object) -> None:
        """Call back for lifecycle events of all domains; the older form, in which the callable is the key."""
        number = self._register("virConnectDomainEventRegister", "domain", c.VIR_DOMAIN_EVENT_ID_LIFECYCLE, None, cb,
                                opaque)
        replaced = self._old_style.get(cb)
        self._old_style[cb] = number
        if replaced is not None:
            self._deregister("virConnectDomainEventDeregister", "domain", replaced)

    @api_call
    def domainEventDeregister(self, cb: DomainCallback) -> None:
        """The reverse of ``domainEventRegister``; a callable that is not registered is a KeyError."""
        self._deregister("virConnectDomainEventDeregister", "domain", self._old_style.pop(cb))

    @api_call
    def networkEventRegisterAny(self, net: virNetwork | None, eventID: int, cb: Callback, opaque: object) -> int:
        """Call back for a ``VIR_NETWORK_EVENT_ID_*`` of one network, or of all for None; the answer deregisters."""
        key = None if net is None else _checked(net, virNetwork).UUIDString()
        return self._register("virConnectNetworkEventRegisterAny", "network", eventID, key, cb, opaque)

    @api_call
    def networkEventDeregisterAny(self, callbackID: int) -> None:
        """The reverse of ``networkEventRegisterAny``."""
        self._deregister("virConnectNetworkEventDeregisterAny", "network", callbackID)

    @api_call
    def storagePoolEventRegisterAny(self, pool: virStoragePool | None, eventID: int, cb: Callback,
                                    opaque: object) -> int:
        """Call back for a ``VIR_STORAGE_POOL_EVENT_ID_*`` of one pool, or of all for None; the answer deregisters."""
        key = None if pool is None else _checked(pool, virStoragePool).UUIDString()
        return self._register("virConnectStoragePoolEventRegisterAny", "storage", eventID, key, cb, opaque)

    @api_call
    def storagePoolEventDeregisterAny(self, callbackID: int) -> None:
        """The reverse of ``storagePoolEventRegisterAny``."""
        self._deregister("virConnectStoragePoolEventDeregisterAny", "storage", callbackID)

    @api_call
    def nodeDeviceEventRegisterAny(self, dev: virNodeDevice | None, eventID: int, cb: Callback,
                                   opaque: object) -> int:
        """Call back for a ``VIR_NODE_DEVICE_EVENT_ID_*`` of one device, or of all for None; the answer deregisters."""
        key = None if dev is None else _checked(dev, virNodeDevice).name()
        return self._register("virConnectNodeDeviceEventRegisterAny", "nodedev", eventID, key, cb, opaque)

    @api_call
    def nodeDeviceEventDeregisterAny(self, callbackID: int) -> None:
        """The reverse of ``nodeDeviceEventRegisterAny``."""
        self._deregister("virConnectNodeDeviceEventDeregisterAny", "nodedev", callbackID)

    @api_call
    def registerGapCallback(self, cb: GapCallback, opaque: object) -> int:
        """Call back when events of a service are lost for good; libvirt has no such call.

        ``cb(conn, service, epoch, last_seen, first_known, opaque)``: after number ``last_seen`` of ``epoch``, the next
        event that will be delivered is ``first_known`` (of a new epoch, if the service lost its store). Who keeps a
        picture of the node should look again at everything. The answer deregisters.
        """
        channel = self._open_channel("registerGapCallback")
        if not callable(cb):
            raise TypeError(f"registerGapCallback() callback must be callable, not {type(cb).__name__}")
        with self._events_lock:
            if self._events is None:
                self._events = Events(self._connection(), channel)
            number = next(self._numbers)
            self._events.add_gap(number, cb, opaque)
        return number

    @api_call
    def deregisterGapCallback(self, callbackID: int) -> None:
        """The reverse of ``registerGapCallback``."""
        self._open_channel("deregisterGapCallback")
        with self._events_lock:
            self._existing(callbackID).remove_gap(index(callbackID))
            self._end()

    def _register(self, function: str, service: str, event: int, key: str | None, cb: Callback, opaque: object) -> int:
        channel = self._open_channel(function)
        number = index(event)
        if number not in EVENT_IDS[service]:
            virResetLastError()
            raise libvirtError(f"{function}() failed")  # as libvirt-python: without saying why
        if not callable(cb):
            raise TypeError(f"{function}() callback must be callable, not {type(cb).__name__}")
        with self._events_lock:
            events = self._events or Events(self._connection(), channel)
            identity = next(self._numbers)
            try:
                events.add(identity, Registration(service, number, key, cb, opaque))
            finally:
                self._events = events
                self._end()
        return identity

    def _deregister(self, function: str, service: str, number: int) -> None:
        self._open_channel(function)
        with self._events_lock:
            self._existing(number).remove(index(number), service)
            self._end()

    def _existing(self, number: int) -> Events:
        if self._events is None:
            raise invalid_arg(f"could not find event callback {index(number)} for deletion", c.VIR_FROM_NONE)
        return self._events

    def _end(self) -> None:
        """With the last registration goes everything that served them."""
        if self._events is not None and self._events.idle:
            self._events.close()
            self._events = None


def _checked(value: T, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"a {kind.__name__} or None is needed, not {type(value).__name__}")
    return value
