"""What a service declares so that its objects can be measured: the objects, and the rows that are exported of them.

The table of a service's metrics is the four tuples of its ``Collection``; the collector, the page and the published
list of all metrics are made from them, so that none of these can drift from the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from virtbus_shared.service.change import EventRecord
from virtbus_shared.service.driver import Driver
from virtbus_shared.service.snapshot import Kind, Row


class Subject(Protocol):
    """One object as a collector sees it."""

    @property
    def key(self) -> str:
        """Its UUID, or whatever it is known by."""

    @property
    def scheme(self) -> str:
        """Its driver."""

    @property
    def identity(self) -> tuple[str, ...]:
        """The values of the labels that all of its series have."""

    @property
    def instance(self) -> Hashable | None:
        """Another value for each run of it, None while it does not run: then there is nothing to measure."""

    def stamp(self) -> Hashable | None:
        """Equal as long as the known rows are; None when that is not worth finding out."""


T = TypeVar("T", bound=Subject)
S = TypeVar("S")
A = TypeVar("A")


class Collection(ABC, Generic[T, S, A]):
    """The objects of one service, and the rows that are exported of them.

    ``known`` are read from an object in memory, ``measured`` from what ``measure`` gave, ``totals`` from them all.
    ``freshness`` begins the names of ``..._stats_up`` and ``..._stats_timestamp_seconds``, empty where there are none.
    """

    name: str
    interval: float  # seconds
    labels: tuple[str, ...]
    freshness: str
    known: tuple[Row[T], ...]
    measured: tuple[Row[S], ...]
    totals: tuple[Row[A], ...]

    def __init__(self, connections: Mapping[tuple[str, str], Driver]) -> None:
        self.connections = connections

    @abstractmethod
    def subjects(self) -> Iterable[T]:
        """All objects of all connections. The loop goes on between two of them: iterate over copies."""

    @abstractmethod
    def whole(self, subjects: Sequence[T]) -> A:
        """What the totals are read from."""

    @abstractmethod
    async def measure(self, subject: T) -> S | None:
        """Ask one object for its figures."""

    def missed(self, subject: T) -> None:
        """An object has not answered in time, or still has not."""

    def happened(self, event: EventRecord) -> None:
        """An event was written."""


def freshness_rows(prefix: str) -> tuple[tuple[str, Kind, str], tuple[str, Kind, str]]:
    """Name, type and meaning of the two metrics that say how fresh an object's figures are."""
    noun = prefix.removeprefix("virtbus_").replace("_", " ")
    return ((f"{prefix}_stats_up", "gauge",
             f"1 when the measured values of the {noun} are fresh, 0 when it does not run or does not answer."),
            (f"{prefix}_stats_timestamp_seconds", "gauge",
             f"Unix time at which the service last measured the {noun}; absent before the first time."))
