"""The serving half: a service's queue, the commands that come out of it, and the replies that go back.

``BusServer`` lives in the service's asyncio loop and hands each command to ``on_request`` as a ``Delivery``, at once
and in the loop: the caller decides what it is and who works on it. Commands, their acknowledgements and their replies
share one connection, so that a reply and its ack leave in one write; events and presence have another
(``publisher``). The service may start before the broker, and outlives it: the bus connects again by itself.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable

import pika
from pika import exceptions as pe
from pika.channel import Channel

from virtbus_shared.bus import connection as life
from virtbus_shared.bus import topology, wire
from virtbus_shared.bus.connection import log
from virtbus_shared.bus.frames import ReplyFrames
from virtbus_shared.bus.keeper import BusServerEvents, ConnectionEndError, Keeper, NoEvents, Steps
from virtbus_shared.bus.publisher import Publisher, PublishError
from virtbus_shared.timeout import timeout

PREFETCH = 256  # commands that may be in work at once
PROBE_TIMEOUT = 10.0  # seconds

__all__ = ["BusServer", "BusServerEvents", "Delivery", "NoEvents", "PublishError"]


class _Session:
    """One consumer: a queue on a channel of a connection. What belongs to an earlier one can no longer be settled.

    Commands are acknowledged together, once for each write: the broker takes as long for one acknowledgement as for
    a hundred. Only an unbroken row of them can go together, so one that is being journalled holds back those after it
    for that moment.
    """

    def __init__(self, connection: pika.connection.Connection, steps: Steps, queue: str) -> None:
        self.connection = connection
        self.steps = steps
        self.queue = queue
        self.frames = ReplyFrames(steps.channel.channel_number, connection.params.frame_max)
        self.consumer_tag = ""
        self.alive = True
        self._first = 1  # the earliest delivery tag that is not settled yet
        self._later: dict[int, bool] = {}  # settled (rejected or not), but after one that is not
        self._last = 0  # the last tag before it that may be acknowledged: the broker has forgotten rejected ones
        self._acknowledged = 0  # the last tag that the broker was told of
        if isinstance(connection, wire.LeanAsyncioConnection):
            connection.trailer = self._acknowledgement

    def settled(self, tag: int, frames: list[bytes], *, rejected: bool = False) -> None:
        """Send frames, with the news that a command is done with."""
        if tag != self._first:
            self._later[tag] = rejected
        else:
            self._advance(rejected)
            while self._later and self._first in self._later:
                self._advance(self._later.pop(self._first))
        if not isinstance(self.connection, wire.LeanAsyncioConnection):
            frames.append(self._acknowledgement())
        wire.send(self.connection, frames)

    def _advance(self, rejected: bool) -> None:
        if not rejected:
            self._last = self._first
        self._first += 1

    def _acknowledgement(self) -> bytes:
        if self._last == self._acknowledged or not self.alive:
            return b""
        self._acknowledged = self._last
        return self.frames.ack(self._last, earlier=True)


class Delivery:
    """One command. ``reply``, ``ack`` and ``reject`` take effect once each; after the connection's loss they are
    harmless: the broker has forgotten the command then, and its caller sends it again with the same id.
    """

    __slots__ = ("_replied", "_server", "_session", "_settled", "_tag", "body", "correlation_id", "received",
                 "redelivered", "reply_to", "user")

    def __init__(self, server: BusServer, session: _Session, tag: int, redelivered: bool, correlation_id: str | None,
                 reply_to: str | None, user: str | None, body: bytes) -> None:
        self._server = server
        self._session = session
        self._tag = tag
        self._settled = self._replied = False
        self.body = body
        self.user = user  # the broker vouches for it: it refuses a message that names another user than its sender
        self.redelivered = redelivered
        self.correlation_id = correlation_id
        self.reply_to = reply_to
        self.received = time.time()  # Unix seconds

    def reply(self, body: bytes) -> None:
        """Answer the caller, if it said where it listens. It may be long after the ack."""
        if self._replied or self.reply_to is None or self.correlation_id is None:
            return
        self._replied = True
        # Not this delivery's session: the caller's queue is still there when ours was lost in between.
        session = self._server._session
        if session is not None:
            wire.send(session.connection, session.frames.encode(self.reply_to, self.correlation_id, body))

    def ack(self) -> None:
        """The command is done, or noted where a crash cannot lose it: the broker may forget it."""
        if not self._settled and self._session.alive:
            self._settled = True
            self._session.settled(self._tag, [])

    def reject(self) -> None:
        """Nobody can take this command: to the dead letters with it."""
        if not self._settled and self._session.alive:
            self._settled = True
            self._session.settled(self._tag, [self._session.frames.reject(self._tag)], rejected=True)

    def reply_and_ack(self, body: bytes) -> None:
        """Both in one step, for the command that is answered at once."""
        session = self._session
        if self._replied or self._settled or not session.alive or self.reply_to is None or self.correlation_id is None:
            self.reply(body)
            self.ack()
            return
        self._replied = self._settled = True
        session.settled(self._tag, session.frames.encode(self.reply_to, self.correlation_id, body))


class BusServer(Keeper):
    """One service of one node on the bus.

    ``on_request`` is called in the loop for each command and must return soon; if it raises, the command is
    dead-lettered and the error logged. ``boot`` names this run of the service.
    """

    def __init__(self, url: str, node: str, service: str, boot: str, on_request: Callable[[Delivery], None],
                 events: BusServerEvents | None = None) -> None:
        name = f"virtbus-{service}@{topology.check_node(node)}"
        super().__init__(url, name)
        self.node = node
        self.service = service
        self.boot = boot
        self._on_request = on_request
        self._events: BusServerEvents = events if events is not None else NoEvents()
        self._publisher = Publisher(url, f"{name} (events)", self._events)
        self._session: _Session | None = None
        self._stopping = False
        self._probes: dict[str, asyncio.Future[None]] = {}

    @property
    def ready(self) -> bool:
        """Whether commands are taken and can be answered now."""
        return self._session is not None and not self.blocked

    @property
    def events_blocked(self) -> bool:
        """Whether the broker has raised an alarm and takes no events."""
        return self._publisher.blocked

    async def start(self) -> None:
        """Begin to serve. Returns after the first attempt; if the broker is not there, attempts go on."""
        self._stopping = False
        await asyncio.gather(super().start(), self._publisher.start())

    async def stop(self, finish: Callable[[], Awaitable[None]] | None = None) -> None:
        """Stop to take commands, wait for ``finish`` (which answers those in work), and close."""
        await self.quiesce()
        if finish is not None:
            await finish()
        await super().stop()
        await self._publisher.stop()

    async def quiesce(self) -> None:
        """Take no more commands: callers are told at once that nobody is here; replies still go out."""
        if self._stopping:
            return
        self._stopping = True
        session = self._session
        if session is None:
            return
        channel = session.steps.channel
        self._events.connected(False)
        try:
            own, all_nodes = topology.command_bindings(self.node, self.service)
            await session.steps.do(
                lambda done: channel.queue_unbind(session.queue, topology.COMMAND, own, callback=done))
            await session.steps.do(
                lambda done: channel.queue_unbind(session.queue, topology.COMMAND, all_nodes, callback=done))
            await session.steps.do(lambda done: channel.basic_cancel(session.consumer_tag, callback=done))
        except (ConnectionEndError, ValueError):
            return  # nobody can reach this queue any more, which is all that was wanted
        await self._announce_down()

    async def publish_event(self, key: str, body: bytes) -> None:
        """Publish an event under a key of ``topology.event_key``; returns when the broker has confirmed it.

        Raises ``PublishError`` on refusal, silence or loss of the connection: publish it again then. That nobody
        listens is no failure.
        """
        await self._publisher.publish(topology.EVENT, key, body)

    async def probe(self) -> None:
        """Send a command to this very service through the broker and wait for its reply.

        A connection can look healthy while the service is deaf; this is the proof that it is not. Raises
        ``PublishError`` if no reply comes.
        """
        session = self._session
        if session is None:
            raise PublishError("there is no connection to the broker")
        ident = f"probe-{self.boot}-{secrets.token_hex(8)}"
        heard = self._probes[ident] = asyncio.get_running_loop().create_future()
        try:
            session.steps.channel.basic_publish(
                topology.COMMAND, topology.command_key(self.node, f"{self.service}.probe"), b"",
                pika.BasicProperties(correlation_id=ident, reply_to=session.queue))
            async with timeout(PROBE_TIMEOUT):
                await heard
        except (TimeoutError, pe.AMQPError):
            raise PublishError(f"{self._name} does not hear its own commands") from None
        finally:
            del self._probes[ident]

    # From here on: the connection's life, and what comes out of the queue.

    async def _serve(self, connection: pika.connection.Connection, params: pika.ConnectionParameters,
                     closed: asyncio.Future[ConnectionEndError]) -> ConnectionEndError:
        while True:
            session = await self._consume(connection, closed)
            self._session = session
            self._events.connected(not self._stopping)
            self._in_service()
            log.info("%s: taking commands at %s", self._name, life.where(params))
            notice = asyncio.create_task(self._announce_up(session), name=f"{self._name} is up")
            try:
                why = await session.steps.ended
            finally:
                notice.cancel()
                session.alive = False
                self._session = None
                self._events.connected(False)
            if closed.done() or self._stopping:
                return why
            # Only the consumer or its channel is gone, so the connection is good for another.
            self._lost(why)
            log.warning("%s: consumer lost: %s", self._name, why)

    async def _consume(self, connection: pika.connection.Connection,
                       closed: asyncio.Future[ConnectionEndError]) -> _Session:
        steps = await self._channel(connection, closed)
        channel = steps.channel
        session = _Session(connection, steps, topology.command_queue(self.node, self.service))
        channel.add_on_return_callback(lambda *_: self._events.replies_unroutable())
        channel.add_on_cancel_callback(lambda _: self._cancelled(session))
        topology.declare_exchanges(channel)
        topology.declare_dead_letter(channel)
        await steps.do(lambda done: channel.queue_declare(
            session.queue, exclusive=True, arguments={"x-dead-letter-exchange": topology.DEAD_LETTER}, callback=done))
        if not self._stopping:  # else it only serves to send the last replies
            for key in topology.command_bindings(self.node, self.service):
                channel.queue_bind(session.queue, topology.COMMAND, key)
        await steps.do(lambda done: channel.basic_qos(prefetch_count=PREFETCH, callback=done))

        def on_delivery(tag: int, redelivered: bool, exchange: str, correlation: str | None, reply_to: str | None,
                        user: str | None, body: bytes) -> None:
            self._take(Delivery(self, session, tag, redelivered, correlation, reply_to, user, body), exchange)

        started = await steps.do(lambda done: wire.consume(connection, channel, session.queue, on_delivery,
                                                           no_ack=False, on_started=done))
        session.consumer_tag = started.method.consumer_tag  # type: ignore[attr-defined]  # pika's frame
        return session

    def _cancelled(self, session: _Session) -> None:
        """The broker took the queue away. pika leaves the channel open; to us it is of no more use."""
        session.alive = False
        session.steps.end(ConnectionEndError(life.CONSUMER_CANCELLED, "the broker cancelled the consumer"))
        _close(session.steps.channel)

    def _take(self, delivery: Delivery, exchange: str) -> None:
        ident = delivery.correlation_id
        if ident is not None and self._probes and (heard := self._probes.get(ident)) is not None:
            if exchange == topology.COMMAND:
                delivery.reply(b"")
            elif not heard.done():
                heard.set_result(None)
            delivery.ack()
            return
        self._events.message_taken()
        try:
            self._on_request(delivery)
        except Exception:
            log.exception("%s: a command could not be handed on; it goes to %s", self._name, topology.DEAD_LETTER)
            delivery.reject()

    async def _announce_up(self, session: _Session) -> None:
        """Tell all clients that this session takes commands, until the broker has it.

        They send again what they still wait for: what was in the queue of an earlier session went with that queue.
        """
        body = topology.Presence(self.node, self.service, self.boot, up=True).encode()
        while session.alive and not self._stopping:
            await self._publisher.ready.wait()
            try:
                await self._publisher.publish(topology.PRESENCE, "", body)
            except PublishError as e:
                log.warning("%s: its presence is not announced yet: %s", self._name, e)
                await asyncio.sleep(1)
            else:
                return

    async def _announce_down(self) -> None:
        body = topology.Presence(self.node, self.service, self.boot, up=False).encode()
        try:
            await self._publisher.publish(topology.PRESENCE, "", body)
        except PublishError as e:
            log.info("%s: that it stops is not announced: %s", self._name, e)

    def _lost(self, why: ConnectionEndError) -> None:
        self._events.reconnected(why.reason)


def _close(channel: Channel) -> None:
    if channel.is_open:
        channel.close()
