"""What the guests of the ``test`` driver do all day: a function of the time since their start and of their shape.

Nothing is random and nothing is remembered, so a test can compute what a metric must be. Time counts in whole seconds.
"""

from __future__ import annotations

from virtbus_domain.object import Facts
from virtbus_domain.statistics import (
    BlockStatistics,
    CpuTime,
    DomainStatistics,
    InterfaceStatistics,
    Shape,
    Traffic,
    VcpuStatistics,
)

_BLOCK = 4096  # bytes of each request
_FRAME = 1000  # bytes of each packet
_DISK = 2**30  # bytes of each disk


def model_statistics(shape: Shape, facts: Facts, uptime: float) -> DomainStatistics:
    """One CPU is busy all the time; the n-th disk and network card do n units of work a second.

    A disk writes half of what it reads and flushes once in eight seconds; a card sends half of what it receives.
    """
    t = max(0, int(uptime))
    return DomainStatistics(
        cpu=CpuTime(t, t * 0.75, t * 0.25),
        balloon_bytes=facts.memory * 1024,
        resident_bytes=facts.memory * 1024,
        vcpus={n: VcpuStatistics(t / facts.vcpus, t / 1024) for n in range(facts.vcpus)},
        disks={disk.target: _disk(n * t) for n, disk in enumerate(shape.disks, 1)},
        interfaces={card.name: InterfaceStatistics(Traffic(n * t * _FRAME, n * t, 0, 0),
                                                   Traffic(n * t // 2 * _FRAME, n * t // 2, 0, 0))
                    for n, card in enumerate(shape.interfaces, 1)})


def _disk(reads: int) -> BlockStatistics:
    writes, flushes = reads // 2, reads // 8
    return BlockStatistics(
        read_bytes=reads * _BLOCK, written_bytes=writes * _BLOCK, reads=reads, writes=writes, flushes=flushes,
        read_seconds=reads / 1024, write_seconds=writes / 1024, flush_seconds=flushes / 1024, failed_reads=0,
        failed_writes=0, failed_flushes=0, capacity=_DISK, allocated=min(writes * _BLOCK, _DISK), physical=_DISK)
