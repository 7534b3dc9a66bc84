"""What is measured of a running domain, and the shape that its devices have in its document.

A driver fills in what it knows; None, or an absent device, means that nobody knows, and becomes a gap. Values are in
base units: seconds, bytes, counts since the start of the running instance. Interface counters are the guest's view.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from virtbus_domain.xml import parse_domain
from virtbus_domain.xml.disk import Disk, DiskDriver
from virtbus_domain.xml.interface import Interface, InterfaceSource
from virtbus_domain.xml.storage_source import DiskSource


@dataclass(frozen=True, slots=True)
class DiskShape:
    """One disk: ``target`` is the name that the guest configuration uses, ``alias`` that of the running device."""

    target: str
    alias: str | None
    bus: str
    format: str
    type: str
    source: str


@dataclass(frozen=True, slots=True)
class InterfaceShape:
    """One network card: ``name`` is its alias, the same at every start; ``host_device`` is empty where it has none."""

    name: str
    mac: str
    model: str
    source_type: str
    source: str
    host_device: str


@dataclass(frozen=True, slots=True)
class Shape:
    """What metrics need of a document."""

    virt_type: str
    os_type: str
    arch: str
    machine: str
    has_balloon: bool
    disks: tuple[DiskShape, ...]
    interfaces: tuple[InterfaceShape, ...]

    @classmethod
    def of(cls, text: str) -> Shape:
        """The shape of a stored document."""
        model = parse_domain(text)
        os, devices = model.os, model.devices
        return cls(
            model.type or "", (os and os.type) or "", (os and os.arch) or "", (os and os.machine) or "",
            bool(devices and devices.memballoon and devices.memballoon.model != "none"),
            tuple(_disk(disk) for disk in devices.disks) if devices else (),
            tuple(_interface(n, card) for n, card in enumerate(devices.interfaces)) if devices else ())


def _disk(disk: Disk) -> DiskShape:
    source, options = disk.source or DiskSource(), disk.driver or DiskDriver()
    return DiskShape(disk.target_dev or "", disk.alias, disk.target_bus or "", options.type or "raw", disk.type or "",
                     source.path or source.volume or source.name or "")


def _interface(number: int, card: Interface) -> InterfaceShape:
    source = card.source or InterfaceSource()
    return InterfaceShape(card.alias or f"net{number}", card.mac or "", card.model or "", card.type or "",
                          source.network or source.bridge or source.dev or "", card.target_dev or "")


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds of host CPU: all, and the parts of it."""

    total: float
    user: float
    system: float


@dataclass(frozen=True, slots=True)
class VcpuStatistics:
    """One virtual CPU, seconds; ``delay`` is time in which it could have run and did not."""

    time: float | None
    delay: float | None


@dataclass(frozen=True, slots=True)
class BlockStatistics:
    """One disk: the guest's requests, and sizes. Times in seconds, summed over requests."""

    read_bytes: int | None = None
    written_bytes: int | None = None
    reads: int | None = None
    writes: int | None = None
    flushes: int | None = None
    read_seconds: float | None = None
    write_seconds: float | None = None
    flush_seconds: float | None = None
    failed_reads: int | None = None
    failed_writes: int | None = None
    failed_flushes: int | None = None
    capacity: int | None = None
    allocated: int | None = None
    physical: int | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """One direction of a network card."""

    bytes: int
    packets: int
    errors: int
    drops: int


@dataclass(frozen=True, slots=True)
class InterfaceStatistics:
    """One network card as the guest sees it."""

    receive: Traffic
    transmit: Traffic


@dataclass(frozen=True, slots=True)
class DomainStatistics:
    """One running domain. Virtual CPUs by number, disks by target, interfaces by name."""

    cpu: CpuTime | None = None
    balloon_bytes: int | None = None
    resident_bytes: int | None = None
    vcpus: Mapping[int, VcpuStatistics] = field(default_factory=dict)
    disks: Mapping[str, BlockStatistics] = field(default_factory=dict)
    interfaces: Mapping[str, InterfaceStatistics] = field(default_factory=dict)
