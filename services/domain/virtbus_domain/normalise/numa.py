"""NUMA: the cells of a guest with their CPUs, distances and caches, and from which of the host's nodes memory comes."""

from __future__ import annotations

from collections.abc import Iterable

from virtbus_domain.normalise.context import Context, internal_error, qemu_unsupported, unsupported, xml_error
from virtbus_domain.xml.bitmap import canonical, numbers
from virtbus_domain.xml.cpu import Cpu, NumaBandwidth, NumaCell, NumaLatency, NumaSibling
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.memory import Numatune, NumatuneMemory

_LOCAL, _UNREACHABLE = 10, 255  # distances


def read_numa_cells(domain: Domain, context: Context) -> None:
    """Cells are numbered in the order in which they stand, unless they say otherwise, and kept by number."""
    del context
    cpu = domain.cpu
    if cpu is not None and cpu.numa:
        _number_cells(cpu)
        _read_distances(cpu.numa)
        _check_links(cpu)
        _check_cpu_count(domain, cpu.numa)
    elif domain.vcpu == 0:
        raise internal_error("CPU IDs in <numa> exceed the <vcpu> count")  # libvirt asks that even without cells


def _number_cells(cpu: Cpu) -> None:
    seen: dict[int, set[int]] = {}
    for number, cell in enumerate(cpu.numa):
        if cell.id is None:
            cell.id = number
        if cell.id >= len(cpu.numa):
            raise xml_error("Exactly one 'cell' element per guest NUMA cell allowed, non-contiguous ranges or ranges "
                            "not starting from 0 are not allowed")
        if cell.id in seen:
            raise xml_error(f"Duplicate NUMA cell info for cell id '{cell.id}'")
        mine = _numbers(cell.cpus)
        for other, theirs in seen.items():
            if mine & theirs:
                raise unsupported(f"NUMA cells {cell.id} and {other} have overlapping vCPU ids")
        seen[cell.id] = mine
        levels = [cache.level for cache in cell.caches]
        for level in levels:
            if levels.count(level) > 1:
                raise xml_error(f"Cache level '{level}' already defined")
    cpu.numa.sort(key=lambda cell: cell.id or 0)


def _numbers(cpus: str | None) -> set[int]:
    return set(numbers(cpus)) if cpus else set()


def _read_distances(cells: list[NumaCell]) -> None:
    """One said distance makes all of its cell, and the way back when nothing is said of it."""
    if not any(cell.distances for cell in cells):
        return
    table: list[dict[int, int]] = [{} for _ in cells]
    for number, cell in enumerate(cells):
        for sibling in cell.distances:
            other, value = sibling.id or 0, sibling.value or 0
            if other >= len(cells):
                raise xml_error(f"'sibling_id {other}' does not refer to a valid cell within NUMA 'cell id {number}'")
            if not _LOCAL <= value <= _UNREACHABLE or (other == number and value != _LOCAL):
                raise xml_error(f"'value {value}' is invalid for 'sibling id {other}' under NUMA 'cell id {number}'")
            table[number] |= {number: _LOCAL, other: value}
            table[other].setdefault(other, _LOCAL)
            table[other].setdefault(number, value)
    for cell, distances in zip(cells, table, strict=True):
        cell.distances = [NumaSibling(id=number, value=value) for number, value in sorted(distances.items())]


def _check_links(cpu: Cpu) -> None:
    links: Iterable[NumaLatency | NumaBandwidth] = (*cpu.numa_latencies, *cpu.numa_bandwidths)
    for link in links:
        for end in ("initiator", "target"):
            if getattr(link, end) >= len(cpu.numa):
                raise xml_error(f"'{end}' refers to a non-existent NUMA node")
        if link.cache and link.cache not in {cache.level for cache in cpu.numa[link.target or 0].caches}:
            raise xml_error("'cache' refers to a non-existent NUMA node cache")


