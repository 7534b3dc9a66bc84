"""Learns the figures of objects in the background, so that a scrape finds them in memory.

Each object is asked by itself, within a deadline and never twice at a time: a hung one loses its own figures and
nobody else's. Figures that are too old are left out, which Prometheus shows as a gap; repeating them would show a rate
of zero. What is known without asking (name, state, configured sizes) is always there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol

from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.change import EventRecord
from virtbus_shared.service.collection import A, Collection, S, T, freshness_rows
from virtbus_shared.service.driver import CallObserver
from virtbus_shared.service.snapshot import Text, header

log = logging.getLogger("virtbus.collector")

DEADLINE = 2.0  # seconds for one object
STALE_INTERVALS = 3  # after so many intervals figures are too old to be shown
LONGEST_BACKOFF = 5  # intervals that are left out after an object has missed its deadline again and again
SERIES_CAP = 200_000  # per service
_CHUNK = 10  # objects that are asked at once; the others wait, so that requests come in between
_PACE = 0.05  # seconds between chunks, less when there are many

class CollectorObserver(CallObserver, Protocol):
    """What counts the collector's own work; the machinery metrics implement it."""

    def collected(self, collector: str, *, success: bool, seconds: float, dropped: int) -> None:
        """A pass ended."""


@dataclass(frozen=True, slots=True)
class _Published:
    """What a scrape shows of one object: replaced as a whole, for scrapes run in other threads."""

    known: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()
    at: float = 0.0  # Unix seconds of the last success, 0 before the first
    cut: bool = False


class _Entry:
    """One object between passes."""

    __slots__ = ("identity", "instance", "misses", "outstanding", "published", "skip", "stamp", "text")

    def __init__(self, labels: tuple[str, ...], identity: tuple[str, ...]) -> None:
        self.identity = identity
        self.text = Text(labels, identity)
        self.stamp: Hashable | None = None
        self.instance: Hashable | None = None
        self.published = _Published()
        self.outstanding: asyncio.Task[object] | None = None
        self.misses = 0
        self.skip = 0  # passes to leave out

    def publish(self, *, known: tuple[str, ...] | None = None, measured: tuple[str, ...] | None = None,
                at: float | None = None, cut: bool | None = None) -> None:
        """Show something new, and the rest as before."""
        old = self.published
        self.published = _Published(old.known if known is None else known,
                                    old.measured if measured is None else measured,
                                    old.at if at is None else at, old.cut if cut is None else cut)

    def missed(self) -> None:
        """It did not answer: ask less often."""
        self.misses += 1
        self.skip = min(2 ** min(self.misses, 8) - 1, LONGEST_BACKOFF)

    def new_run(self, instance: Hashable | None) -> None:
        """Figures of another run are not this one's."""
        self.instance = instance
        self.misses = self.skip = 0
        self.publish(measured=())
        if self.outstanding is not None:
            self.outstanding.cancel()


