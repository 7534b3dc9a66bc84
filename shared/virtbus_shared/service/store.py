"""The state of one service: one SQLite database with its objects, its journal and its outbox.

Everything that an operation changes is one transaction, so no crash leaves half of it (laws 1, 5, 6). The database is
in WAL mode with full sync: what was committed survives a power cut. A commit waits for the disk, so one thread of the
store's own does it, never the event loop; operations that arrive while the disk works share the next commit (group
commit), which keeps the cost of a sync per operation low under load. A store without a path lives in memory: it is
written in the caller's own step, since nothing there can wait.

Not every commit needs a sync of its own. The outcome of an operation whose effect can be seen (a guest runs, or does
not) survives the crash of this process without one, and after a power cut the journal's beginning, which was synced,
makes the service look. Such a commit says ``durable=False``; its events are not published before the next sync.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgpack

from virtbus_shared.service.change import Change, EventRecord

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

SCHEMA_VERSION = 1
_LOG_SIZE = 4_500_000  # bytes: SQLite goes back to the log's beginning after 1000 pages of 4 KiB
_CACHE_KIB = 2000  # SQLite's default
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
    scope TEXT NOT NULL, kind TEXT NOT NULL, uuid TEXT NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (scope, kind, uuid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (
    id TEXT PRIMARY KEY, procedure TEXT NOT NULL, scope TEXT NOT NULL, digest BLOB NOT NULL, args BLOB NOT NULL,
    caller TEXT NOT NULL, deadline REAL NOT NULL, received REAL NOT NULL, attempts INTEGER NOT NULL,
    finished REAL, failed INTEGER, reply BLOB) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS journal_finished ON journal (finished);
CREATE TABLE IF NOT EXISTS outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, scope TEXT NOT NULL, time REAL NOT NULL,
    body BLOB NOT NULL, published INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS outbox_unpublished ON outbox (sequence) WHERE published = 0;
"""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """What the journal knows of a state-changing request. Times are Unix seconds."""

    id: str
    procedure: str
    scope: str
    digest: bytes  # of the procedure and its arguments: an id that returns with another digest is refused
    args: bytes
    caller: str
    deadline: float
    received: float
    attempts: int = 1  # runs that began: above one only after a crash
    finished: float | None = None
    failed: bool | None = None
    reply: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its number."""

    sequence: int
    name: str
    scope: str
    time: float
    body: dict[str, Any]


_ENTRY = "id, procedure, scope, digest, args, caller, deadline, received, attempts, finished, failed, reply"


class _Job(Generic[T]):
    """One piece of work for the store's thread, and where its result goes."""

    __slots__ = ("durable", "future", "loop", "work")

    def __init__(self, work: Work[T], loop: asyncio.AbstractEventLoop, *, durable: bool) -> None:
        self.work = work
        self.durable = durable
        self.loop = loop
        self.future: asyncio.Future[T] = loop.create_future()

    def finish(self, result: T | None, error: BaseException | None) -> None:
        """Hand the result over (in the loop's thread)."""
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)  # type: ignore[arg-type]  # no error: the work's own result


_Done = tuple[_Job[Any], Any, BaseException | None]  # a job, what it gave, what went wrong


