"""The guest's processor: its model and features, how it is laid out in sockets and cores, and its NUMA cells."""

from __future__ import annotations

from lxml import etree

from virtbus_domain.xml.finished import Required, rescale
from virtbus_domain.xml.platform_values import CPUSET, blank, cpu_refusing, scaled, xml_error
from virtbus_domain.xml.values import NON_NEGATIVE
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, element, fixed, sub, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, ORDER, UINT, ULONG, YESNO, Kind, words

ACCESS_TYPES = ("access", "read", "write")


def _refuse(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_XML_ERROR, detail, domain=c.VIR_FROM_CPU)


def _read_vendor_id(text: str) -> str | None:
    if text and len(text.encode()) != 12:
        raise _refuse("vendor_id must be exactly 12 characters long")
    if "," in text:
        raise _refuse("vendor id is invalid")
    return text or None


def _read_cache_level(text: str) -> int:
    assert NON_NEGATIVE.read
    level = NON_NEGATIVE.read(text)
    if not 1 <= level <= 3:
        raise _refuse("invalid CPU cache level, must be in range [1,3]")
    return level


VENDOR_ID: Kind[str | None] = Kind(_read_vendor_id)
CACHE_LEVEL: Kind[int] = Kind(_read_cache_level, str)


@element
class CpuModel(Element):
    """A named model; ``fallback`` tells whether another may stand in for one that the hypervisor does not know."""

    fallback: str | None = attr("@fallback", blank(cpu_refusing(
        words("allow", "forbid"), c.VIR_ERR_CONFIG_UNSUPPORTED, "Invalid fallback attribute")))
    vendor_id: str | None = attr("@vendor_id", VENDOR_ID)
    name: str | None = text(".")


@element
class CpuTopology(Element):
    """How many of each there are in the one above."""

    sockets: int | None = attr("@sockets", ORDER)
    dies: int | None = attr("@dies", ORDER)
    clusters: int | None = attr("@clusters", ORDER)
    cores: int | None = attr("@cores", ORDER)
    threads: int | None = attr("@threads", ORDER)


@element
class CpuCache(Element):
    """What the guest sees of the processor's caches."""

    level: int | None = attr("@level", CACHE_LEVEL)
    mode: str | None = attr("@mode", words("emulate", "passthrough", "disable"))


@element
class MaxPhysAddr(Element):
    """The width of physical addresses, in bits."""

    mode: str | None = attr("@mode", words("emulate", "passthrough"))
    bits: int | None = attr("@bits", NON_NEGATIVE)
    limit: int | None = attr("@limit", NON_NEGATIVE)


@element
class CpuFeature(Element):
    """A feature added to the model or taken from it."""

    policy: str | None = attr("@policy", cpu_refusing(
        words("force", "require", "optional", "disable", "forbid"), c.VIR_ERR_CONFIG_UNSUPPORTED,
        "Invalid CPU feature policy"))
    name: str | None = attr("@name")


@element
class NumaSibling(Element):
    """How far another cell is, in relation to 10 for the own."""

    id: int | None = attr("@id", UINT)
    value: int | None = attr("@value", UINT)


@element
class NumaCache(Element):
    """A cache at the memory's side, as the guest's ACPI tables tell of it; sizes in KiB and bytes."""

    level: int | None = attr("@level", UINT, error=xml_error("Invalid 'level' attribute in cache element"))
    associativity: str | None = attr("@associativity", words("none", "direct", "full"),
                                     error=xml_error("Invalid cache associativity '{value}'"))
    policy: str | None = attr("@policy", words("none", "writeback", "writethrough"),
                              error=xml_error("Invalid cache policy '{value}'"))
    size: int | None = attr("size/@value", scaled("./size/@value"))
    size_unit: str = fixed("size/@unit", "KiB")
    line: int | None = attr("line/@value", scaled("./line/@value"))
    line_unit: str = fixed("line/@unit", "B")


@element
class NumaCell(Element):
    """A NUMA node of the guest: its virtual CPUs and its memory in KiB."""

    id: int | None = attr("@id", UINT)
    cpus: str | None = attr("@cpus", CPUSET)
    memory: int | None = attr("@memory", scaled("./@memory"))
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
    value: int | None = attr("@value", ULONG)


@element
class NumaBandwidth(Element):
    """How much of another cell's memory a cell gets through, in KiB a second."""

    initiator: int | None = attr("@initiator", UINT)
    target: int | None = attr("@target", UINT)
    cache: int | None = attr("@cache", UINT)
    type: str | None = attr("@type", words(*ACCESS_TYPES))
    value: int | None = attr("@value", scaled("./@value"))
    unit: str = fixed("@unit", "KiB")


@element
class Cpu(Element):
    """The processor: a named model with ``features`` changed, or the host's own."""

    mode: str | None = attr("@mode", cpu_refusing(
        words("custom", "host-model", "host-passthrough", "maximum"), c.VIR_ERR_CONFIG_UNSUPPORTED,
        "Invalid mode attribute '{value}'"))
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


def _no_amount(path: str, place: str) -> Required:
    return Required(path, xml_error(f"missing element or attribute '{place}'"), domain=c.VIR_FROM_XML)


REQUIRED_OF_CPU = (
    Required("topology/@sockets"), Required("topology/@cores"), Required("topology/@threads"), Required("cache/@mode"),
    Required("maxphysaddr/@mode"), _no_amount("numa/cell/@memory", "./@memory"),
    Required("numa/cell/distances/sibling/@id"), Required("numa/cell/distances/sibling/@value"),
    Required("numa/cell/cache/@level", xml_error("Missing 'level' attribute in cache element")),
    Required("numa/cell/cache/@associativity", xml_error("Missing 'associativity' attribute in cache element")),
    Required("numa/cell/cache/@policy", xml_error("Invalid cache policy '(null)'")),
    _no_amount("numa/cell/cache/size/@value", "./size/@value"),
    _no_amount("numa/cell/cache/line/@value", "./line/@value"),
    *(Required(f"numa/interconnects/{kind}/@{name}") for kind in ("latency", "bandwidth")
      for name in ("initiator", "target", "type")),
    Required("numa/interconnects/latency/@value"), _no_amount("numa/interconnects/bandwidth/@value", "./@value"),
)


def finish_cpu(cpu: Cpu, element: etree._Element) -> None:
    """Bring the cells' sizes to one unit each."""
    for cell in cpu.numa:
        cell.memory, cell.unit = rescale(cell.memory, cell.unit, "KiB"), "KiB"
        for cache in cell.caches:
            cache.size, cache.size_unit = rescale(cache.size, cache.size_unit, "KiB"), "KiB"
            cache.line, cache.line_unit = rescale(cache.line, cache.line_unit, "B"), "B"
    for bandwidth in cpu.numa_bandwidths:
        bandwidth.value, bandwidth.unit = rescale(bandwidth.value, bandwidth.unit, "KiB"), "KiB"
