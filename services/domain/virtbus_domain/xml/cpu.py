"""The guest's processor: its model and features, how it is laid out in sockets and cores, and its NUMA cells."""

from __future__ import annotations

from lxml import etree

from virtbus_domain.xml.finished import rescale
from virtbus_shared.service.xml import attr, element, fixed, sub, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, UINT, ULONG, YESNO, words

ACCESS_TYPES = ("access", "read", "write")


@element
class CpuModel(Element):
    """A named model; ``fallback`` tells whether another may stand in for one that the hypervisor does not know."""

    fallback: str | None = attr("@fallback", words("allow", "forbid"))
    vendor_id: str | None = attr("@vendor_id")
    name: str | None = text(".")


@element
class CpuTopology(Element):
    """How many of each there are in the one above."""

    sockets: int | None = attr("@sockets", UINT)
    dies: int | None = attr("@dies", UINT)
    clusters: int | None = attr("@clusters", UINT)
    cores: int | None = attr("@cores", UINT)
    threads: int | None = attr("@threads", UINT)


@element
class CpuCache(Element):
    """What the guest sees of the processor's caches."""

    level: int | None = attr("@level", UINT)
    mode: str | None = attr("@mode", words("emulate", "passthrough", "disable"))


@element
class MaxPhysAddr(Element):
    """The width of physical addresses, in bits."""

    mode: str | None = attr("@mode", words("emulate", "passthrough"))
    bits: int | None = attr("@bits", UINT)
    limit: int | None = attr("@limit", UINT)


@element
class CpuFeature(Element):
    """A feature added to the model or taken from it."""

    policy: str | None = attr("@policy", words("force", "require", "optional", "disable", "forbid"))
    name: str | None = attr("@name")


@element
class NumaSibling(Element):
    """How far another cell is, in relation to 10 for the own."""

    id: int | None = attr("@id", UINT)
    value: int | None = attr("@value", UINT)


@element
class NumaCache(Element):
    """A cache at the memory's side, as the guest's ACPI tables tell of it; sizes in KiB and bytes."""

    level: int | None = attr("@level", UINT)
    associativity: str | None = attr("@associativity", words("none", "direct", "full"))
    policy: str | None = attr("@policy", words("none", "writeback", "writethrough"))
    size: int | None = attr("size/@value", ULONG)
    size_unit: str = fixed("size/@unit", "KiB")
    line: int | None = attr("line/@value", ULONG)
    line_unit: str = fixed("line/@unit", "B")


@element
class NumaCell(Element):
    """A NUMA node of the guest: its virtual CPUs and its memory in KiB."""

    id: int | None = attr("@id", UINT)
    cpus: str | None = attr("@cpus")
    memory: int | None = attr("@memory", ULONG)
    unit: str = fixed("@unit", "KiB")
    mem_access: str | None = attr("@memAccess", words("shared", "private"))
    discard: bool | None = attr("@discard", YESNO)
    distances: list[NumaSibling] = subs("distances/sibling", NumaSibling)
    caches: list[NumaCache] = subs("cache", NumaCache)


@element
class NumaLatency(Element):
    """How long a cell waits for another's memory, in nanoseconds."""

    initiator: int | None = attr("@initiator", UINT)
    target: int | None = attr("@target", UINT)
    cache: int | None = attr("@cache", UINT)
    type: str | None = attr("@type", words(*ACCESS_TYPES))
    value: int | None = attr("@value", UINT)


@element
class NumaBandwidth(Element):
    """How much of another cell's memory a cell gets through, in KiB a second."""

    initiator: int | None = attr("@initiator", UINT)
    target: int | None = attr("@target", UINT)
    cache: int | None = attr("@cache", UINT)
    type: str | None = attr("@type", words(*ACCESS_TYPES))
    value: int | None = attr("@value", ULONG)
    unit: str = fixed("@unit", "KiB")


@element
class Cpu(Element):
    """The processor: a named model with ``features`` changed, or the host's own."""

    mode: str | None = attr("@mode", words("custom", "host-model", "host-passthrough", "maximum"))
    match: str | None = attr("@match", words("minimum", "exact", "strict"))
    check: str | None = attr("@check", words("none", "partial", "full"))
    migratable: bool | None = attr("@migratable", ONOFF)
    model: CpuModel | None = sub("model", CpuModel)
    vendor: str | None = text("vendor")
    topology: CpuTopology | None = sub("topology", CpuTopology)
    cache: CpuCache | None = sub("cache", CpuCache)
    maxphysaddr: MaxPhysAddr | None = sub("maxphysaddr", MaxPhysAddr)
    features: list[CpuFeature] = subs("feature", CpuFeature)
    numa: list[NumaCell] = subs("numa/cell", NumaCell)
    numa_latencies: list[NumaLatency] = subs("numa/interconnects/latency", NumaLatency)
    numa_bandwidths: list[NumaBandwidth] = subs("numa/interconnects/bandwidth", NumaBandwidth)


def finish_cpu(cpu: Cpu, element: etree._Element) -> None:
    """Bring the cells' sizes to one unit each."""
    for cell in cpu.numa:
        cell.memory, cell.unit = rescale(cell.memory, cell.unit, "KiB"), "KiB"
        for cache in cell.caches:
            cache.size, cache.size_unit = rescale(cache.size, cache.size_unit, "KiB"), "KiB"
            cache.line, cache.line_unit = rescale(cache.line, cache.line_unit, "B"), "B"
    for bandwidth in cpu.numa_bandwidths:
        bandwidth.value, bandwidth.unit = rescale(bandwidth.value, bandwidth.unit, "KiB"), "KiB"
