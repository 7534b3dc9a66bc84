"""The store writes all of a change or none of it, in the order in which it was asked, and survives a full disk."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from virtbus_shared.api import domain as api
from virtbus_shared.service.change import Change
from virtbus_shared.service.store import JournalEntry, Store

SCOPE = "test:///default"
EVENT = api.LifecycleBody(domain=api.Domain(name="a", uuid="u", id=-1), event=0, detail=0)


def change(uid: str = "", *, events: int = 0, size: int = 10) -> Change:
    """A change with a record, some events, or both."""
    made = Change(SCOPE)
    if uid:
        made.put("domain", uid, {"text": "x" * size})
    for _ in range(events):
        made.event(api.LIFECYCLE, EVENT)
    return made


def entry(request_id: str, **others: Any) -> JournalEntry:
    """A request that has just begun."""
    return JournalEntry(**{"id": request_id, "procedure": "domain.create", "scope": SCOPE, "digest": b"d",
                           "args": b"\x80", "caller": "t", "deadline": 1e10, "received": time.time(), **others})


def run(path: Path | None, scenario: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
    """Open a store, run a scenario, close it."""
    async def both() -> None:
        store = Store(path)
        try:
            await scenario(store)
        finally:
            store.close()

    asyncio.run(both())


@pytest.fixture(params=["file", "memory"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Both kinds of store: one that lasts and one that does not."""
    return tmp_path / "deep" / "virtbus.db" if request.param == "file" else None


def test_a_change_and_the_end_of_its_request_are_one(path: Path | None) -> None:
    """Objects, events and outcome are there together once the write has ended."""
    async def scenario(store: Store) -> None:
        assert await store.begin(entry("r")) is None
        assert await store.write(change("u1", events=2), ("r", False, b"reply")) == 2
        assert list(store.load(SCOPE, "domain")) == [("u1", {"text": "x" * 10})]
        known = await store.find("r")
        assert known is not None
        assert (known.failed, known.reply) == (False, b"reply")
        assert known.finished is not None
        assert [e.sequence for e in await store.unpublished(10)] == [1, 2]

    run(path, scenario)


def test_a_request_begins_once(path: Path | None) -> None:
    """A second beginning gives the first one's entry, and one that was retried says how often."""
    async def scenario(store: Store) -> None:
        first = entry("名前")
        assert await store.begin(first) is None
        assert await store.begin(entry("名前", digest=b"other")) == first
        await store.retry("名前")
        again = await store.find("名前")
        assert again is not None
        assert again.attempts == 2
        assert await store.find("nobody") is None
        assert [e.id for e in await store.unfinished()] == ["名前"]

    run(path, scenario)


def test_objects_are_replaced_deleted_and_kept_apart(path: Path | None) -> None:
    """A record belongs to its connection and kind; the last one counts."""
    async def scenario(store: Store) -> None:
        await store.write(change("u1"))
        await store.write(change("u1", size=3))
        other = Change("qemu:///system")
        other.put("domain", "u1", {"text": "other"})
        await store.write(other)
        assert list(store.load(SCOPE, "domain")) == [("u1", {"text": "xxx"})]
        gone = Change(SCOPE)
        gone.delete("domain", "u1")
        await store.write(gone)
        assert list(store.load(SCOPE, "domain")) == []
        assert list(store.load("qemu:///system", "domain")) == [("u1", {"text": "other"})]
        assert list(store.load("qemu:///system", "network")) == []

    run(path, scenario)


def test_numbers_have_no_gaps_under_load(path: Path | None) -> None:
    """A thousand writes at once, every third of which fails, number their events 1, 2, 3 ... in order."""
    async def scenario(store: Store) -> None:
        def fails(db: sqlite3.Connection) -> int:
            db.execute("INSERT INTO outbox (name, scope, time, body) VALUES ('x', 'x', 0, x'80')")
            raise ValueError("on purpose")

        writes = [store.submit(fails) if n % 3 == 0 else store.write(change(events=1), durable=n % 2 == 0)
                  for n in range(1000)]
        results = await asyncio.gather(*writes, return_exceptions=True)
        numbers = [r for r in results if isinstance(r, int)]
        assert numbers == list(range(1, 667))
        assert sum(isinstance(r, ValueError) for r in results) == 334
        assert [e.sequence for e in await store.unpublished(2000)] == numbers

    run(path, scenario)


