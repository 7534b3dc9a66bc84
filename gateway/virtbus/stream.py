"""The events of one service in order, each once, with what was missed fetched from the service.

Events are numbered by the service (law 5: none is lost), may arrive twice, and may be missing after a reconnect. This
is where numbers become a promise: ``deliver`` gets each event in order, or ``gap`` is told that some are gone for
good. Whatever arrives goes through one inbox that one thread at a time empties. Fetching takes a thread of its own,
because the door's thread, which brings the events, serves other connections too and must not wait.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from virtbus.channel import Channel
from virtbus_shared.api import common
from virtbus_shared.envelope import EventMessage
from virtbus_shared.errors import LibvirtError

log = logging.getLogger("virtbus.events")

PAGE = 1000  # events fetched by one call
RETRY = 0.5  # seconds until a failed fetch is tried again; doubles
MAX_RETRY = 30.0  # seconds

Deliver = Callable[[EventMessage], None]
Gap = Callable[[str, int, int], None]  # (epoch, last number seen, first number still known)


class EventStream:
    """One subscription to one service. ``deliver`` and ``gap`` run in changing threads, never two at a time."""

    def __init__(self, channel: Channel, service: str, deliver: Deliver, gap: Gap) -> None:
        self._channel = channel
        self._service = service
        self._deliver = deliver
        self._gap = gap
        self._lock = threading.Lock()
        self._inbox: deque[bytes | None] = deque()  # None says that something may be missing
        self._busy = True  # somebody empties the inbox, or it waits for the start
        self._closed = threading.Event()
        self._epoch = ""
        self._last = 0
        # Subscribed first, asked for the last number then: what happens in between is in the inbox.
        self._cancel = channel.subscribe(service, self._arrived, lambda: self._arrived(None))
        try:
            page = self._fetch(limit=1)
        except BaseException:
            self.close()
            raise
        self._epoch, self._last = page.epoch, page.last
        self._empty_inbox()

    def close(self) -> None:
        """Deliver nothing more."""
        self._closed.set()
        self._cancel()

    def _arrived(self, item: bytes | None) -> None:
        with self._lock:
            self._inbox.append(item)
            if self._busy:
                return
            self._busy = True
        self._empty_inbox()

    def _empty_inbox(self) -> None:
        """Deal with what arrived; only the thread that made ``_busy`` true comes here."""
        while True:
            with self._lock:
                if not self._inbox or self._closed.is_set():
                    self._busy = False
                    return
                item = self._inbox.popleft()
            if not self._in_order(item):
                # Still busy: what arrives meanwhile waits for this thread.
                threading.Thread(target=self._catch_up, name="virtbus catches up", daemon=True).start()
                return

    def _in_order(self, item: bytes | None) -> bool:
        """Deliver an event that is next; False if something is missing before it, which will bring this one too."""
        if item is None:
            return False
        try:
            event = EventMessage.decode(item)
            if event.name.partition(".")[0] != self._service:
                return True
            if event.epoch != self._epoch or event.sequence > self._last + 1:
                return False
        except (LibvirtError, TypeError, AttributeError) as e:
            log.warning("an event of %s cannot be read: %s", self._service, e)
            return True
        self._next(event)
        return True

    def _next(self, event: EventMessage) -> None:
        if event.sequence == self._last + 1:  # else it came before
            self._last = event.sequence
            self._deliver(event)

    def _catch_up(self) -> None:
        """Fetch and deliver what was missed, however long the service is away."""
        delay = RETRY
        while not self._closed.is_set():
            try:
                if self._next_page():
                    break
                delay = RETRY
            except LibvirtError as e:
                log.info("missed events of %s cannot be fetched yet: %s", self._service, e)
                self._closed.wait(delay)
                delay = min(2 * delay, MAX_RETRY)
        self._empty_inbox()

    def _next_page(self) -> bool:
        """Deliver one page of what was missed; True if it was the last."""
        page = self._fetch(limit=PAGE)
        if self._closed.is_set():
            return True
        events = [EventMessage.decode(body) for body in page.events]
        if page.gap:
            first = events[0].sequence if events else page.last + 1
            self._gap(self._epoch, self._last, first)
            self._epoch, self._last = page.epoch, first - 1
        for event in events:
            self._next(event)
        return self._last >= page.last

    def _fetch(self, limit: int) -> common.Events:
        return self._channel.call(common.LIST_EVENTS[self._service], common.EventsSince(
            epoch=self._epoch, sequence=self._last, limit=limit))
