"""The guest's processor: its model and features, how it is laid out in sockets and cores, and its NUMA cells."""

from __future__ import annotations

from virtbus_domain.xml.platform_values import CPUSET, NO_CPUSET, blank, scaled, xml_error
from virtbus_domain.xml.values import NON_NEGATIVE
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, element, sub, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, ORDER, UINT, ULONG, YESNO, Kind, words

ACCESS_TYPES = ("access", "read", "write")


def _unsupported(detail: str) -> tuple[int, str, int]:
    return (c.VIR_ERR_CONFIG_UNSUPPORTED, detail, c.VIR_FROM_CPU)


def _refuse(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_XML_ERROR, detail, domain=c.VIR_FROM_CPU)


def _read_vendor_id(text: str) -> str | None:
    if text and len(text.encode()) != 12:
        raise _refuse("vendor_id must be exactly 12 characters long")
    if "," in text:
        raise _refuse("vendor id is invalid")
    return text or None


def _read_feature_name(text: str) -> str:
    if not text:
        raise ValueError
    return text


def _read_cache_level(text: str) -> int:
    assert NON_NEGATIVE.read
    level = NON_NEGATIVE.read(text)
    if not 1 <= level <= 3:
        raise _refuse("invalid CPU cache level, must be in range [1,3]")
    return level


FEATURE_NAME: Kind[str] = Kind(_read_feature_name)
_NO_FEATURE = (c.VIR_ERR_XML_ERROR, "Invalid CPU feature name", c.VIR_FROM_CPU)
VENDOR_ID: Kind[str | None] = Kind(_read_vendor_id)
CACHE_LEVEL: Kind[int] = Kind(_read_cache_level, str)


@element
class CpuModel(Element):
    """A named model; ``fallback`` tells whether another may stand in for one that the hypervisor does not know."""

    fallback: str | None = attr("@fallback", blank(words("allow", "forbid")),
                                error=_unsupported("Invalid fallback attribute"))
    vendor_id: str | None = attr("@vendor_id", VENDOR_ID)
    name: str | None = text(".")


@element
class CpuTopology(Element):
    """How many of each there are in the one above."""

    sockets: int | None = attr("@sockets", ORDER, required=True)
    dies: int | None = attr("@dies", ORDER)
    clusters: int | None = attr("@clusters", ORDER)
    cores: int | None = attr("@cores", ORDER, required=True)
    threads: int | None = attr("@threads", ORDER, required=True)


@element
class CpuCache(Element):
    """What the guest sees of the processor's caches."""

    level: int | None = attr("@level", CACHE_LEVEL)
    mode: str | None = attr("@mode", words("emulate", "passthrough", "disable"), required=True)


@element
class MaxPhysAddr(Element):
    """The width of physical addresses, in bits."""

    mode: str | None = attr("@mode", words("emulate", "passthrough"), required=True)
    bits: int | None = attr("@bits", NON_NEGATIVE)
    limit: int | None = attr("@limit", NON_NEGATIVE)


@element
class CpuFeature(Element):
    """A feature added to the model or taken from it."""

    policy: str | None = attr("@policy", words("force", "require", "optional", "disable", "forbid"),
                              error=_unsupported("Invalid CPU feature policy"))
    name: str | None = attr("@name", FEATURE_NAME, error=_NO_FEATURE, required=_NO_FEATURE)


@element
class NumaSibling(Element):
    """How far another cell is, in relation to 10 for the own."""

    id: int | None = attr("@id", UINT, required=True)
    value: int | None = attr("@value", UINT, required=True)


@element
class NumaCache(Element):
    """A cache at the memory's side, as the guest's ACPI tables tell of it; sizes in KiB and bytes."""

    level: int | None = attr("@level", UINT, error=xml_error("Invalid 'level' attribute in cache element"),
                             required=xml_error("Missing 'level' attribute in cache element"))
    associativity: str | None = attr("@associativity", words("none", "direct", "full"),
                                     error=xml_error("Invalid cache associativity '{value}'"),
                                     required=xml_error("Missing 'associativity' attribute in cache element"))
    policy: str | None = attr("@policy", words("none", "writeback", "writethrough"),
                              error=xml_error("Invalid cache policy '{value}'"),
                              required=xml_error("Invalid cache policy '(null)'"))
    size: int | None = scaled("size/@value", "KiB")
    line: int | None = scaled("line/@value", "B")


@element
class NumaCell(Element):
    """A NUMA node of the guest: its virtual CPUs and its memory in KiB."""

    id: int | None = attr("@id", UINT)
    cpus: str | None = attr("@cpus", CPUSET, error=NO_CPUSET)
    memory: int | None = scaled("@memory", "KiB")
    mem_access: str | None = attr("@memAccess", words("shared", "private"))
    discard: bool | None = attr("@discard", YESNO)
    distances: list[NumaSibling] = subs("distances/sibling", NumaSibling)
    caches: list[NumaCache] = subs("cache", NumaCache)


@element
class NumaLatency(Element):
    """How long a cell waits for another's memory, in nanoseconds."""

    initiator: int | None = attr("@initiator", UINT, required=True)
    target: int | None = attr("@target", UINT, required=True)
    cache: int | None = attr("@cache", UINT)
    type: str | None = attr("@type", words(*ACCESS_TYPES), required=True)
    value: int | None = attr("@value", ULONG, required=True)


@element
class NumaBandwidth(Element):
    """How much of another cell's memory a cell gets through, in KiB a second."""

    initiator: int | None = attr("@initiator", UINT, required=True)
    target: int | None = attr("@target", UINT, required=True)
    cache: int | None = attr("@cache", UINT)
    type: str | None = attr("@type", words(*ACCESS_TYPES), required=True)
    value: int | None = scaled("@value", "KiB")


@element
class Cpu(Element):
    """The processor: a named model with ``features`` changed, or the host's own."""

    mode: str | None = attr("@mode", words("custom", "host-model", "host-passthrough", "maximum"),
                            error=_unsupported("Invalid mode attribute '{value}'"))
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
