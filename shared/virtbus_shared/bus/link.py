"""A client's I/O thread: the only one that touches pika. It connects, sends what waits, and hands in what comes.

It never runs a user's code and never waits for anything but the socket, so heartbeats are always answered. When the
connection is lost it comes back by itself; what calls still wait for is sent again with the same ids, for a request
that was on its way may or may not have arrived, and a reply on its way back is lost for certain.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pika
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from virtbus_shared import constants as c
from virtbus_shared.bus import connection as life
from virtbus_shared.bus import topology, wire
from virtbus_shared.bus.calls import Call, Calls, closed_error, expiration
from virtbus_shared.bus.connection import log
from virtbus_shared.bus.frames import RequestFrames
from virtbus_shared.bus.liveness import EVERY, Liveness
from virtbus_shared.bus.subscription import Subscription
from virtbus_shared.errors import LibvirtError

GOODBYE = 2.0  # seconds that the broker has to answer a close


class Link:
    """One I/O thread with one connection. ``open`` starts it, ``close`` ends it, ``wake`` makes it send."""

    def __init__(self, parameters: list[pika.ConnectionParameters], calls: Calls, name: str) -> None:
        self._parameters = parameters
        self._calls = calls
        self._ioloop = IOLoop()
        self._thread = threading.Thread(target=self._run, name=f"{name} I/O", daemon=True)
        self._tried = threading.Event()  # the first attempt to connect has ended
        self._failure: LibvirtError | None = None
        self._attempts = 0
        self._backoff = life.Backoff()
        self._connection: pika.connection.Connection | None = None
        self._frames: RequestFrames | None = None  # set while commands can be sent
        self._closing = False
        self._was_ready = False
        self._subscriptions: set[Subscription] = set()
        self._liveness = Liveness(calls)
        self._looks = False  # a look at what waits is due
        self.blocked: str | None = None  # the broker's alarm
        self.trouble: str | None = "there is no connection to the broker"  # why commands cannot be sent

    @property
    def ready(self) -> bool:
        """Whether commands can be sent now."""
        return self._frames is not None

    def open(self, seconds: float) -> None:
        """Any thread: connect. Raises if the first attempt fails; later losses are repaired in the background."""
        self._thread.start()
        if not self._tried.wait(seconds):
            self.close()
            raise LibvirtError(c.VIR_ERR_OPERATION_TIMEOUT, "there is no connection to the broker yet, and the call's "
                               "deadline has come: nothing was sent", domain=c.VIR_FROM_RPC)
        if self._failure is not None:
            raise self._failure

    def wake(self) -> None:
        """Any thread: send what is in the outbox."""
        self._ioloop.add_callback_threadsafe(self._drain)

    def run(self, step: Callable[[], None]) -> None:
        """Any thread: have the I/O thread do something."""
        self._ioloop.add_callback_threadsafe(step)

    def close(self) -> None:
        """Any thread: say goodbye to the broker and end. Harmless when repeated."""
        self.run(self._goodbye)
        if threading.current_thread() is not self._thread:
            self._thread.join(2 * GOODBYE)

    # From here on: the I/O thread.

    def add(self, subscription: Subscription) -> None:
        """Keep a subscription up from now on."""
        self._subscriptions.add(subscription)
        if self._frames is not None:
            subscription.open(self._connection)

    def remove(self, subscription: Subscription) -> None:
        """Take a subscription down."""
        self._subscriptions.discard(subscription)
        subscription.shut()

    def _run(self) -> None:
        self._ioloop.add_callback(self._connect)
        while True:
            try:
                self._ioloop.start()
                break
            except Exception as e:
                # A mistake of ours must not leave callers without anybody who listens for them.
                log.exception("the bus client's I/O thread failed; it connects again")
                self._start_over(e)
        self._ioloop.close()

    def _start_over(self, error: Exception) -> None:
        connection = self._connection
        if not self._was_ready:
            self._give_up(LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"the bus client failed: {error}",
                                       domain=c.VIR_FROM_RPC))
        elif connection is None or connection.is_closed:
            self._later(self._connect)
        else:
            connection._terminate_stream(error)  # private: close() would wait for the broker's answer

    def _goodbye(self) -> None:
        self._closing = True
        for subscription in self._subscriptions:
            subscription.shut(closed_error())
        connection = self._connection
        if connection is None or connection.is_closed:
            self._ioloop.stop()
            return
        if not connection.is_closing:
            connection.close()
        self._ioloop.call_later(GOODBYE, self._ioloop.stop)

    def _connect(self) -> None:
        if self._closing:
            self._ioloop.stop()
            return
        params = self._parameters[self._attempts % len(self._parameters)]
        self._attempts += 1
        connection = wire.LeanSelectConnection(
            params, on_open_callback=self._opened, on_open_error_callback=self._not_opened,
            on_close_callback=self._closed, custom_ioloop=self._ioloop)
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._connection = connection

    def _not_opened(self, connection: pika.connection.Connection, error: BaseException) -> None:
        self._connection = None
        if self._closing:
            self._ioloop.stop()
            return
        refusal = life.refusal(error, connection.params)
        self.trouble = refusal.message
        if self._attempts < len(self._parameters):
            self._connect()
        elif not self._was_ready:
            self._give_up(refusal)
        else:
            self._later(self._connect)

    def _give_up(self, failure: LibvirtError) -> None:
        self._failure = failure
        self._closing = True
        self._tried.set()
        self._goodbye()

    def _later(self, step: Callable[[], None]) -> None:
        self._ioloop.call_later(self._backoff.wait(), step)

    def _opened(self, connection: pika.connection.Connection) -> None:
        self._open_channel(connection)

    def _open_channel(self, connection: pika.connection.Connection) -> None:
        if connection.is_open:
            connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._returned)
        channel.add_on_cancel_callback(lambda _: channel.close(0, "the broker took the reply queue away"))
        topology.declare_exchanges(channel)
        channel.queue_declare("", exclusive=True, auto_delete=True,
                              callback=lambda frame: self._declared(channel, frame.method.queue))

    def _declared(self, channel: Channel, queue: str) -> None:
        connection = channel.connection
        channel.queue_bind(queue, topology.PRESENCE)
        frames = RequestFrames(channel.channel_number, queue, life.user_of(connection.params),
                               connection.params.frame_max)
        wire.consume(connection, channel, queue, self._arrived, no_ack=True,
                     on_started=lambda _: self._start_sending(frames), on_batch=self._calls.wake_callers)

    def _start_sending(self, frames: RequestFrames) -> None:
        again = self._was_ready
        self._frames = frames
        self._was_ready = True
        self.trouble = None
        self._backoff.connected()
        self._tried.set()
        if again:
            self._calls.again(self._calls.all())
        self._drain()
        assert self._connection is not None
        for subscription in self._subscriptions:
            subscription.open(self._connection)

    def _stop_sending(self, why: str) -> None:
        self._frames = None
        self._liveness.forget()
        self.trouble = why
        # Who has answered a fan-out already is not known here, so it cannot be sent again.
        lost = [call for call in self._calls.all() if call.replies is not None and call.sent]
        self._calls.fail(lost, LibvirtError(c.VIR_ERR_SYSTEM_ERROR, "connection to the broker was lost while replies "
                                            f"of several nodes were collected: {why}", domain=c.VIR_FROM_RPC))

    def _drain(self) -> None:
        frames = self._frames
        if frames is None:
            return  # _start_sending comes back here
        now = time.time()
        out: list[bytes] = []
        for call in self._calls.to_send():
            if left := expiration(call, now):  # otherwise its caller is about to give up
                call.sent += 1
                out += frames.encode(call.key, call.id, left, call.body)
        if out:
            wire.send_now(self._connection, out)
        self._look_later()

    def _look(self) -> None:
        """Ask whether the services are there that keep callers waiting; again and again while anybody waits."""
        self._looks = False
        if self._calls.look():
            self._drain()
        frames = self._frames
        if frames is None or self._closing:
            return
        out: list[bytes] = []
        for node, ping in self._liveness.due():
            out += frames.encode(topology.command_key(node, ping.procedure), ping.id, 10_000, ping.encode())
        if out:
            wire.send_now(self._connection, out)
        self._look_later()

    def _look_later(self) -> None:
        if not self._looks and self._calls.pending:
            self._looks = True
            self._ioloop.call_later(EVERY, self._look)

    def _arrived(self, _tag: int, _redelivered: bool, exchange: str, correlation: str | None, _reply_to: str | None,
                 _user: str | None, body: bytes) -> None:
        if exchange:
            self._presence(body)
        elif not self._calls.replied(correlation, body):
            self._liveness.answered(correlation)

    def _presence(self, body: bytes) -> None:
        """A service has a new queue: what was in its old one is gone, so what we wait for is sent again."""
        try:
            presence = topology.Presence.decode(body)
        except ValueError as e:
            log.warning("%s", e)
            return
        if presence.up:
            self._again([call for call in self._calls.all() if call.sent and call.node == presence.node
                         and call.service == presence.service])

    def _again(self, calls: list[Call]) -> None:
        if calls:
            self._calls.again(calls)
            self._drain()

    def _returned(self, _channel: Channel, _method: Basic.Return, properties: BasicProperties, _body: bytes) -> None:
        call = self._calls.get(properties.correlation_id)
        if call is None:
            self._liveness.returned(properties.correlation_id)
            return
        if call.sent > 1:
            # We had lost the broker; the service may have lost it too and be on its way back.
            self._ioloop.call_later(random.uniform(0.1, 0.3), lambda: self._retry(call))  # noqa: S311  # a spread
        else:
            self._calls.nobody_there(call)

    def _retry(self, call: Call) -> None:
        if self._calls.get(call.id) is call:
            self._again([call])

    def _channel_closed(self, channel: Channel, error: BaseException) -> None:
        connection = self._connection
        if self._closing or connection is None or not connection.is_open or channel.connection is not connection:
            return  # the connection's end says it all
        why = life.cause(error)
        refused = LibvirtError(c.VIR_ERR_ACCESS_DENIED, f"by the broker: {why}", domain=c.VIR_FROM_RPC)
        is_refusal = getattr(error, "reply_code", 0) == 403
        if not self._was_ready:
            self._give_up(refused if is_refusal else LibvirtError(
                c.VIR_ERR_SYSTEM_ERROR, f"the broker at '{life.where(connection.params)}' cannot be used: {why}",
                domain=c.VIR_FROM_RPC))
            return
        log.warning("the channel for calls was closed: %s", why)
        if is_refusal:
            # It names the routing key, if a right on that was missing; sent again it would be refused again.
            calls = self._calls.all()
            self._calls.fail([call for call in calls if f"'{call.key}'" in why] or calls, refused)
        self._stop_sending(why)
        self._later(lambda: self._open_channel(connection))

    def _closed(self, connection: pika.connection.Connection, error: BaseException) -> None:
        self._connection = None
        self.blocked = None
        if self._closing:
            self._ioloop.stop()
            return
        why = f"connection to the broker at '{life.where(connection.params)}' was lost: {life.cause(error)}"
        if not self._was_ready:
            self._give_up(LibvirtError(c.VIR_ERR_SYSTEM_ERROR, why, domain=c.VIR_FROM_RPC))
            return
        log.warning("%s", why)
        self._stop_sending(why)
        self._attempts = 0
        self._later(self._connect)

    def _on_blocked(self, _: object, frame: pika.frame.Method) -> None:
        self.blocked = str(frame.method.reason)
        log.warning("the broker takes no commands for now: %s", self.blocked)

    def _on_unblocked(self, *_: object) -> None:
        self.blocked = None
