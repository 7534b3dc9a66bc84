"""One running service: its store, its drivers, its dispatcher and its outbox, whatever door leads to it.

``daemon`` puts it behind RabbitMQ in a process of its own; ``inprocess`` puts four of them into the caller's process.
The order of a start is the order of trust: the store is opened, the drivers look what is really there, requests that
a crash interrupted get their outcome, and only then are new ones taken.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virtbus_shared import __version__
from virtbus_shared import constants as c
from virtbus_shared.api import TABLE, common
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import NoParams
from virtbus_shared.service.access import Access
from virtbus_shared.service.collection import Collection
from virtbus_shared.service.collector import Collector
from virtbus_shared.service.dispatch import Dispatcher
from virtbus_shared.service.driver import Driver, DriverHost, Drivers
from virtbus_shared.service.handlers import Context, Handlers
from virtbus_shared.service.metrics import ServiceMetrics
from virtbus_shared.service.outbox import Outbox, Publish
from virtbus_shared.service.store import Store

GRACE = 10.0  # seconds that running handlers have when the service stops; without a store none: nobody will ask


@dataclass(frozen=True, slots=True)
class Service:
    """What a service package declares: its name, its handlers, what it measures. Its drivers come from entry points."""

    name: str
    handlers: Handlers[Any]
    objects: type[Collection[Any, Any, Any]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service runs. Directories are its own; in-process ones have no state that lasts."""

    node: str
    state_dir: Path | None
    run_dir: Path
    door: str  # amqp or inprocess


class ServiceRuntime:
    """A service from its start to its stop."""

    def __init__(self, service: Service, place: Place, publish: Publish,
                 metrics_disabled: frozenset[str] = frozenset()) -> None:
        self.name = service.name
        self.place = place
        self.boot = secrets.token_hex(8)
        self.started = 0.0
        self.metrics = ServiceMetrics(service.name)
        path = place.state_dir / "virtbus.db" if place.state_dir else None
        self.store = Store(path, self.metrics.store_commit.observe)
        self.outbox = Outbox(self.store, place.node, self.metrics, publish)
        self._drivers = Drivers(service.name)
        self.connections: dict[tuple[str, str], Driver] = {}
        self.collector = Collector(service.objects(self.connections), self.metrics, disabled=metrics_disabled)
        self.store.on_events = self.collector.happened
        self._opening = asyncio.Lock()  # two callers that open the same connection must get one driver
        routes = {**_common_handlers(self).routes, **service.handlers.routes}
        if missing := {row.name for row in TABLE.of_service(service.name)} ^ set(routes):
            raise RuntimeError(f"handlers and table differ: {sorted(missing)}")
        self.dispatcher = Dispatcher(routes, self.store, Access(decided=self.metrics.decided), self.metrics,
                                     self.find_driver, self.outbox.written, place.door)

    async def start(self) -> None:
        """Open the connections, find what is there, settle what a crash interrupted."""
        if self.place.door != "inprocess":
            for scheme in self._drivers.names():
                driver = self._drivers.get(scheme)
                for path in driver.paths if driver else ():
                    await self.open(scheme, path)
        await self.dispatcher.reconcile()
        await self.outbox.start()
        self.started = time.time()
        self.metrics.start_time.set(self.started)

    async def open(self, scheme: str, path: str) -> Driver:
        """The driver of a connection, opened if it may be. Raises ``VIR_ERR_NO_CONNECT``."""
        async with self._opening:
            return self.connections.get((scheme, path)) or await self._open(scheme, path)

    async def _open(self, scheme: str, path: str) -> Driver:
        driver = self._drivers.get(scheme)
        if driver is None or not driver.accepts(path, inprocess=self.place.door == "inprocess"):
            raise _no_connect(scheme, path)
        host = DriverHost(self.place.node, scheme, path, self.place.state_dir or self.place.run_dir,
                          self.place.run_dir, self.store, self.metrics, self.outbox.written,
                          logging.getLogger(f"virtbus.{self.name}.{scheme}"))
        connection = driver(host)
        await connection.start()
        self.metrics.stuck(scheme, 0)
        self.connections[scheme, path] = connection
        return connection

    def find_driver(self, scheme: str, path: str) -> Driver:
        """The driver of an open connection. Raises ``VIR_ERR_NO_CONNECT``."""
        found = self.connections.get((scheme, path))
        if found is None:
            raise _no_connect(scheme, path)
        return found

    async def stop(self) -> None:
        """Let running handlers end, then let go of everything. Guests stay."""
        await self.dispatcher.drain(GRACE if self.place.state_dir else 0.0)
        for driver in self.connections.values():
            await driver.stop()
        await self.outbox.stop()
        self.store.close()


def _no_connect(scheme: str, path: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_NO_CONNECT, f"{scheme}://{path}")


def _common_handlers(runtime: ServiceRuntime) -> Handlers[None]:
    """The handlers of the rows that all services have."""
    handlers: Handlers[None] = Handlers(runtime.name)

    @handlers.answers(common.PING[runtime.name])
    def ping(ctx: Context[None], params: NoParams) -> common.ServiceInfo:
        del ctx, params
        return common.ServiceInfo(
            node=runtime.place.node, service=runtime.name, version=__version__, boot=runtime.boot,
            epoch=runtime.store.epoch, started=runtime.started,
            drivers=[f"{scheme}://{path}" for scheme, path in runtime.connections])

    @handlers.handles(common.GET_OUTCOME[runtime.name])
    async def get_outcome(ctx: Context[None], params: common.OutcomeRequest) -> common.Outcome:
        del ctx
        entry = await runtime.store.find(params.id)
        if entry is None:
            return common.Outcome(state="unknown")
        reply = runtime.dispatcher.outcome(entry)
        state = "done" if reply is not None else "running" if runtime.dispatcher.runs(entry.id) else "unknown"
        return common.Outcome(state=state, procedure=entry.procedure, caller=entry.caller, received=entry.received,
                              finished=entry.finished or 0.0, reply=reply or b"")

    @handlers.handles(common.LIST_EVENTS[runtime.name])
    async def list_events(ctx: Context[None], params: common.EventsSince) -> common.Events:
        del ctx
        same = params.epoch == runtime.store.epoch
        first, last, events = await runtime.store.events_after(params.sequence if same else 0, params.limit)
        asked = params.sequence if same else 0
        runtime.metrics.replayed.inc(len(events))
        return common.Events(
            epoch=runtime.store.epoch, first=first, last=last,
            gap=bool(params.epoch and not same) or asked > last or (asked < last and first > asked + 1),
            events=[runtime.outbox.message(e).encode() for e in events])

    return handlers
