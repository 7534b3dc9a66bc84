"""Metrics of objects as declared rows, and as text that is ready before anybody asks for it.

A node with a thousand guests has a hundred thousand series. Made from objects at each scrape they would cost more than
half a second; so the text of a series is made when its value is learnt, beside its object, and a scrape only
concatenates. A row says everything about a metric in one place: name, type, labels, meaning, and where its values
come from.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, get_args

S = TypeVar("S")

Kind = Literal["counter", "gauge", "info", "histogram"]
Group = Literal["base", "block", "interface", "numa", "traffic", "vcpu"]
GROUPS = tuple(sorted(set(get_args(Group)) - {"base"}))  # what may be switched off
UNITS = ("seconds", "bytes", "ratio", "celsius")
DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Histogram:
    """Counts of durations (seconds) by upper bound."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(DURATIONS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(DURATIONS, seconds)] += 1
        self.total += seconds

    def add(self, other: Histogram) -> None:
        """All of another's."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


Sample = tuple[tuple[str, ...], float | Histogram | None]
"""Label values beyond the object's identity, and the value; None is left out, for nothing is ever made up."""


def unit_of(name: str) -> str:
    """The unit that a metric's name ends with, or nothing."""
    last = name.removesuffix("_total").rpartition("_")[2]
    return last if last in UNITS else ""


@dataclass(frozen=True, slots=True)
class Row(Generic[S]):
    """One metric. ``labels`` are those beyond the object's identity; ``group`` is what it is switched off by."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    read: Callable[[S], Iterable[Sample]]
    group: Group = "base"

    def header(self, *, openmetrics: bool) -> str:
        """The lines before its samples. OpenMetrics names a family without the suffix of its samples."""
        return header(self.name, self.kind, self.help, openmetrics=openmetrics)


def one(name: str, kind: Kind, text: str, get: Callable[[S], float | None], group: Group = "base") -> Row[S]:
    """A row without labels of its own."""
    return Row(name, kind, (), text, lambda source: (((), get(source)),), group)


def states(name: str, text: str, words: Sequence[str], get: Callable[[S], str]) -> Row[S]:
    """An enumeration: one series for each word, and 1 on the one that holds."""
    def read(source: S) -> Iterable[Sample]:
        now = get(source)
        return [((word,), int(word == now)) for word in words]
    return Row(name, "gauge", ("state",), text, read)


def header(name: str, kind: Kind, text: str, *, openmetrics: bool) -> str:
    """HELP, TYPE and (in OpenMetrics) UNIT of a metric."""
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    if not openmetrics:
        return f"# HELP {name} {text}\n# TYPE {name} {'gauge' if kind == 'info' else kind}\n"
    family = name.removesuffix({"counter": "_total", "info": "_info"}.get(kind, "\0"))
    unit = f"# UNIT {family} {unit_of(name)}\n" if unit_of(name) else ""
    text = text.replace('"', r"\"")
    return f"# HELP {family} {text}\n# TYPE {family} {kind}\n{unit}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _labels(names: Iterable[str], values: Iterable[str]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))


class Text:
    """The lines of one object under its identity; label text is kept from one time to the next."""

    __slots__ = ("_kept", "identity")

    def __init__(self, names: tuple[str, ...], values: tuple[str, ...]) -> None:
        self.identity = _labels(names, values)
        self._kept: dict[tuple[str, tuple[str, ...]], str] = {}

    def label_text(self, more: str = "") -> str:
        """Identity and more labels, in their braces; empty without any."""
        inside = ",".join(part for part in (self.identity, more) if part)
        return f"{{{inside}}}" if inside else ""

    def lines(self, rows: Sequence[Row[S]], source: S, *, keep: bool) -> tuple[str, ...]:
        """The samples of each row, as text. ``keep`` is for rows that are asked again and again."""
        return tuple("".join([self._line(row, values, value, keep=keep) for values, value in row.read(source)
                              if value is not None]) for row in rows)

    def _line(self, row: Row[S], values: tuple[str, ...], value: float | Histogram, *, keep: bool) -> str:
        if isinstance(value, Histogram):
            return self._histogram(row, values, value)
        key = (row.name, values)
        series = self._kept.get(key)
        if series is None:
            series = f"{row.name}{self.label_text(_labels(row.labels, values))} "
            if keep:
                self._kept[key] = series
        return f"{series}{value:d}\n" if isinstance(value, int) else f"{series}{value!r}\n"

    def _histogram(self, row: Row[S], values: tuple[str, ...], value: Histogram) -> str:
        own = _labels(row.labels, values)
        text, running = "", 0
        for bound, count in zip((*map(float, DURATIONS), "+Inf"), value.counts, strict=True):
            running += count
            bucket = ",".join(part for part in (own, f'le="{bound}"') if part)
            text += f"{row.name}_bucket{self.label_text(bucket)} {running}\n"
        return f"{text}{row.name}_count{self.label_text(own)} {running}\n" \
               f"{row.name}_sum{self.label_text(own)} {value.total!r}\n"
