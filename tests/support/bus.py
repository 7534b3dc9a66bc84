"""A service's half of the bus for tests of the other half: a `BusServer` in a loop of its own, in a thread.

Tests of the client are synchronous, as the client is; what they need of a server is that it answers, that it can be
asked what it saw, and that its connections can be broken in the ways in which networks and brokers break them.
"""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from typing import TypeVar

from virtbus_shared.bus.client import BusClient
from virtbus_shared.bus.server import BusServer, Delivery

T = TypeVar("T")
PATIENCE = 20.0  # seconds after which a test gives up


class Counted:
    """What a server told its observer, in order; `wait` returns when a fact has been told."""

    def __init__(self) -> None:
        self.facts: list[tuple[str, object]] = []
        self._changed = threading.Condition()

    def _add(self, name: str, value: object = None) -> None:
        with self._changed:
            self.facts.append((name, value))
            self._changed.notify_all()

    def wait(self, name: str, value: object = None, count: int = 1) -> None:
        """Return when the fact has been told `count` times."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.facts.count((name, value)) >= count, PATIENCE):
                raise AssertionError(f"{name}({value}) not seen {count} times in {self.facts}")

    def connected(self, up: bool) -> None:
        """See BusServerEvents."""
        self._add("connected", up)

    def reconnected(self, reason: str) -> None:
        """See BusServerEvents."""
        self._add("reconnected", reason)

    def replies_unroutable(self) -> None:
        """See BusServerEvents."""
        self._add("replies_unroutable")

    def publish_failed(self, reason: str) -> None:
        """See BusServerEvents."""
        self._add("publish_failed", reason)

    def confirm_seconds(self, seconds: float) -> None:
        """See BusServerEvents."""
        self._add("confirmed", seconds >= 0)

    def message_taken(self) -> None:
        """See BusServerEvents."""
        self._add("taken")


def echo(delivery: Delivery) -> None:
    """Answer with the request's own body."""
    delivery.reply_and_ack(delivery.body)


class Service:
    """A running BusServer. Give `on_request` to answer; without it, deliveries wait in `taken` for the test."""

    def __init__(self, url: str, node: str, service: str = "domain", *, boot: str = "boot-1",
                 on_request: Callable[[Delivery], None] | None = None) -> None:
        self.taken: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self.counted = Counted()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=f"test service {node}", daemon=True)
        self._thread.start()
        self.server = BusServer(url, node, service, boot, on_request or self.taken.put, self.counted)
        self._closed = False
        self.do(self.server.start())

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def do(self, step: Coroutine[object, object, T]) -> T:
        """Run a coroutine in the service's loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(step, self.loop).result(PATIENCE)

    def call(self, step: Callable[..., T], *arguments: object) -> T:
        """Run a function in the service's loop."""
        async def run() -> T:
            return step(*arguments)

        return self.do(run())

    def take(self) -> Delivery:
        """The next command."""
        return self.taken.get(timeout=PATIENCE)

    def cut(self) -> None:
        """Break the connection for commands as a network does: no goodbye."""
        self.call(lambda: cut(self.server._connection))

    def close(self) -> None:
        """Stop the server and its loop."""
        if not self._closed:
            self._closed = True
            self.do(self.server.stop())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(PATIENCE)
            self.loop.close()


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something in another thread that tells nobody."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {PATIENCE:.0f} s"
        time.sleep(0.01)


def cut(connection: object) -> None:
    """Break a pika connection's socket under it."""
    transport = connection._transport  # type: ignore[attr-defined]  # pika has no types
    transport._sock.shutdown(socket.SHUT_RDWR)


def cut_client(client: BusClient) -> None:
    """Break a client's connection as a network does."""
    link = client._link
    assert link is not None
    cut(link._connection)
