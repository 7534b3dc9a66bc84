"""How a service says which function answers which row of the table.

A row that is answered from memory (priority HIGH) gets a plain function, one that may wait gets a coroutine; the
decorators and mypy hold each function to the types of its row. ``Context`` is what a function is told besides the
parameters: on which connection, by whom, until when, and where it records what it changes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from virtbus_shared.envelope import Request
from virtbus_shared.procedure import AnyProcedure, Params, Priority, Procedure, Result
from virtbus_shared.service.access import Caller
from virtbus_shared.service.change import Change
from virtbus_shared.service.objects import Managed, Turns
from virtbus_shared.service.store import JournalEntry

D = TypeVar("D")
P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=Result)
O = TypeVar("O", bound=Managed)  # noqa: E741


@dataclass(slots=True)
class Context(Generic[D]):
    """One request as its handler sees it. ``driver`` is the connection that the URI named."""

    driver: D
    request: Request
    caller: Caller
    change: Change
    error_domain: int
    _held: list[Turns] = field(default_factory=list)

    async def hold(self, find: Callable[[], O]) -> O:
        """Wait for the turn of the object that ``find`` gives; it is held until the request's change is stored.

        Were it given up earlier, a change that cannot be stored would be taken back under the feet of the next one.
        ``find`` is asked again when the turn has come, and may refuse then: whoever had the turn before may have
        removed the object. Raises what ``objects.Turns.acquire`` raises.
        """
        while True:
            obj = find()
            await obj.turns.acquire(self.request.procedure, self.request.deadline, self.error_domain)
            self._held.append(obj.turns)
            if find() is obj:
                return obj

    def release(self) -> None:
        """Give up every turn: the dispatcher does it at the request's end."""
        while self._held:
            self._held.pop().release()


Answer = Callable[[Context[Any], Any], Result]
Handle = Callable[[Context[Any], Any], Awaitable[Result]]
Reconcile = Callable[[Context[Any], Any, JournalEntry], "Result | None"]


@dataclass(slots=True)
class Route:
    """A row with the functions that serve it. Exactly one of ``answer`` and ``handle`` is set."""

    row: AnyProcedure
    answer: Answer | None = None
    handle: Handle | None = None
    reconcile: Reconcile | None = None


class Handlers(Generic[D]):
    """The handlers of one service; ``D`` is the type of its drivers."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.routes: dict[str, Route] = {}

    def _add(self, route: Route) -> None:
        if route.row.name in self.routes:
            raise ValueError(f"{route.row.name} has two handlers")
        self.routes[route.row.name] = route

    def answers(self, row: Procedure[P, R]) -> Callable[[Callable[[Context[D], P], R]], Callable[[Context[D], P], R]]:
        """This plain function answers a HIGH row from memory."""
        def register(function: Callable[[Context[D], P], R]) -> Callable[[Context[D], P], R]:
            if row.priority is not Priority.HIGH:
                raise ValueError(f"{row.name} may wait: its handler must be a coroutine (handles)")
            self._add(Route(row, answer=function))
            return function
        return register

    def handles(self, row: Procedure[P, R]) -> Callable[
            [Callable[[Context[D], P], Awaitable[R]]], Callable[[Context[D], P], Awaitable[R]]]:
        """This coroutine serves a LOW row."""
        def register(function: Callable[[Context[D], P], Awaitable[R]]) -> Callable[[Context[D], P], Awaitable[R]]:
            if row.priority is not Priority.LOW:
                raise ValueError(f"{row.name} is answered from memory: its handler must be a plain function (answers)")
            self._add(Route(row, handle=function))
            return function
        return register

    def reconciles(self, row: Procedure[P, R]) -> Callable[
            [Callable[[Context[D], P, JournalEntry], R | None]], Callable[[Context[D], P, JournalEntry], R | None]]:
        """After a crash, this function looks whether a request that had begun took effect.

        It returns the result that the request would have had, or None when it had no effect (it may then run again),
        or raises the error to answer when nobody can tell. Rows without one change nothing but the store, so a request
        that did not finish had no effect.
        """
        def register(function: Callable[[Context[D], P, JournalEntry], R | None]) -> Callable[
                [Context[D], P, JournalEntry], R | None]:
            self.routes[row.name].reconcile = function
            return function
        return register
