"""What one operation changes: collected while it runs, written in one transaction when it ends.

A handler or a driver says what is new (``put``, ``delete``) and what happened (``event``); the store writes all of
it, the numbered events and the journal entry of the request together, so that after a crash there is either all or
nothing (laws 1, 5, 6). Memory is changed at once and ``undo`` says how to take that back should the write fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from virtbus_shared.procedure import Event, Result

R = TypeVar("R", bound=Result)


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event before it has a number."""

    name: str
    scope: str  # driver:///path
    body: dict[str, Any]


@dataclass(slots=True)
class Change:
    """The changes of one operation. ``scope`` names the connection (driver:///path) that they belong to."""

    scope: str
    puts: dict[tuple[str, str], dict[str, Any] | None] = field(default_factory=dict)  # (kind, uuid) -> record
    events: list[EventRecord] = field(default_factory=list)
    _undo: list[Callable[[], None]] = field(default_factory=list)

    def put(self, kind: str, uuid: str, record: dict[str, Any]) -> None:
        """Store this record of an object."""
        self.puts[kind, uuid] = record

    def delete(self, kind: str, uuid: str) -> None:
        """Forget an object."""
        self.puts[kind, uuid] = None

    def event(self, row: Event[R], body: R) -> None:
        """Something happened: it gets its number when the change is written."""
        self.events.append(EventRecord(row.name, self.scope, body.model_dump()))

    def undo(self, action: Callable[[], None]) -> None:
        """Run this if the change cannot be written: it puts memory back."""
        self._undo.append(action)

    def settle(self) -> None:
        """The effect is made and stays, even if it cannot be written: memory follows what is really there."""
        self._undo.clear()

    def roll_back(self) -> None:
        """Put memory back, last step first."""
        while self._undo:
            self._undo.pop()()

    def __bool__(self) -> bool:
        return bool(self.puts or self.events)
