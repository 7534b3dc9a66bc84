"""Counters and histograms for the path that every request takes.

The Prometheus library guards each of its numbers with a lock and looks at each bucket in turn; five of them cost a
request as much as its validation. These are counted in the service's one loop, so they need no lock: a scrape, in
another thread, reads whole numbers and hands them to the library for rendering.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]


class Tally:
    """A number that grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> None:
        """One more."""
        self.value += 1


class Timings:
    """How often something took how long; ``bounds`` are the upper ends of the buckets, in seconds."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """It took this long once more."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """The buckets as Prometheus has them, each with all below it, and the sum of all."""
        total, seen, buckets = self._sum, 0, []
        for bound, count in zip((*self._bounds, float("inf")), tuple(self._counts), strict=True):
            seen += count
            buckets.append((floatToGoString(bound), float(seen)))  # type: ignore[no-untyped-call]  # the library's own
        return buckets, total


class Tallies:
    """All tallies and timings of one metric name, by the values of its labels."""

    def __init__(self, name: str, description: str, labels: Labels, bounds: Sequence[float] | None = None) -> None:
        self._name, self._description, self._labels, self._bounds = name, description, labels, bounds
        self._tallies: dict[Labels, Tally] = {}
        self._timings: dict[Labels, Timings] = {}

    def tally(self, *values: str) -> Tally:
        """The counter with these label values."""
        return self._tallies.setdefault(values, Tally())

    def timings(self, *values: str) -> Timings:
        """The histogram with these label values."""
        assert self._bounds is not None
        return self._timings.setdefault(values, Timings(self._bounds))

    def collect(self) -> Iterator[Metric]:
        """One family, as the library renders it."""
        if self._bounds is None:
            counter = CounterMetricFamily(self._name.removesuffix("_total"), self._description, labels=self._labels)
            for values, tally in tuple(self._tallies.items()):
                counter.add_metric(values, tally.value)
            yield counter
            return
        histogram = HistogramMetricFamily(self._name, self._description, labels=self._labels)
        for values, timings in tuple(self._timings.items()):
            buckets, total = timings.buckets()
            histogram.add_metric(values, buckets, total)
        yield histogram
