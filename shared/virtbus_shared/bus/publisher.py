"""A service's second connection: events and presence, each confirmed by the broker.

An alarm of the broker (memory, disk) stops it from reading connections that publish; events have their own, so that
commands are still taken then. An event counts as published when the broker confirms it; until then it stays in the
service's outbox, and every failure here means: try again.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

import pika
from pika import exceptions as pe
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from virtbus_shared.bus import connection as life
from virtbus_shared.bus import topology
from virtbus_shared.bus.keeper import BusServerEvents, ConnectionEndError, Keeper
from virtbus_shared.timeout import timeout

CONFIRM_TIMEOUT = 10.0  # seconds
PERSISTENT = 2


class PublishError(Exception):
    """The broker has not confirmed a message: it may or may not have it."""


class Publisher(Keeper):
    """Publishes with confirms; several publishes may wait at once."""

    def __init__(self, urls: str, name: str, events: BusServerEvents) -> None:
        super().__init__(urls, name)
        self._events = events
        self._channel_open: Channel | None = None
        self._user: str | None = None
        self._sequence = 0
        self._waiting: OrderedDict[int, asyncio.Future[bool]] = OrderedDict()
        self.ready = asyncio.Event()

    async def publish(self, exchange: str, key: str, body: bytes) -> None:
        """Publish, and return when the broker has it. Raises ``PublishError``."""
        channel = self._channel_open
        if channel is None:
            raise PublishError("there is no connection to the broker")
        confirmed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._sequence += 1
        self._waiting[self._sequence] = confirmed
        began = time.monotonic()
        properties = BasicProperties(content_type=topology.CONTENT_TYPE, delivery_mode=PERSISTENT, user_id=self._user)
        reason = "timeout"
        try:
            channel.basic_publish(exchange, key, body, properties)
            async with timeout(CONFIRM_TIMEOUT):
                if await confirmed:
                    self._events.confirm_seconds(time.monotonic() - began)
                    return
            reason, detail = "nack", "the broker refused it"
        except TimeoutError:
            detail = f"no confirm within {CONFIRM_TIMEOUT:.0f} s"
        except (ConnectionEndError, pe.AMQPError) as e:
            detail = f"the connection ended first: {e}"
        self._events.publish_failed(reason)
        raise PublishError(f"message to {exchange} with key {key!r} is not confirmed: {detail}")

    def _settle(self, frame: pika.frame.Method) -> None:
        """An ack or nack of the broker, for one message or for all up to one."""
        accepted, tag = isinstance(frame.method, Basic.Ack), frame.method.delivery_tag
        if frame.method.multiple:
            tags = [waiting for waiting in self._waiting if waiting <= tag]
        else:
            tags = [tag] if tag in self._waiting else []
        for each in tags:
            confirmed = self._waiting.pop(each)
            if not confirmed.done():
                confirmed.set_result(accepted)

    async def _serve(self, connection: pika.connection.Connection, params: pika.ConnectionParameters,
                     closed: asyncio.Future[ConnectionEndError]) -> ConnectionEndError:
        steps = await self._channel(connection, closed)
        topology.declare_exchanges(steps.channel)
        await steps.do(lambda done: steps.channel.confirm_delivery(self._settle, callback=done))
        self._user, self._sequence = life.user_of(params), 0
        self._channel_open = steps.channel
        self.ready.set()
        self._in_service()
        try:
            return await steps.ended
        finally:
            self._channel_open = None
            self.ready.clear()
            waiting, self._waiting = self._waiting, OrderedDict()
            for confirmed in waiting.values():
                if not confirmed.done():
                    confirmed.set_exception(ConnectionEndError(life.NETWORK, "closed"))

    def _lost(self, why: ConnectionEndError) -> None:
        self._events.reconnected(why.reason)
