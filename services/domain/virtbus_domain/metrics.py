"""The metrics of the domain service: the table, and where each value comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from virtbus_domain.driver import DomainDriver
from virtbus_domain.object import DomainObject, unpack
from virtbus_domain.statistics import BlockStatistics, DomainStatistics, Shape, Traffic
from virtbus_shared.api import domain as api
from virtbus_shared.service.change import EventRecord
from virtbus_shared.service.collection import Collection
from virtbus_shared.service.driver import Driver
from virtbus_shared.service.snapshot import Kind, Row, Sample, one, states

# libvirt's states and lifecycle events in the order of their numbers.
STATES = ("nostate", "running", "blocked", "paused", "shutdown", "shutoff", "crashed", "pmsuspended")
EVENTS = ("defined", "undefined", "started", "suspended", "resumed", "stopped", "shutdown", "pmsuspended", "crashed")
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Subject:
    """A domain with its driver and the shape of its document."""

    driver: DomainDriver
    domain: DomainObject
    shape: Shape

    @property
    def key(self) -> str:
        """Its UUID."""
        return self.domain.uuid

    @property
    def scheme(self) -> str:
        """Its driver."""
        return self.driver.host.scheme

    @property
    def identity(self) -> tuple[str, str]:
        """Name and UUID."""
        return self.domain.name, self.domain.uuid

    @property
    def instance(self) -> int | None:
        """The number of the running domain."""
        return self.domain.id if self.domain.active else None

    def stamp(self) -> tuple[object, ...]:
        """All that the known rows are made of."""
        d = self.domain
        return (d.state, d.changed, d.started, d.autostart, d.persistent, d.crashes, d.facts, self.shape)


@dataclass(frozen=True, slots=True)
class Whole:
    """All domains, the drivers that there are, and the lifecycle events so far."""

    subjects: Sequence[Subject]
    drivers: Iterable[str]
    events: Mapping[int, int]


def _by_state(whole: Whole) -> Iterable[Sample]:
    counts = Counter((s.scheme, s.domain.state) for s in whole.subjects)
    return [((driver, word), counts[driver, state]) for driver in whole.drivers for state, word in enumerate(STATES)]


def _configured(get: Callable[[DomainObject], int]) -> Callable[[Whole], Iterable[Sample]]:
    def read(whole: Whole) -> Iterable[Sample]:
        return [((word,), sum(get(s.domain) for s in whole.subjects if s.domain.active == active))
                for word, active in (("active", True), ("inactive", False))]
    return read


TOTALS: tuple[Row[Whole], ...] = (
    Row("virtbus_domains", "gauge", ("driver", "state"), "Domains of this node, by driver and state, as the service "
        "knows them.", _by_state),
    Row("virtbus_domains_vcpus", "gauge", ("state",), "Virtual CPUs configured for the domains of this node, from "
        "their definitions.", _configured(lambda d: d.facts.vcpus)),
    Row("virtbus_domains_memory_bytes", "gauge", ("state",), "Memory configured for the domains of this node, from "
        "their definitions.", _configured(lambda d: d.facts.max_memory * _KIB)),
    Row("virtbus_domain_lifecycle_events_total", "counter", ("event",), "Lifecycle events of domains since the service "
        "started, as it told them.", lambda w: [((word,), w.events.get(n, 0)) for n, word in enumerate(EVENTS)]),
)

KNOWN: tuple[Row[Subject], ...] = (
    Row("virtbus_domain_info", "info", ("driver", "virt_type", "os_type", "arch", "machine"), "What the domain is, "
        "from its definition; always 1.", lambda s: [
            ((s.scheme, s.shape.virt_type, s.shape.os_type, s.shape.arch, s.shape.machine), 1)]),
    states("virtbus_domain_state", "1 for the state that the domain is in, as the service knows it.", STATES,
           lambda s: STATES[s.domain.state]),
    one("virtbus_domain_state_change_timestamp_seconds", "gauge", "Unix time of the domain's last change of state, as "
        "the service saw it.", lambda s: s.domain.changed),
    one("virtbus_domain_start_time_seconds", "gauge", "Unix time at which the running instance was started by the "
        "service; absent when inactive.", lambda s: (s.domain.started or None) if s.domain.active else None),
    one("virtbus_domain_autostart", "gauge", "1 when the domain starts with the node, from its mark.",
        lambda s: int(s.domain.autostart)),
    one("virtbus_domain_persistent", "gauge", "1 when the domain is defined, 0 when it will be gone with its end.",
        lambda s: int(s.domain.persistent)),
    one("virtbus_domain_crashes_total", "counter", "Crashes of the guest and unexpected exits of its hypervisor "
        "process since the service started.", lambda s: s.domain.crashes),
    one("virtbus_domain_vcpus", "gauge", "Virtual CPUs that are online, from the running instance or else the "
        "definition.", lambda s: s.domain.facts.vcpus),
    one("virtbus_domain_vcpus_maximum", "gauge", "Most virtual CPUs that the domain can have, from its definition.",
        lambda s: s.domain.facts.max_vcpus),
    one("virtbus_domain_memory_maximum_bytes", "gauge", "Most memory that the domain can have, from its definition.",
        lambda s: s.domain.facts.max_memory * _KIB),
    Row("virtbus_domain_block_info", "info", ("device", "bus", "driver_type", "disk_type", "source"), "What a disk of "
        "the domain is, from its definition; always 1.", lambda s: [
            ((d.target, d.bus, d.format, d.type, d.source), 1) for d in s.shape.disks], "block"),
    Row("virtbus_domain_interface_info", "info", ("device", "mac", "model", "source_type", "source", "host_device"),
        "What a network card of the domain is, from its definition; always 1.", lambda s: [
            ((i.name, i.mac, i.model, i.source_type, i.source, i.host_device), 1) for i in s.shape.interfaces],
        "interface"),
)


def _block(name: str, text: str, get: Callable[[BlockStatistics], float | None],
           kind: Kind = "counter") -> Row[DomainStatistics]:
    return Row(f"virtbus_domain_block_{name}", kind, ("device",), text,
               lambda s: [((device,), get(disk)) for device, disk in s.disks.items()], "block")


def _failed(statistics: DomainStatistics) -> Iterable[Sample]:
    for device, disk in statistics.disks.items():
        yield (device, "read"), disk.failed_reads
        yield (device, "write"), disk.failed_writes
        yield (device, "flush"), disk.failed_flushes


def _traffic(direction: str, what: str, text: str, get: Callable[[Traffic], int]) -> Row[DomainStatistics]:
    text = f"{text} by the guest's network card since the domain started, in the guest's view (from the host device)."
    return Row(f"virtbus_domain_interface_{direction}_{what}_total", "counter", ("device",), text,
               lambda s: [((device,), get(card.receive if direction == "receive" else card.transmit))
                          for device, card in s.interfaces.items()], "interface")


_TRAFFIC: tuple[tuple[str, str, Callable[[Traffic], int]], ...] = (
    ("bytes", "Bytes", lambda t: t.bytes), ("packets", "Packets", lambda t: t.packets),
    ("errors", "Packets with errors", lambda t: t.errors), ("drops", "Packets dropped instead of being",
                                                            lambda t: t.drops))
_REQUESTS = "the guest since the domain started, before cache and backing chain (from query-blockstats)."

MEASURED: tuple[Row[DomainStatistics], ...] = (
    one("virtbus_domain_cpu_seconds_total", "counter", "Host CPU used for the domain since it started, the "
        "hypervisor's own share included (from the process).", lambda s: s.cpu.total if s.cpu else None),
    Row("virtbus_domain_cpu_mode_seconds_total", "counter", ("mode",), "Host CPU used for the domain since it started, "
        "by the mode of the processor (from the process).", lambda s: [
            (("user",), s.cpu.user), (("system",), s.cpu.system)] if s.cpu else []),
    Row("virtbus_domain_vcpu_seconds_total", "counter", ("vcpu",), "Host CPU used by the thread of a virtual CPU since "
        "the domain started (from schedstat).", lambda s: [((str(n),), v.time) for n, v in s.vcpus.items()], "vcpu"),
    Row("virtbus_domain_vcpu_delay_seconds_total", "counter", ("vcpu",), "Time since the domain started in which a "
        "virtual CPU could run and the host ran others; the guest sees steal (from schedstat).",
        lambda s: [((str(n),), v.delay) for n, v in s.vcpus.items()], "vcpu"),
    one("virtbus_domain_memory_balloon_bytes", "gauge", "Memory that the guest has now (from query-balloon, or all of "
        "it without a balloon).", lambda s: s.balloon_bytes),
    one("virtbus_domain_memory_resident_bytes", "gauge", "Host memory that the hypervisor process holds now (from "
        "statm).", lambda s: s.resident_bytes),
    _block("read_bytes_total", f"Bytes read by {_REQUESTS}", lambda d: d.read_bytes),
    _block("written_bytes_total", f"Bytes written by {_REQUESTS}", lambda d: d.written_bytes),
    _block("reads_total", f"Reads completed for {_REQUESTS}", lambda d: d.reads),
    _block("writes_total", f"Writes completed for {_REQUESTS}", lambda d: d.writes),
    _block("flushes_total", f"Flushes completed for {_REQUESTS}", lambda d: d.flushes),
    _block("read_seconds_total", f"Time summed over reads of {_REQUESTS}", lambda d: d.read_seconds),
    _block("write_seconds_total", f"Time summed over writes of {_REQUESTS}", lambda d: d.write_seconds),
    _block("flush_seconds_total", f"Time summed over flushes of {_REQUESTS}", lambda d: d.flush_seconds),
    Row("virtbus_domain_block_failed_total", "counter", ("device", "operation"), "Requests of the guest that failed "
        "since the domain started (from query-blockstats).", _failed, "block"),
    _block("capacity_bytes", "Size of the disk as the guest sees it (from query-named-block-nodes).",
           lambda d: d.capacity, "gauge"),
    _block("allocated_bytes", "Highest offset written in the image since the domain started (from wr_highest_offset).",
           lambda d: d.allocated, "gauge"),
    _block("physical_bytes", "Size of the image's file or device on the host (from query-named-block-nodes).",
           lambda d: d.physical, "gauge"),
    *(_traffic(direction, what, f"{noun} {verb}", get) for direction, verb in (("receive", "received"),
                                                                            ("transmit", "transmitted"))
      for what, noun, get in _TRAFFIC),
)


class Domains(Collection[Subject, DomainStatistics, Whole]):
    """The domains of all connections."""

    name = "domains"
    interval = 10.0
    labels = ("domain", "uuid")
    freshness = "virtbus_domain"
    known = KNOWN
    measured = MEASURED
    totals = TOTALS

    def __init__(self, connections: Mapping[tuple[str, str], Driver]) -> None:
        super().__init__(connections)
        self._shapes: dict[str, tuple[bytes, Shape]] = {}  # by UUID, with the document that it was read from
        self._events: Counter[int] = Counter()

    def drivers(self) -> list[DomainDriver]:
        """The connections as what they are."""
        return [driver for driver in self.connections.values() if isinstance(driver, DomainDriver)]

    def subjects(self) -> Iterator[Subject]:
        """All domains."""
        for driver in self.drivers():
            for domain in tuple(driver.domains):
                yield Subject(driver, domain, self._shape(domain))

    def _shape(self, domain: DomainObject) -> Shape:
        document = domain.packed
        kept = self._shapes.get(domain.uuid)
        if kept is None or kept[0] is not document:
            kept = self._shapes[domain.uuid] = (document, Shape.of(unpack(document)))
        return kept[1]

    def whole(self, subjects: Sequence[Subject]) -> Whole:
        """Domains, drivers and events."""
        self._shapes = {s.key: self._shapes[s.key] for s in subjects}
        return Whole(subjects, sorted({driver.host.scheme for driver in self.drivers()}), self._events)

    async def measure(self, subject: Subject) -> DomainStatistics | None:
        """Ask its driver."""
        return await subject.driver.statistics(subject.domain, subject.shape)

    def happened(self, event: EventRecord) -> None:
        """Count the lifecycle events."""
        if event.name == api.LIFECYCLE.name:
            self._events[event.body["event"]] += 1
