"""Memory read back: sizes, NUMA cells, modules, and what is behind each: ordinary memory, huge pages, or a file.

A document says for all memory at once what the command says back end by back end, so all are looked at together.
"""

from __future__ import annotations

from dataclasses import dataclass

from virtbus_domain.drivers.qemu.native.options import refusal
from virtbus_domain.drivers.qemu.native.values import Command, Values
from virtbus_domain.xml.bitmap import canonical
from virtbus_domain.xml.cpu import NumaCell, NumaSibling
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.memory import HugePage, HugePages, MemoryBacking, Numatune, NumatuneCell, NumatuneMemory
from virtbus_domain.xml.memory_device import MemoryDevice

_KINDS = {"memory-backend-ram": "ram", "memory-backend-file": "file", "memory-backend-memfd": "memfd"}
_POLICIES = {"bind": "strict", "preferred": "preferred", "interleave": "interleave"}
_SYSTEM_PAGE = 4  # KiB
MODULES = {"pc-dimm": "dimm", "nvdimm": "nvdimm", "virtio-mem-pci": "virtio-mem", "virtio-pmem-pci": "virtio-pmem"}


@dataclass
class BackEnd:
    """What is behind a size (KiB) of memory. ``page`` is that of huge pages in KiB, 0 for the host's own size."""

    kind: str
    size: int
    access: str | None
    discards: bool
    page: int | None
    preallocated: bool
    threads: int | None
    policy: str | None
    nodes: str | None


def read_back_end(item: Values, command: Command) -> BackEnd:
    """The object behind some memory whose properties the domain decides, not the device."""
    kind = _KINDS.get(item.kind)
    size = item.kilobytes("size")
    if kind is None or size is None:
        raise refusal(item.what)
    share = item.flag("share")
    huge = item.flag("hugetlb")
    page = (item.kilobytes("hugetlbsize") or 0) if huge else None
    path = item.text("mem-path")
    if kind == "file" and path != f"{command.run_directory}/ram/{item.id}":
        raise item.wrong("mem-path")
    item.skip("x-use-canonical-path-for-ramblock-id", "reserve")
    nodes = item.numbers("host-nodes")
    return BackEnd(
        kind=kind, size=size, access=None if share is None else "shared" if share else "private",
        discards=item.flag("discard-data") is True, page=page, preallocated=item.flag("prealloc") is True,
        threads=item.number("prealloc-threads"), policy=item.word("policy", _POLICIES),
        nodes=canonical(",".join(map(str, nodes))) if nodes else None)


def read_memory(command: Command, domain: Domain) -> None:
    """``-m``, ``-numa``, ``-overcommit`` and the back ends, also those of memory modules."""
    backing = domain.memory_backing
    assert backing is not None
    _read_size(command, domain)
    overcommit = command.one("-overcommit")
    backing.locked = overcommit is not None and overcommit.flag("mem-lock") is True
    main = next((name for values in command.all("-machine") if (name := values.text("memory-backend"))), None)
    back_ends = []
    if main is not None:
        back_ends.append(read_back_end(command.named("-object", main), command))
        _apply_main(back_ends[0], domain)
    cells = _read_cells(command, domain)
    modules = _read_modules(command)
    _apply_kind([*back_ends, *cells.values(), *modules], backing)
    _apply_pages(back_ends[0] if back_ends else None, cells, backing)


def _read_size(command: Command, domain: Domain) -> None:
    values = command.one("-m")
    if values is None:
        raise refusal("a command without -m")
    if values.kind.endswith("k"):
        domain.memory = values.affixed("size", suffix="k")
    else:
        domain.memory = values.required_number("size") * 1024
    if values.has("maxmem"):
        domain.max_memory, domain.max_memory_slots = values.affixed("maxmem", suffix="k"), values.number("slots")


def _apply_main(main: BackEnd, domain: Domain) -> None:
    backing = domain.memory_backing
    assert backing is not None
    backing.access_mode, backing.discard = main.access, main.discards
    if main.policy:
        domain.numatune = Numatune(memory=NumatuneMemory(mode=main.policy, nodeset=main.nodes))


def _apply_kind(back_ends: list[BackEnd], backing: MemoryBacking) -> None:
    """What holds for all: a file or a memory file behind those without huge pages, and who fills them when."""
    plain = [back_end for back_end in back_ends if back_end.page is None]
    kinds = {back_end.kind for back_end in plain}
    if "memfd" in kinds:
        backing.source_type = "memfd"
    elif kinds == {"file"}:  # where only some are files, they are so for being shared
        backing.source_type = "file"
    threads = next((back_end.threads for back_end in back_ends if back_end.threads is not None), None)
    if threads is not None or any(back_end.preallocated for back_end in plain):
        backing.allocation_mode, backing.allocation_threads = "immediate", threads


