"""A connection that a service keeps: opened, set up, watched, and opened again, for as long as the service runs.

Both of a service's connections (the one that takes commands and the one that publishes events) live the same life;
what they do when a connection is open is theirs. All of it runs in the service's one asyncio loop.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import pika
from pika import exceptions as pe
from pika.channel import Channel

from virtbus_shared.bus import connection as life
from virtbus_shared.bus import wire
from virtbus_shared.bus.connection import log


class ConnectionEndError(Exception):
    """A connection or channel ended; ``reason`` is one of ``connection.REASONS``."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    @classmethod
    def of(cls, error: BaseException) -> ConnectionEndError:
        """The end that an exception of pika stands for."""
        return cls(life.reason_of(error), life.cause(error))


class BusServerEvents(Protocol):
    """What a service's bus tells whoever counts. Called in the loop; must not raise or wait."""

    def connected(self, up: bool) -> None:
        """Whether there is a connection with a consumer registered."""

    def reconnected(self, reason: str) -> None:
        """A connection or consumer was lost; ``reason`` is one of ``connection.REASONS``."""

    def replies_unroutable(self) -> None:
        """A reply came back because its caller's queue is gone."""

    def publish_failed(self, reason: str) -> None:
        """An event was not confirmed: ``nack``, ``return``, or ``timeout`` (none came, or the connection ended)."""

    def confirm_seconds(self, seconds: float) -> None:
        """How long the broker took to confirm an event."""

    def message_taken(self) -> None:
        """A command was taken from the queue."""


class NoEvents:
    """Nobody counts."""

    def connected(self, up: bool) -> None:
        """See ``BusServerEvents``."""

    def reconnected(self, reason: str) -> None:
        """See ``BusServerEvents``."""

    def replies_unroutable(self) -> None:
        """See ``BusServerEvents``."""

    def publish_failed(self, reason: str) -> None:
        """See ``BusServerEvents``."""

    def confirm_seconds(self, seconds: float) -> None:
        """See ``BusServerEvents``."""

    def message_taken(self) -> None:
        """See ``BusServerEvents``."""


class Steps:
    """A channel whose requests can be awaited; each fails with ``ConnectionEndError`` if the channel ends first."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.ended: asyncio.Future[ConnectionEndError] = asyncio.get_running_loop().create_future()
        channel.add_on_close_callback(self._closed)

    def _closed(self, _: Channel, error: BaseException) -> None:
        self.end(ConnectionEndError.of(error))

    def end(self, why: ConnectionEndError) -> None:
        """Let everybody who waits on this channel know that it ended."""
        if not self.ended.done():
            self.ended.set_result(why)

    async def do(self, start: Callable[[Callable[[object], None]], object]) -> object:
        """Begin a request of the channel by giving ``start`` the callback for its answer, and wait for that."""
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def answered(frame: object) -> None:
            if not answer.done():
                answer.set_result(frame)

        try:
            start(answered)
        except pe.AMQPError as e:
            raise ConnectionEndError.of(e) from None
        await asyncio.wait((answer, self.ended), return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise self.ended.result()


class Keeper(ABC):
    """Keeps one connection. ``start`` returns after the first attempt, whatever came of it."""

    def __init__(self, urls: str, name: str) -> None:
        self._parameters = life.parameters(urls, name)
        self._name = name
        self._connection: pika.connection.Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()  # the first attempt has ended
        self._backoff = life.Backoff()
        self.blocked = False  # the broker has raised an alarm and reads nothing from us

    async def start(self) -> None:
        """Begin to connect; wait for the first attempt's end."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self._name)
        await self._tried.wait()

    async def stop(self) -> None:
        """Close the connection and do not open it again. Harmless when repeated."""
        task, self._task = self._task, None
        self._tried.clear()
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _run(self) -> None:
        at = 0
        while True:
            params = self._parameters[at % len(self._parameters)]
            at += 1
            try:
                lost = await self._live(params)
                self._lost(lost)
                log.warning("%s: connection to %s lost: %s", self._name, life.where(params), lost)
            except ConnectionEndError as e:
                log.warning("%s: %s", self._name, e)
            except Exception:
                log.exception("%s: unexpected failure; connecting again", self._name)
            self._tried.set()
            await asyncio.sleep(self._backoff.wait())

    async def _live(self, params: pika.ConnectionParameters) -> ConnectionEndError:
        """One connection, from its opening to its end. Raises if it was never in service."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        closed: asyncio.Future[ConnectionEndError] = loop.create_future()

        def on_open(_: object) -> None:
            if not opened.done():
                opened.set_result(None)

        def on_failed(_: object, error: BaseException) -> None:
            if not opened.done():
                opened.set_exception(ConnectionEndError(life.NETWORK, life.refusal(error, params).message))
            on_closed(_, error)

        def on_closed(_: object, error: BaseException) -> None:
            if not closed.done():
                closed.set_result(ConnectionEndError.of(error))

        connection = wire.LeanAsyncioConnection(params, on_open, on_failed, on_closed, custom_ioloop=loop)
        connection.add_on_connection_blocked_callback(lambda *_: setattr(self, "blocked", True))
        connection.add_on_connection_unblocked_callback(lambda *_: setattr(self, "blocked", False))
        try:
            await opened
            self._connection = connection
            return await self._serve(connection, params, closed)
        finally:
            self._connection = None
            self.blocked = False
            if not (connection.is_closing or connection.is_closed):
                connection.close()
            # The goodbye is worth a moment, not a wait: the broker may be what hangs.
            await asyncio.wait((closed,), timeout=2)

    async def _channel(self, connection: pika.connection.Connection,
                       closed: asyncio.Future[ConnectionEndError]) -> Steps:
        opened: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
        try:
            steps = Steps(connection.channel(on_open_callback=opened.set_result))
        except pe.AMQPError as e:
            raise ConnectionEndError.of(e) from None
        closed.add_done_callback(lambda _: steps.end(closed.result()))
        await asyncio.wait((opened, steps.ended), return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            raise steps.ended.result()
        return steps

    def _in_service(self) -> None:
        """The connection does what it is for."""
        self._backoff.connected()
        self._tried.set()

    @abstractmethod
    async def _serve(self, connection: pika.connection.Connection, params: pika.ConnectionParameters,
                     closed: asyncio.Future[ConnectionEndError]) -> ConnectionEndError:
        """Set up an open connection, serve on it, and return why it ended."""

    @abstractmethod
    def _lost(self, why: ConnectionEndError) -> None:
        """A connection that was in service ended; not called by ``stop``."""
