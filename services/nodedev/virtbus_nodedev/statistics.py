"""What is measured of the host itself, from the kernel's own files; sizes in bytes, times in seconds."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from virtbus_nodedev import sysfs
from virtbus_nodedev.host import Host
from virtbus_shared.errors import LibvirtError

# The fields of the line "cpu" in /proc/stat, proc(5). Time of guests is in user and nice already.
_CPU_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_MEMORY = {"total": "MemTotal", "free": "MemFree", "available": "MemAvailable", "cached": "Cached"}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class CellStatistics:
    """One NUMA node."""

    cpus: int
    total: int | None
    free: int | None


@dataclass(frozen=True, slots=True)
class HostStatistics:
    """The host. ``cpu_seconds`` by mode, ``memory`` by kind, ``cells`` by number of the NUMA node."""

    hostname: str
    host_uuid: str
    arch: str
    cpu_model: str
    kernel: str
    online: int
    offline: int
    sockets: int
    cores: int
    threads: int
    cpu_seconds: Mapping[str, float]
    memory: Mapping[str, int]
    boot_time: int | None
    cells: Mapping[int, CellStatistics]


def host_statistics(host: Host, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> HostStatistics:
    """Read everything once: some hundred small files, which the kernel answers from memory."""
    info, cpus = host.info(), host.cpus()
    online = sum(cpu.online for cpu in cpus)
    stat = sysfs.read(proc / "stat") or ""
    model = re.search(r"^model name\s*:\s*(.+)$", sysfs.read(proc / "cpuinfo") or "", re.MULTILINE)
    boot = re.search(r"^btime (\d+)$", stat, re.MULTILINE)
    return HostStatistics(
        hostname=host.hostname(), host_uuid=_uuid(host), arch=platform.machine(),
        cpu_model=model[1].strip() if model else "", kernel=platform.release(), online=online,
        offline=len(cpus) - online, sockets=info.nodes * info.sockets, cores=info.nodes * info.sockets * info.cores,
        threads=info.threads, cpu_seconds=_cpu_seconds(stat), memory=_memory(sysfs.read(proc / "meminfo") or ""),
        boot_time=int(boot[1]) if boot else None, cells=_cells(sys / "devices/system/node"))


def _uuid(host: Host) -> str:
    try:
        return host.uuid()
    except LibvirtError:  # it has none
        return ""


def _cpu_seconds(stat: str) -> dict[str, float]:
    ticks = dict(zip(_CPU_FIELDS, map(int, stat.partition("\n")[0].split()[1:]), strict=False))
    # Interrupts are one mode, whichever half of them it is.
    ticks["irq"] = ticks.get("irq", 0) + ticks.pop("softirq", 0)
    return {mode: value / _TICKS for mode, value in ticks.items()}


def _memory(text: str) -> dict[str, int]:
    """Fields of meminfo, whose lines begin with "Node N" in a NUMA node's file; those that are missing are left out."""
    found = {key: re.search(rf"(?:^|\s){name}:\s+(\d+) kB", text) for key, name in _MEMORY.items()}
    return {key: int(match[1]) * 1024 for key, match in found.items() if match}


def _cells(nodes: Path) -> dict[int, CellStatistics]:
    cells = {}
    for number, path in sysfs.numbered(nodes, "node"):
        memory = _memory(sysfs.read(path / "meminfo") or "")
        cells[number] = CellStatistics(len(sysfs.parse_list(sysfs.read(path / "cpulist"))), memory.get("total"),
                                       memory.get("free"))
    return cells