def _apply_pages(main: BackEnd | None, cells: dict[int, BackEnd], backing: MemoryBacking) -> None:
    """Huge pages, by cell where cells differ. Those of modules are the modules' own."""
    pages = {number: cell.page for number, cell in cells.items() if cell.page is not None}
    if main is not None and main.page is not None:
        backing.hugepages = HugePages(pages=[HugePage(size=main.page)] if main.page else [])
    elif pages:
        sizes = sorted(set(pages.values()))
        if len(pages) == len(cells) and len(sizes) == 1:
            backing.hugepages = HugePages(pages=[HugePage(size=size) for size in sizes if size])
        elif 0 in sizes:
            raise refusal("huge pages of the host's own size for some memory only")
        else:
            backing.hugepages = HugePages(pages=[HugePage(size=size, nodeset=canonical(",".join(
                str(cell) for cell, page in pages.items() if page == size))) for size in sizes])


# --- cells ----------------------------------------------------------------------------------------------------------


def _read_cells(command: Command, domain: Domain) -> dict[int, BackEnd]:
    cells: dict[int, NumaCell] = {}
    back_ends: dict[int, BackEnd] = {}
    for item in command.all("-numa"):
        if item.kind == "node":
            number = item.required_number("nodeid")
            back_end = back_ends[number] = read_back_end(
                command.named("-object", item.required_text("memdev")), command)
            cells[number] = NumaCell(id=number, cpus=",".join(item.texts("cpus")) or None, memory=back_end.size,
                                     mem_access=back_end.access, discard=back_end.discards or None)
        elif item.kind == "dist":
            source, target, value = (item.required_number(name) for name in ("src", "dst", "val"))
            if source not in cells:
                raise item.wrong("src")
            cells[source].distances.append(NumaSibling(id=target, value=value))
        else:
            raise refusal(item.what)
    assert domain.cpu is not None
    domain.cpu.numa = list(cells.values())
    bound = [NumatuneCell(cellid=number, mode=back_end.policy, nodeset=back_end.nodes)
             for number, back_end in back_ends.items() if back_end.policy]
    if bound:
        domain.numatune = domain.numatune or Numatune()
        domain.numatune.memnodes = bound
    return back_ends


# --- modules --------------------------------------------------------------------------------------------------------


def _read_modules(command: Command) -> list[BackEnd]:
    """What is behind the memory modules; where they are plugged is read with the other devices."""
    back_ends = []
    for driver, model in MODULES.items():
        for item in command.all("-device", driver):
            back_end = command.named("-object", item.required_text("memdev"))
            if model in ("dimm", "virtio-mem"):
                back_ends.append(read_back_end(back_end, command))
    return back_ends


def read_module(command: Command, domain: Domain, item: Values) -> MemoryDevice:
    """One memory module, apart from its place."""
    source = command.named("-object", item.required_text("memdev"))
    module = MemoryDevice(model=MODULES[item.kind], node=item.number("node"))
    if module.model in ("dimm", "virtio-mem"):
        _fill_module(module, source, command, domain)
        if module.model == "virtio-mem":
            module.block, module.requested = item.kilobytes("block-size"), item.kilobytes("requested-size")
    else:
        module.source_path, module.size = source.text("mem-path"), source.kilobytes("size")
        share = source.flag("share")
        if module.model == "nvdimm":
            source.expect("prealloc", True)
            module.access, module.pmem = "shared" if share else None, source.flag("pmem") is True
            module.alignsize, module.label_size = source.kilobytes("align"), item.kilobytes("label-size")
            module.readonly, module.uuid = item.flag("unarmed") is True, item.text("uuid")
    domain.memory = (domain.memory or 0) + (module.size or 0)
    return module


def _fill_module(module: MemoryDevice, source: Values, command: Command, domain: Domain) -> None:
    back_end = read_back_end(source, command)
    module.size, module.access, module.nodemask = back_end.size, back_end.access, back_end.nodes
    module.discard = back_end.discards or None
    if back_end.page is None:
        module.pagesize = _SYSTEM_PAGE if domain.memory_backing and domain.memory_backing.hugepages else None
    elif back_end.page:
        module.pagesize = back_end.page
    elif domain.memory_backing is None or domain.memory_backing.hugepages is None:
        raise source.wrong("hugetlb")  # of the host's own size: a module cannot say so alone
    if back_end.policy not in (None, _mode(domain, module.node)):
        raise source.wrong("policy")


def _mode(domain: Domain, node: int | None) -> str:
    """How strictly a module on a cell is bound to the host's nodes that it names itself."""
    tune = domain.numatune
    mode = tune.memory.mode if tune and tune.memory else None
    for cell in tune.memnodes if tune else []:
        if cell.cellid == node:
            mode = cell.mode
    return mode or "strict"
