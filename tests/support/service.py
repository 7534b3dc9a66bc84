"""A domain service without a door: its runtime in the test's own loop, and requests handed to its dispatcher.

The laws are about arrivals: the same bytes a hundred times, late bytes, no bytes at all, a process that ends between
two steps. A door would hide all of that, so tests of the runtime make their own deliveries; what answers is the
service as it is, with the ``test`` driver and, where a restart matters, a database file.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from virtbus_domain.service import SERVICE
from virtbus_shared.envelope import EventMessage, Request, decode_reply
from virtbus_shared.errors import LibvirtError
from virtbus_shared.procedure import Params, Procedure, Result
from virtbus_shared.service.runtime import Place, Service, ServiceRuntime

P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=Result)

PATIENCE = 20.0  # seconds after which a test gives up; nothing measures time by it
FAULT = "<metadata><fault xmlns='urn:virtbus:test' operation='{}' kind='{}'/></metadata>"


def domain_xml(name: str, domain_uuid: str = "", *, hang: str = "", fail: str = "") -> str:
    """A domain of the test driver that hangs, or fails, in one operation."""
    fault = FAULT.format(hang or fail, "hang" if hang else "fail") if hang or fail else ""
    return (f"<domain type='test'><name>{name}</name>{f'<uuid>{domain_uuid}</uuid>' if domain_uuid else ''}{fault}"
            "<memory>1024</memory><os><type>hvm</type></os></domain>")


class Arrival:
    """One delivery of a request, as a door makes it: what the dispatcher does with it is written down."""

    def __init__(self, body: bytes, user: str | None = "tester", *, redelivered: bool = False) -> None:
        self.body = body
        self.user = user
        self.redelivered = redelivered
        self.replies: list[bytes] = []
        self.acked = 0
        self.rejected = 0
        self._settled = asyncio.Event()

    def reply(self, body: bytes) -> None:
        """See ``dispatch.Delivery``."""
        self.replies.append(body)
        self._settled.set()

    def ack(self) -> None:
        """See ``dispatch.Delivery``."""
        self.acked += 1

    def reject(self) -> None:
        """See ``dispatch.Delivery``."""
        self.rejected += 1
        self._settled.set()

    def reply_and_ack(self, body: bytes) -> None:
        """See ``dispatch.Delivery``."""
        self.reply(body)
        self.ack()

    async def settled(self) -> bytes:
        """The reply, once there is one; empty when the delivery was rejected without one."""
        async with asyncio.timeout(PATIENCE):
            await self._settled.wait()
        return self.replies[0] if self.replies else b""


class Requests:
    """Makes requests of one connection and hands them to a running service."""

    def __init__(self, runtime: ServiceRuntime, published: list[EventMessage]) -> None:
        self.runtime = runtime
        self.published = published  # what the outbox handed out, in order

    def request(self, row: Procedure[P, R], *, request_id: str = "", within: float = PATIENCE, read_only: bool = False,
                **args: Any) -> Request:
        """An envelope of this connection; ``within`` seconds from now it is late."""
        return Request(request_id or uuid.uuid4().hex, row.name, time.time() + within, args, "test", "/default",
                       read_only, sent=time.time())

    def take(self, body: bytes, user: str | None = "tester", *, redelivered: bool = False) -> Arrival:
        """Hand over bytes; nobody waits for the reply yet."""
        arrival = Arrival(body, user, redelivered=redelivered)
        self.runtime.dispatcher.take(arrival)
        return arrival

    def start(self, row: Procedure[P, R], *, request_id: str = "", within: float = PATIENCE,
              **args: Any) -> Arrival:
        """Hand over a request; nobody waits for the reply yet."""
        return self.take(self.request(row, request_id=request_id, within=within, **args).encode())

    async def __call__(self, row: Procedure[P, R], *, request_id: str = "", within: float = PATIENCE,
                       read_only: bool = False, **args: Any) -> R:
        """Make a call and wait. Raises ``LibvirtError``."""
        arrival = self.take(self.request(row, request_id=request_id, within=within, read_only=read_only,
                                         **args).encode())
        return row.result.model_validate(decode_reply(await arrival.settled()))

    async def error(self, row: Procedure[P, R], *, request_id: str = "", within: float = PATIENCE,
                    read_only: bool = False, **args: Any) -> LibvirtError:
        """The error of a call that must fail."""
        try:
            result = await self(row, request_id=request_id, within=within, read_only=read_only, **args)
        except LibvirtError as error:
            return error
        raise AssertionError(f"{row.name} succeeded: {result}")

    async def published_up_to(self, sequence: int) -> list[EventMessage]:
        """What was published, once it includes this number."""
        await until(lambda: any(e.sequence >= sequence for e in self.published), f"event {sequence}")
        return list(self.published)


def error_of(reply: bytes) -> LibvirtError:
    """The error that a reply carries."""
    try:
        result = decode_reply(reply)
    except LibvirtError as error:
        return error
    raise AssertionError(f"no error: {result}")


async def until(condition: Callable[[], object], what: str) -> None:
    """Let the loop run until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {PATIENCE:.0f} s"
        await asyncio.sleep(0.002)


def make(folder: Path, publish: Callable[[EventMessage], Awaitable[None]], *, lasting: bool = True,
         service: Service = SERVICE) -> ServiceRuntime:
    """A service whose database lies in ``folder``, or in memory; not started."""
    place = Place("node-t", folder / "state" if lasting else None, folder / "run", "inprocess")
    return ServiceRuntime(service, place, publish)


@asynccontextmanager
async def running(folder: Path, *, lasting: bool = True,
                  publish: Callable[[EventMessage], Awaitable[None]] | None = None,
                  service: Service = SERVICE) -> AsyncIterator[Requests]:
    """A started service with ``test:///default`` open; it stops in good order at the end of the block."""
    published: list[EventMessage] = []

    async def note(event: EventMessage) -> None:
        published.append(event)

    runtime = make(folder, publish or note, lasting=lasting, service=service)
    await runtime.open("test", "/default")
    await runtime.start()
    try:
        yield Requests(runtime, published)
    finally:
        for task in runtime.dispatcher.tasks:
            task.cancel()  # what hangs on purpose need not be waited for
        await runtime.stop()


def crash_copy(folder: Path, copy: Path) -> None:
    """What a kill -9 leaves: the database and its log as they are on disk now, in another folder."""
    (copy / "state").mkdir(parents=True)
    for file in (folder / "state").glob("virtbus.db*"):
        shutil.copy(file, copy / "state" / file.name)


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    """What a query finds in the database of a service, asked past the service."""
    db = sqlite3.connect(folder / "state" / "virtbus.db")
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()