def _check_cpu_count(domain: Domain, cells: list[NumaCell]) -> None:
    named = [number for cell in cells for number in _numbers(cell.cpus)]
    count = domain.vcpu or 0
    if len(named) > count:
        raise internal_error("Number of CPUs in <numa> exceeds the <vcpu> count")
    if max(named, default=0) >= count:
        raise internal_error("CPU IDs in <numa> exceed the <vcpu> count")


def read_numatune(domain: Domain, context: Context) -> None:
    """Memory comes strictly from the said nodes; where it or the CPUs are placed automatically, both are."""
    del context
    tune = domain.numatune
    if tune is None:
        if domain.vcpu_placement != "auto":
            return
        tune = domain.numatune = Numatune()
    static = domain.vcpu_placement != "auto"
    if tune.memory is None and not static:
        tune.memory = NumatuneMemory(placement="auto")
    if tune.memory is not None and not _settle_memory(tune.memory, static=static):
        tune.memory = None
    _settle_cells(tune, len(domain.cpu.numa) if domain.cpu else 0)
    if tune.memory is None and not tune.memnodes:
        domain.numatune = None
    elif tune.memory and tune.memory.placement == "auto" and not domain.vcpu_cpuset and not _is_pinned(domain):
        domain.vcpu_placement = "auto"


def _settle_memory(memory: NumatuneMemory, *, static: bool) -> bool:
    """Whether anything is said: a mode alone says where the CPUs go."""
    if memory.mode is None and memory.nodeset is None and memory.placement is None:
        return False
    memory.mode = memory.mode or "strict"
    if memory.placement is None:
        memory.placement = "static" if static or memory.nodeset is not None else "auto"
    if memory.placement == "auto":
        memory.nodeset = None
    elif memory.nodeset is None:
        raise unsupported("nodeset for NUMA memory tuning must be set if 'placement' is 'static'")
    else:
        memory.placement = None  # which goes without saying
    return True


def _settle_cells(tune: Numatune, cells: int) -> None:
    if not tune.memnodes:
        return
    if tune.memory and tune.memory.placement == "auto":
        raise unsupported("Per-node binding is not compatible with automatic NUMA placement.")
    if not cells:
        raise xml_error("Element 'memnode' is invalid without any guest NUMA cells")
    seen: set[int | None] = set()
    for node in tune.memnodes:
        if (node.cellid or 0) >= cells:
            raise xml_error("Argument 'cellid' in memnode element must correspond to existing guest's NUMA cell")
        if node.cellid in seen:
            raise xml_error(f"Multiple memnode elements with cellid {node.cellid}")
        seen.add(node.cellid)
        node.mode = node.mode or "strict"
        if tune.memory and tune.memory.mode == "restrictive" and node.mode != "restrictive":
            raise xml_error("'restrictive' mode is required in memnode element when mode is 'restrictive' in memory "
                            "element")
    tune.memnodes.sort(key=lambda node: node.cellid or 0)


def _is_pinned(domain: Domain) -> bool:
    tune = domain.cputune
    return tune is not None and bool(tune.vcpupins or tune.emulatorpin or tune.iothreadpins)


def complete_numa_cells(domain: Domain, context: Context) -> None:
    """CPUs that no cell names belong to the first."""
    cells = domain.cpu.numa if domain.cpu else ()
    if not context.qemu or not cells:
        return
    named = {number for cell in cells for number in _numbers(cell.cpus)}
    if len(named) < (domain.vcpu or 0):
        others = {number for cell in cells[1:] for number in _numbers(cell.cpus)}
        cells[0].cpus = canonical(",".join(str(number) for number in range(domain.vcpu or 0) if number not in others))


def check_numa(domain: Domain, context: Context) -> None:
    """QEMU plugs memory into a cell, so there has to be one."""
    if context.qemu and domain.max_memory and not (domain.cpu and domain.cpu.numa):
        raise qemu_unsupported("At least one numa node has to be configured when enabling memory hotplug")