class Collector(Generic[T, S, A]):
    """Runs over a collection again and again, and renders what it has learnt."""

    def __init__(self, collection: Collection[T, S, A], observer: CollectorObserver, *,
                 disabled: frozenset[str] = frozenset(), interval: float | None = None, deadline: float = DEADLINE,
                 cap: int = SERIES_CAP, clock: Callable[[], float] = time.time) -> None:
        self._collection = collection
        self._observer = observer
        self._interval = interval or collection.interval
        self._deadline = deadline
        self._cap = cap
        self._clock = clock
        self._known = tuple(row for row in collection.known if row.group not in disabled)
        self._measured = tuple(row for row in collection.measured if row.group not in disabled)
        self._totals = tuple(row for row in collection.totals if row.group not in disabled)
        self._entries: dict[str, _Entry] = {}
        self._summary: tuple[str, ...] = tuple("" for _ in self._totals)
        self._outstanding: set[asyncio.Task[S | None]] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def stale_after(self) -> float:
        """Seconds after which figures are not shown any more."""
        return STALE_INTERVALS * self._interval

    def happened(self, events: Sequence[EventRecord]) -> None:
        """A change with these events was written."""
        for event in events:
            self._collection.happened(event)

    def start(self) -> None:
        """Begin with the first pass."""
        self._task = asyncio.create_task(self._run(), name=f"collector {self._collection.name}")

    async def stop(self) -> None:
        """Give up what is under way."""
        tasks: list[asyncio.Task[None] | asyncio.Task[S | None]] = [*self._outstanding]
        if self._task is not None:
            tasks.append(self._task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            await self.collect()
            await asyncio.sleep(max(0.0, self._interval - (time.monotonic() - began)))

    # -- a pass -----------------------------------------------------------------------------------------------------

    async def collect(self) -> None:
        """One pass over all objects. Never raises."""
        began = time.perf_counter()
        success, dropped = False, 0
        try:
            subjects = await self._take_in()
            asked = [s for s in subjects if self._is_due(s)]
            answers = await self._ask(asked)
            self._summary = Text((), ()).lines(self._totals, self._collection.whole(subjects), keep=False)
            dropped = self._cut()
            success = not asked or any(answers)
        except Exception:
            log.exception("the collector %s failed", self._collection.name)
        self._observer.collected(self._collection.name, success=success, seconds=time.perf_counter() - began,
                                 dropped=dropped)

    async def _take_in(self) -> list[T]:
        """What is known of every object; objects that are gone are forgotten."""
        subjects: dict[str, T] = {}
        for number, subject in enumerate(self._collection.subjects()):
            if number % _CHUNK == 0:
                await asyncio.sleep(0)
            # The same UUID on two connections would be the same series twice, which spoils the whole page.
            if subject.key not in subjects:
                subjects[subject.key] = subject
                self._take_in_one(subject)
        for key in self._entries.keys() - subjects.keys():
            self._entries.pop(key).new_run(None)
        return list(subjects.values())

    def _take_in_one(self, subject: T) -> None:
        entry = self._entries.get(subject.key)
        if entry is None or entry.identity != subject.identity:
            if entry is not None:
                entry.new_run(None)
            entry = _Entry(self._collection.labels, subject.identity)
        if entry.instance != subject.instance:
            entry.new_run(subject.instance)
        stamp = subject.stamp()
        if stamp is None or stamp != entry.stamp or not entry.published.known:
            entry.stamp = stamp
            entry.publish(known=entry.text.lines(self._known, subject, keep=False))
        self._entries[subject.key] = entry

    def _is_due(self, subject: T) -> bool:
        entry = self._entries[subject.key]
        if entry.outstanding is not None:
            self._collection.missed(subject)
            return False
        if subject.instance is None:
            return False
        if entry.skip:
            entry.skip -= 1
            return False
        return True

    async def _ask(self, subjects: Sequence[T]) -> list[bool]:
        """Ask these objects; spread over half an interval at most, so that requests are not held up."""
        chunks = [subjects[i:i + _CHUNK] for i in range(0, len(subjects), _CHUNK)]
        pace = min(_PACE, self._interval / 2 / max(1, len(chunks)))
        tasks: list[asyncio.Task[bool]] = []
        try:
            for number, chunk in enumerate(chunks):
                if number:
                    await asyncio.sleep(pace)
                tasks += [asyncio.create_task(self._refresh(self._entries[s.key], s)) for s in chunk]
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            raise

    async def _refresh(self, entry: _Entry, subject: T) -> bool:
        """Ask one object. What is late is not stopped, for it may not be possible to stop it; it is waited for."""
        began = time.perf_counter()
        work: asyncio.Task[S | None] = asyncio.create_task(self._collection.measure(subject))
        entry.outstanding = work
        self._outstanding.add(work)
        await asyncio.wait([work], timeout=self._deadline)
        if not work.done():
            entry.missed()
            self._collection.missed(subject)
            self._observer.stuck(subject.scheme, +1)
            work.add_done_callback(lambda task: self._came_late(entry, subject.scheme, task))
            outcome = "timeout"
        else:
            self._outstanding.discard(work)
            entry.outstanding = None
            outcome = self._take(entry, subject, work)
        self._observer.driver_call(subject.scheme, "statistics", outcome, time.perf_counter() - began)
        return outcome == "ok"

    def _take(self, entry: _Entry, subject: T, work: asyncio.Task[S | None]) -> str:
        failure = None if work.cancelled() else work.exception()
        if work.cancelled() or failure is not None or entry.instance != subject.instance:
            if failure is not None:
                entry.missed()
                known = isinstance(failure, LibvirtError)
                log.log(logging.DEBUG if known else logging.ERROR, "%s %s cannot be measured: %s",
                        self._collection.name, subject.identity[:1], failure, exc_info=None if known else failure)
            return "error"
        entry.misses = 0
        figures = work.result()
        if figures is not None:
            entry.publish(measured=entry.text.lines(self._measured, figures, keep=True), at=self._clock())
        return "ok"

    def _came_late(self, entry: _Entry, scheme: str, work: asyncio.Task[S | None]) -> None:
        """An answer of an unknown age: it only tells that the object may be asked again."""
        self._outstanding.discard(work)
        self._observer.stuck(scheme, -1)
        if entry.outstanding is work:
            entry.outstanding = None
            entry.skip = 0
        if not work.cancelled():
            work.exception()  # heard, so that asyncio does not report it as forgotten

    def _cut(self) -> int:
        """Keep the number of series bounded: what is beyond the cap is left out, whole objects at a time."""
        total = dropped = 0
        for entry in self._entries.values():
            shown = entry.published
            count = sum(lines.count("\n") for lines in (*shown.known, *shown.measured))
            cut = total + count > self._cap
            total, dropped = (total, dropped + count) if cut else (total + count, dropped)
            if cut != shown.cut:
                entry.publish(cut=cut)
        return dropped

    # -- a scrape ---------------------------------------------------------------------------------------------------

    def render(self, *, openmetrics: bool) -> str:
        """The page's part of this collection. Runs in any thread, and reads nothing but memory."""
        now = self._clock()
        shown = [(e.text, e.published, e.instance is not None) for e in tuple(self._entries.values())]
        shown = [entry for entry in shown if not entry[1].cut]
        fresh = [runs and bool(p.measured) and now - p.at <= self.stale_after for _, p, runs in shown]
        out: list[str] = []
        for number, total in enumerate(self._totals):
            out += (total.header(openmetrics=openmetrics), self._summary[number])
        for number, row in enumerate(self._known):
            out.append(row.header(openmetrics=openmetrics))
            out += [p.known[number] for _, p, _ in shown if p.known]
        if prefix := self._collection.freshness:
            up, stamp = freshness_rows(prefix)
            out.append(header(*up, openmetrics=openmetrics))
            out += [f"{up[0]}{text.label_text()} {is_fresh:d}\n"
                    for (text, _, _), is_fresh in zip(shown, fresh, strict=True)]
            out.append(header(*stamp, openmetrics=openmetrics))
            out += [f"{stamp[0]}{text.label_text()} {p.at!r}\n" for text, p, _ in shown if p.at]
        figures = [p.measured for (_, p, _), is_fresh in zip(shown, fresh, strict=True) if is_fresh]
        for number, measured in enumerate(self._measured):
            out.append(measured.header(openmetrics=openmetrics))
            out += [lines[number] for lines in figures]
        return "".join(out)