def test_one_failing_job_does_not_take_its_neighbours_with_it(path: Path | None) -> None:
    """Jobs that share a commit fail alone, and leave nothing behind."""
    async def scenario(store: Store) -> None:
        def fails(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM objects")
            raise KeyError("on purpose")

        good, bad, after = store.write(change("u1")), store.submit(fails), store.write(change("u2"))
        with pytest.raises(KeyError):
            await bad
        await asyncio.gather(good, after)
        assert [uid for uid, _ in store.load(SCOPE, "domain")] == ["u1", "u2"]

    run(path, scenario)


def test_a_failing_job_alone_leaves_nothing_and_pays_no_debt(tmp_path: Path) -> None:
    """Alone in its commit it is undone just so; and a commit that was left to the next sync still waits for one."""
    async def scenario(store: Store) -> None:
        def fails(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM objects")
            raise KeyError("on purpose")

        def syncs(db: sqlite3.Connection) -> int:
            return int(db.execute("SELECT value FROM meta WHERE key = 'syncs'").fetchone()[0])

        await store.write(change("u1"), durable=False)
        with pytest.raises(KeyError):
            await store.submit(fails)
        assert [uid for uid, _ in store.load(SCOPE, "domain")] == ["u1"]
        assert await store.submit(syncs, durable=False) == 0
        assert await store.submit(syncs) == 1, "a commit that must be synced writes something"

    run(tmp_path / "virtbus.db", scenario)


def test_the_log_has_its_size_from_the_beginning(tmp_path: Path) -> None:
    """No sync has to write down that the file became longer; and nothing of what made it long is kept."""
    path = tmp_path / "virtbus.db"
    log = path.with_name("virtbus.db-wal")

    async def scenario(store: Store) -> None:
        size = log.stat().st_size
        for n in range(50):
            await store.begin(entry(f"r{n}"))
            await store.write(change(f"u{n % 3}", events=2), (f"r{n}", False, b"reply"), durable=False)
        assert log.stat().st_size == size
        assert await store.submit(lambda db: dict(db.execute("SELECT key, 1 FROM meta"))) == {
            "schema": 1, "epoch": 1, "syncs": 1}

    run(path, scenario)
    assert path.stat().st_size < 1_000_000


def test_a_full_disk_is_an_error_and_passes(tmp_path: Path) -> None:
    """Nothing of a write that does not fit is kept; when there is room again the same store goes on, without a gap."""
    async def scenario(store: Store) -> None:
        await store.write(change("u0", events=1))
        pages = await store.submit(lambda db: int(db.execute("PRAGMA page_count").fetchone()[0]))
        await store.submit(lambda db: db.execute(f"PRAGMA max_page_count = {pages + 2}"))
        await store.begin(entry("r"))
        with pytest.raises(sqlite3.OperationalError, match="full"):
            await store.write(change("u1", events=1, size=1_000_000), ("r", False, b"reply"))
        known = await store.find("r")
        assert known is not None
        assert known.finished is None
        assert [uid for uid, _ in store.load(SCOPE, "domain")] == ["u0"]
        await store.submit(lambda db: db.execute("PRAGMA max_page_count = 100000"))
        assert await store.write(change("u1", events=1, size=1_000_000), ("r", False, b"reply")) == 2

    run(tmp_path / "virtbus.db", scenario)


def test_the_epoch_and_the_numbers_outlive_a_restart(tmp_path: Path) -> None:
    """The same file goes on counting under the same epoch, even when every event was forgotten; a new file does not."""
    epochs: list[str] = []

    async def scenario(store: Store) -> None:
        epochs.append(store.epoch)
        last = await store.write(change(events=3))
        assert last == 3 * len(epochs)
        await store.mark_published(last)
        await store.prune(0, 0)
        assert await store.unpublished(10) == []

    run(tmp_path / "virtbus.db", scenario)
    run(tmp_path / "virtbus.db", scenario)
    assert epochs[0] == epochs[1]

    async def fresh(store: Store) -> None:
        assert store.epoch != epochs[0]

    run(tmp_path / "other.db", fresh)


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    """A service that was set back to an older version leaves the data of the newer one alone."""
    async def newer(store: Store) -> None:
        await store.submit(lambda db: db.execute("UPDATE meta SET value = 99 WHERE key = 'schema'"))

    run(tmp_path / "virtbus.db", newer)
    with pytest.raises(RuntimeError, match="schema 99, made by a newer virtbus; this one knows 1"):
        Store(tmp_path / "virtbus.db")


def test_pruning_keeps_what_may_still_be_asked_for(path: Path | None) -> None:
    """Old outcomes and old published events go; running requests, fresh outcomes and unpublished events stay."""
    async def scenario(store: Store) -> None:
        for request_id in ("old", "fresh", "running"):
            await store.begin(entry(request_id))
        await store.begin(entry("interrupted long ago", deadline=5.0))
        for request_id in ("old", "fresh"):
            await store.write(change(events=2), (request_id, False, b""))
        await store.submit(lambda db: db.execute("UPDATE journal SET finished = 5 WHERE id = 'old'"))
        await store.mark_published(3)
        await store.prune(60, 1)
        assert await store.journal_size() == 2
        assert await store.find("old") is await store.find("interrupted long ago") is None
        assert [(first, last, [e.sequence for e in events]) for first, last, events
                in [await store.events_after(0, 10)]] == [(4, 4, [4])]

    run(path, scenario)


def test_events_come_in_pieces_from_any_number(path: Path | None) -> None:
    """A subscriber that resumes gets what follows its number, as many as it asked for, and the ends of what is kept."""
    async def scenario(store: Store) -> None:
        assert await store.events_after(0, 10) == (0, 0, [])
        await store.write(change(events=5))
        first, last, events = await store.events_after(2, 2)
        assert (first, last, [e.sequence for e in events]) == (1, 5, [3, 4])
        assert [e.body["domain"]["name"] for e in events] == ["a", "a"]

    run(path, scenario)


def test_closing_ends_what_was_submitted(tmp_path: Path) -> None:
    """A stop in good order loses no write that was handed over before it."""
    async def scenario() -> None:
        store = Store(tmp_path / "virtbus.db")
        writes = [store.write(change(f"u{n}"), durable=False) for n in range(50)]
        await asyncio.to_thread(store.close)
        await asyncio.gather(*writes)

    asyncio.run(scenario())
    again = Store(tmp_path / "virtbus.db")
    assert len(list(again.load(SCOPE, "domain"))) == 50
    again.close()
