"""The metrics of the storage service: the table, and where each value comes from.

The collector measures the sizes of a pool's file system; the volumes are those of the last full refresh. Both count as
a refresh: a server that does not answer shows in the outcomes, whoever asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from virtbus_shared.service.collection import Collection
from virtbus_shared.service.snapshot import Histogram, Row, Sample, one, states
from virtbus_storage.driver import PoolSizes, StorageDriver
from virtbus_storage.object import REFRESH_OUTCOMES, PoolObject
from virtbus_storage.xml import PoolSource, parse_pool

STATES = ("inactive", "building", "running", "degraded", "inaccessible")  # libvirt's, in the order of their numbers


@dataclass(frozen=True, slots=True)
class Subject:
    """A pool with its driver."""

    driver: StorageDriver
    pool: PoolObject

    @property
    def key(self) -> str:
        """Its UUID."""
        return self.pool.uuid

    @property
    def scheme(self) -> str:
        """Its driver."""
        return self.driver.host.scheme

    @property
    def identity(self) -> tuple[str, str]:
        """Name and UUID."""
        return self.pool.name, self.pool.uuid

    @property
    def instance(self) -> bool | None:
        """A pool that runs again is the same pool."""
        return True if self.pool.active else None

    def stamp(self) -> None:
        """Volumes come and go without a trace in the pool."""


@dataclass(frozen=True, slots=True)
class Whole:
    """All pools, and how long refreshes took, by type of pool."""

    subjects: Sequence[Subject]
    refresh_seconds: Mapping[str, Histogram]


def _by_type(whole: Whole) -> Iterable[Sample]:
    counts = Counter((s.pool.type, s.pool.state) for s in whole.subjects)
    return [((kind, word), counts[kind, state]) for kind in sorted({s.pool.type for s in whole.subjects})
            for state, word in enumerate(STATES)]


def _info(subject: Subject) -> Iterable[Sample]:
    pool = subject.pool
    source = parse_pool(pool.live or pool.inactive or "").source or PoolSource()
    devices = ",".join(dict(device.attrs).get("path", "") for device in source.devices)
    return [((pool.type, pool.path, source.name or source.dir or devices), 1)]


TOTALS: tuple[Row[Whole], ...] = (
    Row("virtbus_storage_pools", "gauge", ("type", "state"), "Storage pools of this node, by type and state, as the "
        "service knows them.", _by_type),
    Row("virtbus_storage_pool_refresh_seconds", "histogram", ("type",), "Time that refreshes of pools took since the "
        "service started, as the service sees it.", lambda w: [((kind,), h) for kind, h in w.refresh_seconds.items()]),
)

KNOWN: tuple[Row[Subject], ...] = (
    Row("virtbus_storage_pool_info", "info", ("type", "target", "source"), "What the pool is, from its definition; "
        "always 1.", _info),
    states("virtbus_storage_pool_state", "1 for the state that the pool is in, as the service knows it.", STATES,
           lambda s: STATES[s.pool.state]),
    one("virtbus_storage_pool_autostart", "gauge", "1 when the pool starts with the node, from its mark.",
        lambda s: int(s.pool.autostart)),
    one("virtbus_storage_pool_persistent", "gauge", "1 when the pool is defined, 0 when it will be gone with its end.",
        lambda s: int(s.pool.persistent)),
    one("virtbus_storage_pool_committed_bytes", "gauge", "Sum of the sizes that the pool's volumes have for guests, as "
        "of the last full refresh.",
        lambda s: sum(v.capacity or 0 for v in s.pool.volumes.values()) if s.pool.active else None),
    one("virtbus_storage_pool_volumes", "gauge", "Volumes in the pool, as of the last full refresh.",
        lambda s: len(s.pool.volumes) if s.pool.active else None),
    one("virtbus_storage_pool_refresh_timestamp_seconds", "gauge", "Unix time of the last full refresh that succeeded; "
        "absent before the first.", lambda s: s.pool.refreshed or None),
    Row("virtbus_storage_pool_refreshes_total", "counter", ("outcome",), "Refreshes of the pool since the service "
        "started, full ones and those of its sizes, by outcome.",
        lambda s: [((outcome,), s.pool.refreshes[outcome]) for outcome in REFRESH_OUTCOMES]),
)

MEASURED: tuple[Row[PoolSizes], ...] = (
    one("virtbus_storage_pool_capacity_bytes", "gauge", "Size of what the pool stands on (from statvfs, for a "
        "directory).", lambda s: s.capacity),
    one("virtbus_storage_pool_allocated_bytes", "gauge", "Part in use of what the pool stands on (from statvfs, for a "
        "directory).", lambda s: s.allocated),
    one("virtbus_storage_pool_available_bytes", "gauge", "Free part of what the pool stands on (from statvfs, for a "
        "directory).", lambda s: s.available),
)


class Pools(Collection[Subject, PoolSizes, Whole]):
    """The pools of all connections."""

    name = "pools"
    interval = 60.0
    labels = ("pool", "uuid")
    freshness = "virtbus_storage_pool"
    known = KNOWN
    measured = MEASURED
    totals = TOTALS

    def drivers(self) -> list[StorageDriver]:
        """The connections as what they are."""
        return [driver for driver in self.connections.values() if isinstance(driver, StorageDriver)]

    def subjects(self) -> list[Subject]:
        """All pools."""
        return [Subject(driver, pool) for driver in self.drivers() for pool in driver.pools]

    def whole(self, subjects: Sequence[Subject]) -> Whole:
        """All pools and the times of their refreshes."""
        seconds: dict[str, Histogram] = {}
        for driver in self.drivers():
            for kind, durations in driver.refresh_seconds.items():
                seconds.setdefault(kind, Histogram()).add(durations)
        return Whole(subjects, seconds)

    async def measure(self, subject: Subject) -> PoolSizes | None:
        """Ask its driver."""
        with subject.driver.refreshing(subject.pool):
            return await subject.driver.statistics(subject.pool)

    def missed(self, subject: Subject) -> None:
        """Another time without an answer."""
        subject.pool.refreshes["timeout"] += 1
