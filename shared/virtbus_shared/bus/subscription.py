"""A client's subscriptions: a queue of its own for each, and one thread that runs all callbacks.

Each subscription has a channel and an exclusive queue, so that one that the broker refuses or cancels disturbs
neither calls nor other subscriptions. Callbacks run in a thread of their own, in the order of arrival, so that they
may take their time and may make calls. What a subscription missed (connection lost, callback too slow) is told by
``on_gap``: the owner fetches it from the service, which keeps its events.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

import pika
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from virtbus_shared import constants as c
from virtbus_shared.bus import connection as life
from virtbus_shared.bus import topology
from virtbus_shared.bus.connection import log
from virtbus_shared.errors import LibvirtError

MAX_BACKLOG = 10_000  # events that may wait for a slow callback; what comes then is dropped, and told as a gap
RETRY = 1.0  # seconds until a lost subscription is set up again


class Dispatcher:
    """The thread that runs the callbacks of one client; started by the first subscription."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[tuple[Subscription, bytes | None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def put(self, subscription: Subscription, body: bytes | None) -> None:
        """Have an event delivered, or, with None, a gap told."""
        self._queue.put((subscription, body))

    def start(self) -> None:
        """Start the thread unless it runs."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"{self._name} events", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Let the thread end after what it does now."""
        self._queue.put(None)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            subscription, body = item
            try:
                subscription.run(body)
            except Exception:
                log.exception("a callback for %s failed", ", ".join(subscription.keys))
            # Waiting for the next event, the thread must not keep the last one's subscription and connection alive.
            del item, subscription, body


class Subscription:
    """Events that match some keys, until ``cancel``. Made by ``BusClient.subscribe``."""

    def __init__(self, keys: Sequence[str], callback: Callable[[bytes], None], on_gap: Callable[[], None],
                 dispatcher: Dispatcher, cancel: Callable[[Subscription], None]) -> None:
        self.keys = tuple(keys)
        self._callback = callback
        self._on_gap = on_gap
        self._dispatcher = dispatcher
        self._cancel = cancel
        self._connection: pika.connection.Connection | None = None
        self._channel: Channel | None = None
        self._put = self._taken = 0  # written by the I/O thread and the dispatcher's, respectively
        self._gap_told = False
        self._began = False
        self.cancelled = False
        self.error: LibvirtError | None = None  # why it could not be set up
        self.decided = threading.Event()  # it is set up, or cannot be

    def cancel(self) -> None:
        """End it. No callback begins after this; one that runs may still be running. Harmless when repeated."""
        if not self.cancelled:
            self.cancelled = True
            self._cancel(self)

    def run(self, body: bytes | None) -> None:
        """Dispatcher: run the callback for one event, or the one for a gap."""
        if body is None:
            self._gap_told = False  # first: what is dropped from here on is another gap
            if not self.cancelled:
                self._on_gap()
            return
        self._taken += 1
        if not self.cancelled:
            self._callback(body)

    # The rest is the I/O thread's.

    def open(self, connection: pika.connection.Connection) -> None:
        """Set it up on a connection."""
        if connection.is_open and not self.cancelled:
            self._connection = connection
            connection.channel(on_open_callback=self._opened)

    def shut(self, why: LibvirtError | None = None) -> None:
        """Take it down; the broker deletes the queue with its consumer. ``why`` is for who still waits for it."""
        self.cancelled = True
        if self._channel is not None and self._channel.is_open:
            self._channel.close()
        if not self.decided.is_set():
            self.error = why
            self.decided.set()

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._closed)
        channel.add_on_cancel_callback(lambda _: channel.close(0, "the broker took its queue away"))
        topology.declare_exchanges(channel)
        channel.queue_declare("", exclusive=True, auto_delete=True, callback=self._declared)

    def _declared(self, frame: pika.frame.Method) -> None:
        queue = frame.method.queue
        channel = self._channel
        assert channel is not None
        for key in self.keys:
            channel.queue_bind(queue, topology.EVENT, key)
        channel.basic_consume(queue, self._arrived, auto_ack=True, callback=self._started)

    def _started(self, _: object) -> None:
        if self.cancelled:
            self.shut()
        elif self._began:
            self._tell_gap()
        self._began = True
        self.decided.set()

    def _arrived(self, _channel: Channel, _method: Basic.Deliver, _properties: BasicProperties, body: bytes) -> None:
        if self._put - self._taken >= MAX_BACKLOG:
            self._tell_gap()
            return
        self._put += 1
        self._dispatcher.put(self, body)

    def _tell_gap(self) -> None:
        # One that waits to be told covers all that is missed until it is told.
        if not self._gap_told:
            self._gap_told = True
            self._dispatcher.put(self, None)

    def _closed(self, channel: Channel, error: BaseException) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        connection = self._connection
        if self.cancelled or connection is None or not connection.is_open:
            return  # the link sets it up again on its next connection
        if not self._began:
            self.error = LibvirtError(c.VIR_ERR_ACCESS_DENIED, "the broker refuses a subscription to "
                                      f"{', '.join(self.keys)}: {life.cause(error)}", domain=c.VIR_FROM_RPC)
            self.cancelled = True
            self.decided.set()
            return
        log.warning("subscription to %s lost: %s", ", ".join(self.keys), life.cause(error))
        connection.ioloop.call_later(RETRY, lambda: self.open(connection))
