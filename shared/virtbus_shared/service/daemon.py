"""One service as a process: settings, logs, the broker's door, the HTTP endpoint, a graceful stop.

The whole of a service's ``__main__``. It stays up while the broker is away (guests, metrics and drivers do not need
it) and takes commands again when it is back.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import time
from pathlib import Path
from typing import IO

from prometheus_client import REGISTRY

from virtbus_shared import __version__
from virtbus_shared.bus.server import BusServer, PublishError
from virtbus_shared.bus.topology import event_key
from virtbus_shared.envelope import EventMessage
from virtbus_shared.service import logs
from virtbus_shared.service.autostart import autostart
from virtbus_shared.service.http import HttpEndpoint
from virtbus_shared.service.runtime import Place, Service, ServiceRuntime
from virtbus_shared.service.settings import Settings, load

log = logging.getLogger("virtbus.daemon")

PROBE_EVERY = 10.0  # seconds between loopback probes
PROBE_FRESH = 60.0  # seconds for which a successful probe counts


def main(service: Service, arguments: list[str] | None = None) -> None:
    """Run a service until SIGTERM or SIGINT."""
    settings = load(service.name, arguments)
    logs.configure(settings, service.name)
    with _lock(settings.state_dir / service.name) as _:
        asyncio.run(Daemon(service, settings).run())


def _lock(directory: Path) -> IO[str]:
    """Two processes on one state directory would take each other's guests: the second one does not start."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = (directory / "lock").open("a")  # not "w": the number in it may be that of the process that holds it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SystemExit(f"{directory} is in use by another process; give this one another --state-dir") from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


class Daemon:
    """A service behind RabbitMQ."""

    def __init__(self, service: Service, settings: Settings) -> None:
        place = Place(settings.node, settings.state_dir / service.name, settings.run_dir / service.name, "amqp")
        place.run_dir.mkdir(parents=True, exist_ok=True, mode=0o711)
        self._settings = settings
        self._runtime = ServiceRuntime(service, place, self._publish, settings.metrics_disabled)
        self._bus = BusServer(settings.broker, settings.node, service.name, self._runtime.boot,
                              self._runtime.dispatcher.take, self._runtime.metrics)
        self._probed = 0.0

    async def run(self) -> None:
        """Start, serve, and stop when told to."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            http = HttpEndpoint(self._settings.metrics_host_port, [self._runtime.metrics.registry, REGISTRY],
                                self._not_ready, self._runtime.collector.render)
        except OSError as e:
            raise SystemExit(f"cannot listen on {self._settings.metrics_address}: {e.strerror}; give this one another "
                             "--metrics-address") from None
        await self._runtime.start()
        self._runtime.collector.start()
        await self._bus.start()
        probe = asyncio.create_task(self._probe())
        starting = asyncio.create_task(autostart(self._runtime.dispatcher, list(self._runtime.connections.values())))
        log.info("started", extra={"version": __version__, "metrics_port": http.port,
                                   "drivers": [f"{s}://{p}" for s, p in self._runtime.connections]})
        await stop.wait()
        log.info("stopping")
        probe.cancel()
        starting.cancel()
        await self._runtime.collector.stop()
        await self._bus.stop(self._runtime.stop)
        await loop.run_in_executor(None, http.close)
        log.info("stopped")

    async def _publish(self, event: EventMessage) -> None:
        await self._bus.publish_event(event_key(event.node, event.name), event.encode())

    def _not_ready(self) -> str | None:
        """Why ``/readyz`` says no, or None. Called in a thread of the HTTP server."""
        reason = None
        if not self._runtime.started:
            reason = "starting"
        elif not self._bus.ready:
            reason = "no consumer at the broker"
        elif time.time() - self._probed > PROBE_FRESH:
            reason = "no request came back through the broker yet"
        self._runtime.metrics.ready.set(reason is None)
        return reason

    async def _probe(self) -> None:
        """Send ourselves a request through the broker, again and again: a connection may look healthy and be deaf."""
        while True:
            try:
                await self._bus.probe()
                self._probed = time.time()
                self._runtime.metrics.probe.set(self._probed)
                delay = PROBE_EVERY
            except PublishError:
                delay = 1.0
            self._not_ready()
            await asyncio.sleep(delay)
