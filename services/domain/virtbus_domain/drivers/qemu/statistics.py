"""What a running QEMU and the kernel tell of a guest, in the units of metrics.

CPU, memory and network cards are the kernel's, read from /proc and /sys, which answer at once whatever state QEMU is
in; disks and the balloon are QEMU's own. Where a source does not say something it stays unknown: no value here is an
estimate. Three units meet: clock ticks, nanoseconds and pages; all become base units in this file and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from virtbus_domain.drivers.qemu.discovery import stat_fields
from virtbus_domain.drivers.qemu.guest import Guest
from virtbus_domain.statistics import (
    BlockStatistics,
    CpuTime,
    DiskShape,
    DomainStatistics,
    InterfaceShape,
    InterfaceStatistics,
    Shape,
    Traffic,
    VcpuStatistics,
)

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_NANOSECONDS = 1_000_000_000
_UTIME, _STIME = 11, 12  # of stat_fields; proc(5)
_RESIDENT = 1  # of /proc/<pid>/statm, in pages; proc(5)
_TAPS = ("network", "bridge", "ethernet")  # types of interfaces whose host device is a tap


async def measure(guest: Guest, shape: Shape, maximum: int) -> DomainStatistics:
    """All of one guest. ``maximum``: bytes of memory that it has without a balloon. Raises ``LibvirtError``."""
    disks = await _disks(guest, shape.disks) if shape.disks else {}
    balloon = int((await guest.execute("query-balloon"))["actual"]) if shape.has_balloon else maximum
    threads = await vcpu_threads(guest)
    pid = guest.process.pid
    return DomainStatistics(cpu=cpu_time(pid), balloon_bytes=balloon, resident_bytes=resident(pid),
                            vcpus=vcpu_times(pid, threads), disks=disks, interfaces=interfaces(shape.interfaces))


# -- the kernel's part -----------------------------------------------------------------------------------------------


def cpu_time(pid: int) -> CpuTime | None:
    """CPU time of all threads of a process, None when it is gone."""
    try:
        fields = stat_fields(pid)
    except ProcessLookupError:
        return None
    user, system = int(fields[_UTIME]), int(fields[_STIME])
    return CpuTime((user + system) / _TICKS, user / _TICKS, system / _TICKS)


def resident(pid: int) -> int | None:
    """Host memory of a process in bytes, None when it is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[_RESIDENT]) * _PAGE
    return None


async def vcpu_threads(guest: Guest) -> Mapping[int, int]:
    """The thread of each virtual CPU. QEMU is asked once: it keeps them as long as it runs."""
    if guest.vcpu_threads is None:
        guest.vcpu_threads = {int(cpu["cpu-index"]): int(cpu["thread-id"])
                              for cpu in await guest.execute("query-cpus-fast")}
    return guest.vcpu_threads


def vcpu_times(pid: int, threads: Mapping[int, int]) -> dict[int, VcpuStatistics]:
    """What the scheduler knows of each virtual CPU; nothing when emulation runs several in one thread."""
    if len(set(threads.values())) < len(threads):
        return {}
    found: dict[int, VcpuStatistics] = {}
    for vcpu, thread in threads.items():
        with suppress(OSError, ValueError):
            running, waiting, _ = Path(f"/proc/{pid}/task/{thread}/schedstat").read_bytes().split()
            found[vcpu] = VcpuStatistics(int(running) / _NANOSECONDS, int(waiting) / _NANOSECONDS)
    return found


def interfaces(cards: Iterable[InterfaceShape], net: Path = Path("/sys/class/net")) -> dict[str, InterfaceStatistics]:
    """Counters of the cards that have a device on the host.

    A tap is the host's end of the cable: what the host receives on it, the guest has sent. A macvtap (``direct``)
    counts like the guest's card.
    """
    found: dict[str, InterfaceStatistics] = {}
    for card in cards:
        if not card.host_device or card.source_type not in (*_TAPS, "direct"):
            continue
        with suppress(OSError):
            rx, tx = (_traffic(net / card.host_device / "statistics", way) for way in ("rx", "tx"))
            received, sent = (rx, tx) if card.source_type == "direct" else (tx, rx)
            found[card.name] = InterfaceStatistics(received, sent)
    return found


def _traffic(folder: Path, way: str) -> Traffic:
    values = (int((folder / f"{way}_{what}").read_bytes()) for what in ("bytes", "packets", "errors", "dropped"))
    return Traffic(*values)


# -- QEMU's part -----------------------------------------------------------------------------------------------------


async def _disks(guest: Guest, disks: Sequence[DiskShape]) -> dict[str, BlockStatistics]:
    """QEMU's counters and sizes by target (query-blockstats and query-named-block-nodes, QEMU's QMP reference)."""
    counted = await guest.execute("query-blockstats")
    nodes = await guest.execute("query-named-block-nodes", {"flat": True})
    sizes = {str(node["node-name"]): int(node["image"]["virtual-size"]) for node in nodes if "image" in node}
    return {disk.target: _disk(item, sizes) for disk in disks if (item := _of_device(disk, counted)) is not None}


def _of_device(disk: DiskShape, counted: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The entry of a disk: ``qdev`` is its name, or for virtio a path that holds its name."""
    for item in counted:
        if disk.alias and disk.alias in str(item.get("qdev", "")).split("/"):
            return item
    return None


def _disk(item: Mapping[str, Any], sizes: Mapping[str, int]) -> BlockStatistics:
    stats, node = item["stats"], str(item.get("node-name", ""))
    parent = item.get("parent")
    return BlockStatistics(
        read_bytes=stats["rd_bytes"], written_bytes=stats["wr_bytes"], reads=stats["rd_operations"],
        writes=stats["wr_operations"], flushes=stats["flush_operations"],
        read_seconds=stats["rd_total_time_ns"] / _NANOSECONDS, write_seconds=stats["wr_total_time_ns"] / _NANOSECONDS,
        flush_seconds=stats["flush_total_time_ns"] / _NANOSECONDS, failed_reads=stats["failed_rd_operations"],
        failed_writes=stats["failed_wr_operations"], failed_flushes=stats["failed_flush_operations"],
        capacity=sizes.get(node), allocated=parent["stats"]["wr_highest_offset"] if parent else None,
        physical=sizes.get(str(parent.get("node-name", ""))) if parent else None)
