"""A whole node inside the caller's process: the door of ``test:///default``, with no infrastructure.

The same services, the same envelopes, the same dispatcher as behind the broker; only the carrier differs: a thread
with the event loop, and bytes handed from the caller's thread to it. The gateway finds this door through the entry
point ``virtbus.doors``, and the door finds the services through ``virtbus.services``.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from virtbus_shared import constants as c
from virtbus_shared.envelope import EventMessage
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.runtime import Place, Service, ServiceRuntime

log = logging.getLogger("virtbus.inprocess")

EventCallback = Callable[[bytes], None]
T = TypeVar("T")


class _Call:
    """A request from a thread of the caller; the dispatcher sees a delivery."""

    __slots__ = ("_answered", "body", "redelivered", "result", "user")

    def __init__(self, body: bytes, user: str) -> None:
        self.body = body
        self.user: str | None = user
        self.redelivered = False
        self.result = b""
        self._answered = threading.Lock()
        self._answered.acquire()

    def reply(self, body: bytes) -> None:
        """Wake the caller."""
        if not self.result:
            self.result = body
            self._answered.release()

    def reply_and_ack(self, body: bytes) -> None:
        """Nothing needs an ack here."""
        self.reply(body)

    def ack(self) -> None:
        """Nothing to do: the caller is still there."""

    def reject(self) -> None:
        """Nothing to keep: the caller has the error."""

    def wait(self, deadline: float) -> bytes:
        """The reply."""
        patience = max(0.0, deadline - time.time()) + 1.0
        if not self._answered.acquire(timeout=min(patience, threading.TIMEOUT_MAX)):
            raise LibvirtError(c.VIR_ERR_OPERATION_TIMEOUT, "no reply before the deadline", domain=c.VIR_FROM_RPC)
        return self.result


class InProcessNode:
    """Four services on one loop, in a thread of their own. A service starts when it is first called."""

    def __init__(self) -> None:
        try:
            self._user = getpass.getuser()
        except (KeyError, OSError):  # a container may run under a number that nobody gave a name
            self._user = str(os.getuid())
        self._node = platform.node()
        self._run_dir = Path(tempfile.mkdtemp(prefix="virtbus-"))
        self._subscribers: list[EventCallback] = []
        self._loop = asyncio.new_event_loop()
        self._points = {point.name: point for point in entry_points(group="virtbus.services")}
        self._runtimes: dict[str, ServiceRuntime] = {}
        self._connections: list[tuple[str, str]] = []
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="virtbus-node", daemon=True)
        self._pid = os.getpid()
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _service(self, name: str) -> ServiceRuntime:
        """A running service: started now, with its imports, if this is its first call."""
        if self._pid != os.getpid() or name not in self._points:
            raise LibvirtError(c.VIR_ERR_NO_SUPPORT, f"the {name} service is not installed in this process "
                               f"(pip install virtbus-{name})", domain=c.VIR_FROM_RPC)
        with self._starting:
            if name not in self._runtimes:
                service: Service = self._points[name].load()
                self._runtimes[name] = self._await(self._start(service))
            return self._runtimes[name]

    async def _start(self, service: Service) -> ServiceRuntime:
        place = Place(self._node, None, self._run_dir / service.name, "inprocess")
        runtime = ServiceRuntime(service, place, self._publish)
        await runtime.start()
        for scheme, path in self._connections:
            await runtime.open(scheme, path)
        return runtime

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _publish(self, event: EventMessage) -> None:
        body = event.encode()
        for callback in tuple(self._subscribers):
            try:
                callback(body)
            except Exception:
                log.exception("a subscriber failed; the others get their events all the same")

    def open(self, scheme: str, path: str) -> None:
        """Open a connection, in every service as it starts. Raises ``VIR_ERR_NO_CONNECT``."""
        self._await(self._service("domain").open(scheme, path))
        with self._starting:
            self._connections.append((scheme, path))
            for runtime in self._runtimes.values():
                self._await(runtime.open(scheme, path))

    def call(self, service: str, body: bytes, deadline: float) -> bytes:
        """Give a request envelope to a service; its reply envelope."""
        # Not straight from the dictionary after a fork: the thread that would answer stayed with the parent.
        runtime = (self._pid == os.getpid() and self._runtimes.get(service)) or self._service(service)
        call = _Call(body, self._user)
        self._loop.call_soon_threadsafe(runtime.dispatcher.take, call)
        return call.wait(deadline)

    @contextlib.contextmanager
    def subscribed(self, callback: EventCallback) -> Iterator[None]:
        """Deliver every event of this node to ``callback`` (in the node's thread) meanwhile."""
        self._subscribers.append(callback)
        try:
            yield
        finally:
            self._subscribers.remove(callback)

    def close(self) -> None:
        """Stop the services and the thread."""
        async def stop() -> None:
            for runtime in self._runtimes.values():
                await runtime.stop()
        if self._pid == os.getpid() and self._thread.is_alive():
            self._await(stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            shutil.rmtree(self._run_dir, ignore_errors=True)


def open_node() -> InProcessNode:
    """What the entry point ``virtbus.doors: inprocess`` gives."""
    return InProcessNode()
