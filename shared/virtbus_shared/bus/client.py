"""The calling half: synchronous calls from any thread over one connection, and subscriptions to events.

One I/O thread owns the connection (``link``); callers only put bytes into an outbox and sleep until their reply wakes
them (``calls``), so that many threads share writes as well as the connection. Bodies are bytes here; what they mean
is the envelope's business.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from virtbus_shared import constants as c
from virtbus_shared.bus import connection as life
from virtbus_shared.bus import topology
from virtbus_shared.bus.calls import Call, Calls, check_deadline, closed_error, timed_out
from virtbus_shared.bus.link import Link
from virtbus_shared.bus.subscription import Dispatcher, Subscription
from virtbus_shared.envelope import MAX_BODY, MAX_ID
from virtbus_shared.errors import LibvirtError

SUBSCRIBE_TIMEOUT = 10.0  # seconds

__all__ = ["BusClient", "Subscription"]


class BusClient:
    """A connection to the bus for the threads of one process; it connects when it is first used.

    ``url`` is one ``amqp://`` or ``amqps://`` URL or several separated by commas. After a fork the child must open
    its own: the parent's is refused there.
    """

    def __init__(self, url: str, name: str = "virtbus") -> None:
        self._parameters = life.parameters(url, f"{name} (pid {os.getpid()})")
        self._name = name
        self._pid = os.getpid()
        self._calls = Calls()
        self._dispatcher = Dispatcher(name)
        self._opening = threading.Lock()
        self._link: Link | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether a call would be sent at once."""
        link = self._link
        return link is not None and link.ready and not self._closed

    @property
    def unknown_replies(self) -> int:
        """Replies that nobody waited for: their callers had given up, or had been answered already."""
        return self._calls.unknown_replies

    def call(self, node: str, procedure: str, request_id: str, body: bytes, deadline: float) -> bytes:
        """Send a command to a node's service and return the body of its reply.

        ``deadline`` is in Unix seconds. Raises ``LibvirtError``: ``VIR_ERR_SYSTEM_ERROR`` if the broker or the service
        cannot be reached, ``VIR_ERR_AUTH_FAILED`` or ``VIR_ERR_ACCESS_DENIED`` if the broker refuses,
        ``VIR_ERR_OPERATION_TIMEOUT`` after the deadline (the outcome is unknown then, and can be asked for by the
        request's id), ``VIR_ERR_RESOURCE_BUSY`` if too much is under way.
        """
        call = Call(topology.check_node(node), procedure, request_id, body, deadline)
        self._send(call)
        try:
            call.lock.acquire(timeout=_left(deadline))
        finally:  # also when the wait was interrupted
            if not call.woken and not self._calls.forget(call):
                call.lock.acquire()  # something else is ending it in this very moment
            if self._calls.leave(call) and (link := self._link) is not None:
                link.wake()
        if not call.woken:
            raise timed_out(call, self._link.trouble if self._link else None)
        if call.error is not None:
            raise call.error
        assert call.reply is not None
        return call.reply

    def gather(self, service: str, procedure: str, request_id: str, body: bytes, deadline: float,
               on_reply: Callable[[bytes], object]) -> int:
        """Send one command to a service on every node and hand over replies as they come; return their number.

        ``on_reply`` runs in this thread; when it answers true, enough has come. Otherwise the call ends at the
        deadline: nobody knows how many nodes there are. It ends at once, with 0, if there is none.
        """
        if procedure.partition(".")[0] != service:
            raise LibvirtError(c.VIR_ERR_INVALID_ARG, f"procedure {procedure!r} is not of service {service!r}",
                               domain=c.VIR_FROM_RPC)
        call = Call(topology.ALL_NODES, procedure, request_id, body, deadline)
        call.replies = SimpleQueue()
        self._send(call)
        count = 0
        try:
            while True:
                try:
                    reply = call.replies.get(timeout=_left(deadline))
                except Empty:
                    return count
                if reply is None:
                    return count
                if isinstance(reply, LibvirtError):
                    raise reply
                count += 1
                if on_reply(reply):
                    return count
        finally:
            self._calls.forget(call)

    def subscribe(self, keys: Sequence[str], callback: Callable[[bytes], None],
                  on_gap: Callable[[], None]) -> Subscription:
        """Have ``callback`` called with the body of each event whose key matches one of ``keys``.

        Keys are AMQP topics (``node-a.domain.lifecycle``, ``node-a.#``). When this returns, no later event is missed
        silently: after a reconnect, or when the callback is too slow, ``on_gap`` is called and the owner fetches what
        it may have missed. Callbacks of all subscriptions run in one thread, in order, and may make calls.
        """
        link = self._ready_link(SUBSCRIBE_TIMEOUT)
        subscription = Subscription(keys, callback, on_gap, self._dispatcher, self._unsubscribe)
        self._dispatcher.start()
        link.run(lambda: link.add(subscription))
        if not subscription.decided.wait(SUBSCRIBE_TIMEOUT):
            subscription.cancel()
            raise LibvirtError(c.VIR_ERR_OPERATION_TIMEOUT, f"the broker has not confirmed a subscription to "
                               f"{', '.join(keys)} within {SUBSCRIBE_TIMEOUT:.0f} s", domain=c.VIR_FROM_RPC)
        if subscription.error is not None:
            raise subscription.error
        return subscription

    def close(self) -> None:
        """End all calls with an error and all subscriptions, and close the connection.

        From any thread, from a callback, at exit of the interpreter, and as often as one likes.
        """
        if os.getpid() != self._pid:
            return  # the connection is the parent's, and so are its threads
        with self._opening:
            link, self._link = self._link, None
            self._closed = True
        atexit.unregister(self.close)
        self._calls.close(closed_error())
        self._dispatcher.stop()
        if link is not None:
            link.close()

    def _send(self, call: Call) -> None:
        if len(call.body) > MAX_BODY:
            raise LibvirtError(c.VIR_ERR_RPC, f"a call of {len(call.body)} bytes; at most {MAX_BODY} are accepted",
                               domain=c.VIR_FROM_RPC)
        if not 0 < len(call.id) <= MAX_ID or not call.id.isascii():
            raise LibvirtError(c.VIR_ERR_RPC, f"a request id must have 1 to {MAX_ID} ASCII characters",
                               domain=c.VIR_FROM_RPC)
        check_deadline(call)
        link = self._ready_link(_left(call.deadline))
        if link.blocked is not None:
            raise LibvirtError(c.VIR_ERR_RESOURCE_BUSY, f"the broker takes no commands for now: {link.blocked}",
                               domain=c.VIR_FROM_RPC)
        if self._calls.admit(call):
            link.wake()

    def _ready_link(self, seconds: float) -> Link:
        if os.getpid() != self._pid:
            raise LibvirtError(c.VIR_ERR_OPERATION_INVALID, f"a connection opened in process {self._pid} cannot be "
                               f"used in process {os.getpid()}, its child: open another", domain=c.VIR_FROM_RPC)
        link = self._link
        if link is None:
            with self._opening:
                if self._closed:
                    raise closed_error()
                link = self._link
                if link is None:
                    link = Link(self._parameters, self._calls, self._name)
                    link.open(seconds)
                    self._link = link
                    atexit.register(self.close)
        return link

    def _unsubscribe(self, subscription: Subscription) -> None:
        link = self._link
        if link is not None and os.getpid() == self._pid:
            link.run(lambda: link.remove(subscription))


def _left(deadline: float) -> float:
    """Seconds that a thread may sleep until a deadline."""
    return min(max(0.0, deadline - time.time()), threading.TIMEOUT_MAX)
