"""The metrics of the node device service: the host that guests share, and its devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from virtbus_nodedev.driver import NodedevDriver
from virtbus_nodedev.handlers import capability_types
from virtbus_nodedev.statistics import HostStatistics
from virtbus_shared.service.collection import Collection
from virtbus_shared.service.snapshot import Row, Sample, one

CPU_MODES = ("user", "system", "idle", "iowait", "irq", "steal", "nice")


@dataclass(frozen=True, slots=True)
class Subject:
    """A connection to a real host."""

    driver: NodedevDriver

    @property
    def key(self) -> str:
        """There is one host."""
        return "node"

    @property
    def scheme(self) -> str:
        """Its driver."""
        return self.driver.host.scheme

    @property
    def identity(self) -> tuple[str, ...]:
        """The scrape's target says which node this is."""
        return ()

    @property
    def instance(self) -> bool:
        """It runs."""
        return True

    def stamp(self) -> None:
        """It has no known rows."""


def _capabilities(subjects: Sequence[Subject]) -> Iterable[Sample]:
    counts = Counter(kind for s in subjects for device in s.driver.devices() for kind in set(capability_types(device)))
    return [((kind,), count) for kind, count in sorted(counts.items())]


TOTALS: tuple[Row[Sequence[Subject]], ...] = (
    Row("virtbus_nodedevs", "gauge", ("capability",), "Devices of this node by capability, from udev; one with two "
        "capabilities counts in both.", _capabilities),
    Row("virtbus_nodedev_events_total", "counter", ("event",), "Changes of devices since the service started, as udev "
        "told them.", lambda all_: [((event,), count) for s in all_ for event, count in s.driver.changes.items()]),
)

MEASURED: tuple[Row[HostStatistics], ...] = (
    Row("virtbus_node_info", "info", ("hostname", "host_uuid", "arch", "cpu_model", "kernel"), "What this node is, "
        "from its firmware and kernel; always 1.",
        lambda s: [((s.hostname, s.host_uuid, s.arch, s.cpu_model, s.kernel), 1)]),
    Row("virtbus_node_cpus", "gauge", ("state",), "Logical CPUs of this node by state (from sysfs).",
        lambda s: [(("online",), s.online), (("offline",), s.offline)]),
    one("virtbus_node_cpu_sockets", "gauge", "Processor sockets of this node (from sysfs).", lambda s: s.sockets),
    one("virtbus_node_cpu_cores", "gauge", "Processor cores of this node, all sockets together (from sysfs).",
        lambda s: s.cores),
    one("virtbus_node_cpu_threads_per_core", "gauge", "Threads of a processor core of this node (from sysfs).",
        lambda s: s.threads),
    Row("virtbus_node_cpu_seconds_total", "counter", ("mode",), "Time of all CPUs of this node since it booted, by "
        "what they did (from /proc/stat).", lambda s: [((mode,), s.cpu_seconds.get(mode)) for mode in CPU_MODES]),
    *(one(f"virtbus_node_memory_{kind}_bytes", "gauge", f"{text} of this node (from /proc/meminfo).",
          lambda s, kind=kind: s.memory.get(kind))  # type: ignore[misc]
      for kind, text in (("total", "Memory"), ("free", "Wholly unused memory"), ("cached", "Page cache"),
                         ("available", "Memory that could be had without swapping"))),
    one("virtbus_node_boot_time_seconds", "gauge", "Unix time at which this node booted (from /proc/stat).",
        lambda s: s.boot_time),
    one("virtbus_node_numa_cells", "gauge", "NUMA cells of this node (from sysfs).", lambda s: len(s.cells), "numa"),
    Row("virtbus_node_numa_cpus", "gauge", ("cell",), "Logical CPUs of a NUMA cell (from sysfs).",
        lambda s: [((str(n),), cell.cpus) for n, cell in s.cells.items()], "numa"),
    Row("virtbus_node_numa_memory_total_bytes", "gauge", ("cell",), "Memory of a NUMA cell (from sysfs).",
        lambda s: [((str(n),), cell.total) for n, cell in s.cells.items()], "numa"),
    Row("virtbus_node_numa_memory_free_bytes", "gauge", ("cell",), "Wholly unused memory of a NUMA cell (from sysfs).",
        lambda s: [((str(n),), cell.free) for n, cell in s.cells.items()], "numa"),
)


class Node(Collection[Subject, HostStatistics, Sequence[Subject]]):
    """The host of the connections that have a real one."""

    name = "node"
    interval = 30.0
    labels = ()
    freshness = ""
    known = ()
    measured = MEASURED
    totals = TOTALS

    def subjects(self) -> list[Subject]:
        """The host, if one of the connections is to it."""
        return [Subject(driver) for driver in self.connections.values()
                if isinstance(driver, NodedevDriver) and driver.is_host][:1]

    def whole(self, subjects: Sequence[Subject]) -> Sequence[Subject]:
        """The host."""
        return subjects

    async def measure(self, subject: Subject) -> HostStatistics | None:
        """Ask its driver."""
        return await subject.driver.statistics()
