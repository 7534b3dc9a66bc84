"""Objects that a driver manages, how they are found, and how work on one of them is queued.

Law 3: one hung object harms nobody else. Work that changes an object waits for the object's own turn, in order of
arrival; a turn that does not come before the caller's deadline is an error for that caller alone, and only so many may
wait for one object. Reads take no turn: they answer from memory.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.timeout import timeout

MAX_WAITING = 256  # requests that may wait for one object


class Turns:
    """The queue of one object: a fair lock whose waiters have deadlines."""

    __slots__ = ("_lock", "_waiting", "holder", "since")

    def __init__(self) -> None:
        self._lock: asyncio.Lock | None = None  # made at first use: ten thousand idle objects need none
        self._waiting = 0
        self.holder = ""
        self.since = 0.0  # monotonic seconds

    async def acquire(self, what: str, deadline: float, domain: int) -> None:
        """Wait for the turn. ``what`` names the operation, for those who wait in vain.

        Raises ``VIR_ERR_OPERATION_TIMEOUT`` when the turn does not come in time, and ``VIR_ERR_OPERATION_FAILED``
        when too many wait already: the queue of a hung object must not fill the service. The deadline is checked once
        more when the turn has come: a late command never runs (law 2).
        """
        if self._lock is None:
            self._lock = asyncio.Lock()
        if self._waiting >= MAX_WAITING and deadline != math.inf:
            raise LibvirtError(c.VIR_ERR_OPERATION_FAILED, "cannot acquire state change lock due to max_queued limit "
                               f"({self._held_by()})", domain=domain)
        if self._waiting or self._lock.locked():
            await self._wait(self._lock, deadline, domain)
        else:
            await self._lock.acquire()  # at once: nobody has it and nobody is next
        self.holder, self.since = what, time.monotonic()
        if time.time() >= deadline:
            self.release()
            raise LibvirtError(c.VIR_ERR_OPERATION_TIMEOUT, f"{what} came to its turn after its deadline",
                               domain=domain)

    async def _wait(self, lock: asyncio.Lock, deadline: float, domain: int) -> None:
        self._waiting += 1
        try:
            async with timeout(None if deadline == math.inf else max(0.0, deadline - time.time())):
                await lock.acquire()
        except TimeoutError:
            raise LibvirtError(c.VIR_ERR_OPERATION_TIMEOUT, f"cannot acquire state change lock ({self._held_by()})",
                               domain=domain) from None
        finally:
            self._waiting -= 1

    def release(self) -> None:
        """Let the next one have its turn."""
        assert self._lock is not None
        self.holder = ""
        self._lock.release()

    @asynccontextmanager
    async def turn(self, what: str, deadline: float, domain: int) -> AsyncIterator[None]:
        """Hold the turn for a block; see ``acquire``."""
        await self.acquire(what, deadline, domain)
        try:
            yield
        finally:
            self.release()

    def _held_by(self) -> str:
        return f"held by {self.holder} for {time.monotonic() - self.since:.0f}s"


class Managed(Protocol):
    """What a registry needs of an object."""

    name: str
    uuid: str

    @property
    def turns(self) -> Turns:
        """The object's queue."""


O = TypeVar("O", bound=Managed)  # noqa: E741


class Registry(Generic[O]):
    """The objects of one kind on one connection, by UUID and by name. Kept in the order in which they came."""

    def __init__(self) -> None:
        self._by_uuid: dict[str, O] = {}
        self._by_name: dict[str, O] = {}

    def __len__(self) -> int:
        return len(self._by_uuid)

    def __iter__(self) -> Iterator[O]:
        return iter(self._by_uuid.values())

    def by_uuid(self, uuid: str) -> O | None:
        """The object of a UUID."""
        return self._by_uuid.get(uuid)

    def by_name(self, name: str) -> O | None:
        """The object of a name."""
        return self._by_name.get(name)

    def add(self, obj: O) -> None:
        """Take an object in; the caller has checked that name and UUID are free."""
        self._by_uuid[obj.uuid] = obj
        self._by_name[obj.name] = obj

    def remove(self, obj: O) -> None:
        """Let an object go."""
        del self._by_uuid[obj.uuid]
        del self._by_name[obj.name]


Record = dict[str, Any]  # what the store keeps of an object: msgpack values only