class Store:
    """One database. ``commit_seconds`` is told how long each write and sync took."""

    def __init__(self, path: Path | None, commit_seconds: Callable[[float], None] = lambda _: None) -> None:
        self._commit_seconds = commit_seconds
        self.on_events: Callable[[Sequence[EventRecord]], None] | None = None  # told the events of each written change
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        # isolation_level None: transactions are begun and ended by us alone.
        self._db = sqlite3.connect(str(path) if path else ":memory:", isolation_level=None, check_same_thread=False)
        if path is not None:
            self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_SCHEMA)
        self.epoch = self._prepare_meta()
        if path is not None:
            self._grow_log()
        self._syncs: bool | None = None  # whether a commit is synced, as SQLite was told last
        self._unsynced = False  # whether the last commit was left to the next sync
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        if path is not None:
            self._thread = threading.Thread(target=self._run, name="store", daemon=True)
            self._thread.start()

    def _prepare_meta(self) -> str:
        """Check the schema's version; return the epoch, made at the first start."""
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        if int(meta.get("schema", SCHEMA_VERSION)) > SCHEMA_VERSION:
            raise RuntimeError(f"the database has schema {meta['schema']}, made by a newer virtbus; "
                               f"this one knows {SCHEMA_VERSION}")
        epoch = meta.get("epoch") or uuid.uuid4().hex
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('schema', ?), ('epoch', ?), ('syncs', 0)",
                         (SCHEMA_VERSION, epoch))
        return epoch

    def _grow_log(self) -> None:
        """Give the write-ahead log its full size now: the sync of a file that does not grow is a shorter one.

        A transaction too large for the page cache goes to the log before its end; that it is taken back then makes no
        difference to the log's size, and SQLite begins at the front again.
        """
        self._db.execute("PRAGMA cache_size = 10")
        self._db.execute("BEGIN IMMEDIATE")
        with contextlib.suppress(sqlite3.OperationalError):  # a disk that has no room for it: it grows as it can
            self._db.execute("INSERT INTO meta VALUES ('log', zeroblob(?))", (_LOG_SIZE,))
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")

    # -- the one way in -------------------------------------------------------------------------------------------

    def submit(self, work: Work[T], *, durable: bool = True) -> asyncio.Future[T]:
        """Run ``work`` inside a transaction; the future ends when it is committed, and synced if ``durable``."""
        job = _Job(work, asyncio.get_running_loop(), durable=durable)
        if self._thread is not None:
            self._jobs.put(job)
        else:
            self._commit([job], lambda job, result, error: job.finish(result, error))
        return job.future

    def _run(self) -> None:
        """The store's thread: take whatever waits, commit it together."""
        while True:
            jobs = [self._jobs.get()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            stop = None in jobs
            self._commit([j for j in jobs if j is not None], _finish_threadsafe)
            if stop:
                return

    def _commit(self, jobs: list[_Job[Any]],
                finish: Callable[[_Job[Any], Any, BaseException | None], None]) -> None:
        """Run these jobs in one transaction. A job that fails is undone alone; a failed commit fails them all."""
        began = time.perf_counter()
        durable = any(job.durable for job in jobs)
        done: list[_Done]
        try:
            if durable is not self._syncs:
                self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._syncs = durable
            self._db.execute("BEGIN IMMEDIATE")
            if durable and self._unsynced:
                # A transaction that writes nothing syncs nothing, and the last one was left to this one.
                self._db.execute("UPDATE meta SET value = value + 1 WHERE key = 'syncs'")
            # One job alone needs no savepoint: the transaction is taken back with it.
            done = [(j, j.work(self._db), None) for j in jobs] if len(jobs) == 1 else [self._do(j) for j in jobs]
            self._db.execute("COMMIT")
            self._unsynced = not durable
        except Exception as e:
            with contextlib.suppress(sqlite3.Error):  # this thread must live: everybody waits for it
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            done = [(job, None, e) for job in jobs]
        self._commit_seconds(time.perf_counter() - began)
        for job, result, error in done:
            finish(job, result, error)

    def _do(self, job: _Job[Any]) -> _Done:
        """Run one of several jobs: it alone is undone if it fails."""
        self._db.execute("SAVEPOINT job")
        outcome: _Done
        try:
            outcome = job, job.work(self._db), None
        except Exception as e:
            if not self._db.in_transaction:
                raise  # SQLite itself undid the whole transaction: a full disk, a failing one
            self._db.execute("ROLLBACK TO job")
            outcome = job, None, e
        self._db.execute("RELEASE job")
        return outcome

    def close(self) -> None:
        """Finish what was submitted and close the database."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
        self._db.close()

    # -- operations -----------------------------------------------------------------------------------------------

    def write(self, change: Change, finish: tuple[str, bool, bytes] | None = None, *,
              durable: bool = True) -> asyncio.Future[int]:
        """Write a change and, with ``finish`` (request id, failed, reply), the end of its journal entry.

        The future gives the last event number, which is 0 when the change has no events.
        """
        now = time.time()
        puts = [(change.scope, kind, uid, None if record is None else msgpack.packb(record))
                for (kind, uid), record in change.puts.items()]
        events = [(e.name, e.scope, now, msgpack.packb(e.body)) for e in change.events]

        def work(db: sqlite3.Connection) -> int:
            for scope, kind, uid, record in puts:
                if record is None:
                    db.execute("DELETE FROM objects WHERE scope = ? AND kind = ? AND uuid = ?", (scope, kind, uid))
                else:
                    db.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", (scope, kind, uid, record))
            last = 0
            for row in events:
                last = db.execute("INSERT INTO outbox (name, scope, time, body) VALUES (?, ?, ?, ?)",
                                  row).lastrowid or 0
            if finish is not None:
                request_id, failed, reply = finish
                db.execute("UPDATE journal SET finished = ?, failed = ?, reply = ? WHERE id = ?",
                           (now, failed, reply, request_id))
            return last
        future = self.submit(work, durable=durable)
        if change.events and self.on_events is not None:
            future.add_done_callback(partial(_tell, self.on_events, tuple(change.events)))
        return future

    def begin(self, entry: JournalEntry) -> asyncio.Future[JournalEntry | None]:
        """Journal a request before its effect. The future gives the entry that was there already, or None."""
        def work(db: sqlite3.Connection) -> JournalEntry | None:
            written = db.execute(
                "INSERT OR IGNORE INTO journal (id, procedure, scope, digest, args, caller, deadline, received,"
                " attempts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (entry.id, entry.procedure, entry.scope, entry.digest, entry.args, entry.caller, entry.deadline,
                 entry.received, entry.attempts))
            if written.rowcount:
                return None
            return _entry(db.execute(f"SELECT {_ENTRY} FROM journal WHERE id = ?", (entry.id,)).fetchone())  # noqa: S608
        return self.submit(work)

    def retry(self, request_id: str) -> asyncio.Future[None]:
        """A journalled request runs once more: after a crash that left no effect."""
        def work(db: sqlite3.Connection) -> None:
            db.execute("UPDATE journal SET attempts = attempts + 1 WHERE id = ?", (request_id,))
        return self.submit(work, durable=False)

    def find(self, request_id: str) -> asyncio.Future[JournalEntry | None]:
        """The journal entry of a request."""
        def work(db: sqlite3.Connection) -> JournalEntry | None:
            row = db.execute(f"SELECT {_ENTRY} FROM journal WHERE id = ?", (request_id,)).fetchone()  # noqa: S608
            return _entry(row) if row is not None else None
        return self.submit(work, durable=False)

    def unfinished(self) -> asyncio.Future[list[JournalEntry]]:
        """Requests that had begun when the service last stopped."""
        return self.submit(lambda db: [_entry(row) for row in db.execute(
            f"SELECT {_ENTRY} FROM journal WHERE finished IS NULL ORDER BY received")])  # noqa: S608

    def prune(self, keep_seconds: float, keep_events: int) -> asyncio.Future[None]:
        """Forget requests that ended long ago, and all but the newest published events."""
        def work(db: sqlite3.Connection) -> None:
            # One that a crash interrupted before its effect never ends: its deadline tells when it cannot run any more.
            db.execute("DELETE FROM journal WHERE COALESCE(finished, deadline) < ?", (time.time() - keep_seconds,))
            db.execute("DELETE FROM outbox WHERE published = 1 AND sequence <= "
                       "(SELECT MAX(sequence) FROM outbox) - ?", (keep_events,))
        return self.submit(work, durable=False)

    def journal_size(self) -> asyncio.Future[int]:
        """Number of requests that are remembered."""
        return self.submit(lambda db: int(db.execute("SELECT COUNT(*) FROM journal").fetchone()[0]), durable=False)

    def load(self, scope: str, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """All (uuid, record) of a kind. Only for start-up, before anything is submitted."""
        for uid, record in self._db.execute("SELECT uuid, record FROM objects WHERE scope = ? AND kind = ?"
                                            " ORDER BY uuid", (scope, kind)):
            yield uid, msgpack.unpackb(record)

    def unpublished(self, limit: int) -> asyncio.Future[list[StoredEvent]]:
        """The oldest events that no broker has confirmed."""
        return self.submit(lambda db: _events(db.execute(
            "SELECT sequence, name, scope, time, body FROM outbox WHERE published = 0 ORDER BY sequence LIMIT ?",
            (limit,))))

    def mark_published(self, last: int) -> asyncio.Future[None]:
        """The broker has confirmed all events up to this one."""
        def work(db: sqlite3.Connection) -> None:
            db.execute("UPDATE outbox SET published = 1 WHERE published = 0 AND sequence <= ?", (last,))
        return self.submit(work, durable=False)

    def events_after(self, sequence: int, limit: int) -> asyncio.Future[tuple[int, int, list[StoredEvent]]]:
        """(oldest number kept, newest number given out, events after ``sequence``)."""
        def work(db: sqlite3.Connection) -> tuple[int, int, list[StoredEvent]]:
            first = db.execute("SELECT MIN(sequence) FROM outbox").fetchone()[0] or 0
            last = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
            rows = db.execute("SELECT sequence, name, scope, time, body FROM outbox WHERE sequence > ?"
                              " ORDER BY sequence LIMIT ?", (sequence, limit))
            return int(first), int(last[0]) if last else 0, _events(rows)
        return self.submit(work)


def _finish_threadsafe(job: _Job[Any], result: object, error: BaseException | None) -> None:
    """Hand a result to the loop that waits for it; a loop that has closed waits no more."""
    try:
        job.loop.call_soon_threadsafe(job.finish, result, error)
    except RuntimeError:
        return


def _tell(on_events: Callable[[Sequence[EventRecord]], None], events: Sequence[EventRecord],
          written: asyncio.Future[int]) -> None:
    if not written.cancelled() and written.exception() is None:
        on_events(events)


def _entry(row: tuple[Any, ...]) -> JournalEntry:
    """A row of the journal."""
    fields = list(row)
    fields[10] = None if row[10] is None else bool(row[10])  # SQLite has no booleans
    return JournalEntry(*fields)


def _events(rows: sqlite3.Cursor) -> list[StoredEvent]:
    """Rows of the outbox."""
    return [StoredEvent(sequence, name, scope, when, msgpack.unpackb(body))
            for sequence, name, scope, when, body in rows]


__all__ = ["Change", "EventRecord", "JournalEntry", "Store", "StoredEvent"]
