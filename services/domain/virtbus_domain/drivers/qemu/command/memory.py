"""Memory: the back end of the main memory or of each NUMA cell, and memory that is plugged as a device."""

from __future__ import annotations

from pathlib import Path

from virtbus_domain.drivers.qemu.command.arguments import Arguments, Json, unsupported
from virtbus_domain.drivers.qemu.command.parts import Part, append, part_device, part_object
from virtbus_domain.drivers.qemu.command.place import place
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.bitmap import numbers, ranges
from virtbus_domain.xml.cpu import NumaCell
from virtbus_domain.xml.memory_device import MemoryDevice

_MIB = 1024  # KiB
_POLICIES = {"strict": "bind", "preferred": "preferred", "interleave": "interleave"}
_SYSTEM_PAGE = 4  # KiB


def append_memory(arguments: Arguments, setup: Setup) -> None:
    """``-m``, the back ends, and ``-overcommit``. Sizes are rounded up to MiB, which is what QEMU wants."""
    domain = setup.domain
    cells = domain.cpu.numa if domain.cpu else []
    initial = sum(map(_cell_size, cells)) if cells else _whole_mib(
        (domain.memory or 0) - sum(device.size or 0 for device in setup.devices.memories))
    if domain.max_memory:
        arguments.keyed("-m", size=f"{initial}k", slots=domain.max_memory_slots,
                        maxmem=f"{_whole_mib(domain.max_memory)}k")
    else:
        arguments.plain("-m", str(initial // _MIB))
    if not cells and setup.machine.ram_id is not None:
        append(arguments, [_back_end(setup, setup.machine.ram_id, initial, main=True)])
    arguments.keyed("-overcommit", mem_lock=bool(domain.memory_backing and domain.memory_backing.locked))


def append_numa(arguments: Arguments, setup: Setup) -> None:
    """``-numa``: the cells, what backs each, and how far they are apart."""
    cells = setup.domain.cpu.numa if setup.domain.cpu else []
    for cell in cells:
        name = f"ram-node{cell.id}"
        append(arguments, [_back_end(setup, name, _cell_size(cell), cell=cell)])
        arguments.pairs("-numa", [("nodeid", cell.id), *(("cpus", part) for part in ranges(cell.cpus or "")),
                                  ("memdev", name)], "node")
    distances = {(cell.id, sibling.id): sibling.value for cell in cells for sibling in cell.distances}
    if not distances:
        return
    for source in cells:
        for target in cells:
            value = distances.get((source.id, target.id)) or distances.get((target.id, source.id)) or (
                10 if source is target else 20)  # ACPI's own figures for near and far
            arguments.keyed("-numa", "dist", src=source.id, dst=target.id, val=value)


def memory_parts(device: MemoryDevice, setup: Setup) -> list[Part]:
    """A memory module, with its back end."""
    name, size = str(device.alias), _whole_mib(device.size or 0)
    back_end = f"mem{name}"
    where = place(device, setup)
    match device.model:
        case "dimm":
            return [_back_end(setup, back_end, size, device=device),
                    part_device("pc-dimm", name, node=device.node, memdev=back_end, **where)]
        case "nvdimm":
            return [part_object("memory-backend-file", back_end, mem_path=device.source_path, prealloc=True,
                                share=True if device.access == "shared" else None, size=size * 1024,
                                align=device.alignsize * 1024 if device.alignsize else None,
                                pmem=True if device.pmem else None),
                    part_device("nvdimm", name, node=device.node,
                                label_size=device.label_size * 1024 if device.label_size else None,
                                unarmed=True if device.readonly else None, uuid=device.uuid, memdev=back_end, **where)]
        case "virtio-mem":
            return [_back_end(setup, back_end, size, device=device, reserve=False),
                    part_device("virtio-mem-pci", name, node=device.node,
                                block_size=device.block * 1024 if device.block else None,
                                requested_size=(device.requested or 0) * 1024, memdev=back_end, **where)]
        case "virtio-pmem":
            return [part_object("memory-backend-file", back_end, mem_path=device.source_path, share=True,
                                size=size * 1024),
                    part_device("virtio-pmem-pci", name, memdev=back_end, **where)]
    raise unsupported(f"memory of model '{device.model}'")


def _whole_mib(size: int) -> int:
    return -(-size // _MIB) * _MIB


def _cell_size(cell: NumaCell) -> int:
    return _whole_mib(cell.memory or 0)


def _back_end(setup: Setup, name: str, size: int, *, cell: NumaCell | None = None,
              device: MemoryDevice | None = None, main: bool = False, reserve: bool | None = None) -> Part:
    """The object behind ``size`` KiB of memory: plain, a memory file, or a file, as the document says."""
    backing = setup.domain.memory_backing
    if device is not None:  # what is said of a cell holds for what is plugged into it
        cells = (setup.domain.cpu.numa if setup.domain.cpu else None) or []
        cell = next((found for found in cells if found.id == device.node), None)
    access = (device.access if device else None) or (cell.mem_access if cell else None) or (
        backing.access_mode if backing else None)
    discards = device.discard if device and device.discard is not None else cell.discard if (
        cell and cell.discard is not None) else True if backing and backing.discard else None
    cell_id = cell.id if cell else device.node if device else None
    page = _huge_page(setup, cell_id, device)
    source = backing.source_type if backing else None
    properties: dict[str, Json] = {}
    if page is not None or source == "memfd":
        kind = "memory-backend-memfd"
        if page is not None:
            properties = {"hugetlb": True, "hugetlbsize": page * 1024 if page else None, "prealloc": True}
    elif source == "file" or access is not None:
        kind = "memory-backend-file"
        properties = {"mem_path": str(_file(setup, name))}
    else:
        kind = "memory-backend-ram"
    if kind != "memory-backend-ram":
        properties["share"] = {"shared": True, "private": False}.get(access or "")
        properties["discard_data"] = True if discards and kind == "memory-backend-file" else None
        properties["x_use_canonical_path_for_ramblock_id"] = False if main else None
    if backing and backing.allocation_mode == "immediate":
        properties |= {"prealloc": True, "prealloc_threads": backing.allocation_threads}
    return part_object(kind, name, size=size * 1024, reserve=reserve, **properties,
                       **_binding(setup, cell_id, device))


def _file(setup: Setup, name: str) -> Path:
    return setup.run_dir / "ram" / name


def _huge_page(setup: Setup, cell: int | None, device: MemoryDevice | None) -> int | None:
    """The size in KiB of the huge pages to use, 0 for the host's default size, None for ordinary pages."""
    if device is not None and device.pagesize is not None:
        return device.pagesize if device.pagesize > _SYSTEM_PAGE else None
    backing = setup.domain.memory_backing
    if backing is None or backing.hugepages is None:
        return None
    if not backing.hugepages.pages:
        return 0
    for page in backing.hugepages.pages:
        if page.nodeset is None or (cell is not None and cell in numbers(page.nodeset)):
            return page.size if page.size and page.size > _SYSTEM_PAGE else None
    return None


def _binding(setup: Setup, cell: int | None, device: MemoryDevice | None) -> dict[str, Json]:
    """Which of the host's nodes the memory is taken from."""
    tune = setup.domain.numatune
    mode, nodes = (tune.memory.mode, tune.memory.nodeset) if tune and tune.memory else (None, None)
    for memnode in tune.memnodes if tune else []:
        if memnode.cellid == cell:
            mode, nodes = memnode.mode or "strict", memnode.nodeset
    if device is not None and device.nodemask is not None:
        mode, nodes = mode or "strict", device.nodemask
    policy = _POLICIES.get(mode or "strict")
    if nodes is None or policy is None:
        return {}
    return {"host_nodes": [*numbers(nodes)], "policy": policy}
