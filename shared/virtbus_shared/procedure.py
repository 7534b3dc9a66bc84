"""What a row of the table is: one procedure or one event, declared once.

Dispatch, stubs, access checks, metric labels, the schema document and the audit record are all derived from rows,
and a test fails when any of them drifts. A published row never changes: growth is a new row or an optional field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Uuid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
                            description="UUID in canonical lower-case text form.")]
Flags = Annotated[int, Field(ge=0, le=0xFFFFFFFF,
                             description="Bits of the libvirt enumeration that the call documents.")]
Text = Annotated[str, Field(max_length=16 * 1024 * 1024)]


class Params(BaseModel):
    """Parameters of a procedure: what a caller sends. Unknown fields are ignored, so newer callers keep working."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class Result(BaseModel):
    """Result of a procedure: what a service answers. Unknown fields are ignored, so older callers keep working."""

    model_config = ConfigDict(extra="ignore", defer_build=True)


class Nothing(Result):
    """The empty result: the call succeeded and there is nothing to say."""


class NoParams(Params):
    """A procedure without parameters."""


class Priority(Enum):
    """Whether a handler may wait.

    HIGH handlers answer from memory in one step and are plain functions: no hung hypervisor can delay them (law 3).
    LOW handlers are coroutines: they may wait for their object's turn, a hypervisor or a disk.
    """

    HIGH = "high"
    LOW = "low"


P = TypeVar("P", bound=Params)
R = TypeVar("R", bound=Result)


@dataclass(frozen=True, kw_only=True, eq=False)
class Procedure(Generic[P, R]):
    """One call. ``name`` is its wire name, its metric label and its access action."""

    name: str
    summary: str
    params: type[P]
    result: type[R]
    acl: str  # libvirt's "object:permission", such as "domain:start"
    read_only: bool = False  # allowed on a connection opened with openReadOnly
    changes: bool = False  # changes state: journalled, at most once, audited
    connectionless: bool = False  # about the service itself: needs no driver and path
    priority: Priority = Priority.LOW
    serves: tuple[str, ...] = ()  # the libvirt functions that this call answers
    errors: tuple[int, ...] = ()  # the VIR_ERR_* that callers should expect
    since: str

    @property
    def service(self) -> str:
        """The service that answers it: the first word of the name."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Event(Generic[R]):
    """One kind of event. ``id`` is the ``VIR_*_EVENT_ID_*`` under which libvirt clients register for it."""

    name: str
    summary: str
    body: type[R]
    id: int
    since: str

    @property
    def service(self) -> str:
        """The service that emits it."""
        return self.name.partition(".")[0]


AnyProcedure = Procedure[Any, Any]
AnyEvent = Event[Any]


class Table:
    """All rows, by name. Filled when the ``api`` package is imported."""

    def __init__(self) -> None:
        self.procedures: dict[str, AnyProcedure] = {}
        self.events: dict[str, AnyEvent] = {}

    def procedure(self, row: Procedure[P, R]) -> Procedure[P, R]:
        """Add a procedure; a row that contradicts itself or reuses a name is refused at import."""
        if row.name in self.procedures:
            raise ValueError(f"{row.name} is declared twice")
        if row.changes and (row.read_only or row.priority is Priority.HIGH):
            raise ValueError(f"{row.name} changes state: it can be neither read-only nor answered from memory")
        self.procedures[row.name] = row
        return row

    def event(self, row: Event[R]) -> Event[R]:
        """Add an event."""
        if row.name in self.events:
            raise ValueError(f"{row.name} is declared twice")
        self.events[row.name] = row
        return row

    def of_service(self, service: str) -> Iterator[AnyProcedure]:
        """The procedures that one service must handle."""
        return (row for row in self.procedures.values() if row.service == service)


TABLE = Table()
