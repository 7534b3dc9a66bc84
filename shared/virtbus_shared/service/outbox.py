"""Carries events from the store to their subscribers, in order, until each is confirmed.

An event is in the store from the moment of its change (law 5), and synced before it is published: a number that a
subscriber has seen must not be given out a second time after a power cut. This task publishes what is not confirmed
yet, marks what is, and starts again after a failure; after a crash or a broker's absence it goes on where it was. What
follows an event that was not confirmed is published again with it, so that the last that a subscriber hears is the
newest. An event may thus be published twice: subscribers know by its number.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable

from virtbus_shared.envelope import EventMessage
from virtbus_shared.service.metrics import ServiceMetrics
from virtbus_shared.service.store import Store, StoredEvent

log = logging.getLogger("virtbus.outbox")

BATCH = 256  # events published before their confirms are awaited
RETRY = 1.0  # seconds until an event that the broker did not take is tried again
KEEP_EVENTS = 10_000  # published events kept for subscribers that resume
KEEP_REQUESTS = 24 * 3600.0  # seconds that the outcome of a request is remembered
PRUNE_EVERY = 60.0  # seconds

Publish = Callable[[EventMessage], Awaitable[None]]


class Outbox:
    """The publishing task of one service. ``publish`` returns when the event is confirmed, and raises if it is not."""

    def __init__(self, store: Store, node: str, metrics: ServiceMetrics, publish: Publish) -> None:
        self._store = store
        self._node = node
        self._metrics = metrics
        self._publish = publish
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin, with what an earlier run left unconfirmed."""
        _, last, _ = await self._store.events_after(0, 0)
        self._metrics.events_written(last)
        self._news.set()
        self._tasks = [asyncio.create_task(self._run(), name="outbox"),
                       asyncio.create_task(self._prune(), name="prune")]

    async def stop(self) -> None:
        """Stop; what is not confirmed waits in the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def written(self, last: int) -> None:
        """A change was written; ``last`` is the number of its last event, 0 without events."""
        if last:
            self._metrics.events_written(last)
            self._news.set()

    def message(self, event: StoredEvent) -> EventMessage:
        """A stored event as its subscribers get it."""
        driver, _, path = event.scope.partition("://")
        return EventMessage(event.name, self._node, driver, path, self._store.epoch, event.sequence, event.time,
                            event.body)

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                while not await self._publish_some():
                    pass
                self._metrics.oldest_unpublished = None
            except sqlite3.Error:
                # A full disk passes. Until then nothing is published twice as often as it must be.
                log.exception("the store fails; its events wait")
                self._news.set()
                await asyncio.sleep(RETRY)

    async def _publish_some(self) -> bool:
        """Publish the oldest events that wait; whether they were all. Looking once more to be sure would cost a sync:
        what comes later is told by ``written``."""
        batch = await self._store.unpublished(BATCH)
        if not batch:
            return True
        self._metrics.oldest_unpublished = batch[0].sequence, batch[0].time
        if await self._publish_batch(batch):
            return len(batch) < BATCH
        await asyncio.sleep(RETRY)
        return False

    async def _publish_batch(self, batch: list[StoredEvent]) -> bool:
        """Publish events and mark those that were confirmed, up to the first that was not; whether all were."""
        results = await asyncio.gather(*(self._publish(self.message(e)) for e in batch), return_exceptions=True)
        failed = next((i for i, failure in enumerate(results) if failure is not None), len(batch))
        if failed:
            await self._store.mark_published(batch[failed - 1].sequence)
        for event in batch[:failed]:
            self._metrics.published[event.name].inc()
        if failed < len(batch):
            log.info("event %d was not taken (%s); trying again", batch[failed].sequence, results[failed])
        return failed == len(batch)

    async def _prune(self) -> None:
        while True:
            try:
                await self._store.prune(KEEP_REQUESTS, KEEP_EVENTS)
                self._metrics.result_store_entries.set(await self._store.journal_size())
            except sqlite3.Error:
                log.exception("the store fails; what is old stays")
            await asyncio.sleep(PRUNE_EVERY)
