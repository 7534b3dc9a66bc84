"""The capabilities document: what the host is, and what kinds of guests each emulator on it can run.

libvirt writes it and clients read it, newer and older ones alike; so no word of it is refused, and what later versions
added is here where real documents have it. https://libvirt.org/formatcaps.html tells what everything means.
"""

from __future__ import annotations

from virtbus_shared import constants as c
from virtbus_shared.service.xml import Document, attr, each, element, flag, size, sub, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, UINT, ULONG, YESNO

# -- the host --------------------------------------------------------------------------------------------------------


@element
class PageSize(Element):
    """A size of memory pages; ``unit`` is KiB."""

    unit: str | None = attr("@unit")
    size: int | None = attr("@size", ULONG)


@element
class Feature(Element):
    """A feature of the host's CPU beyond those of its model."""

    name: str | None = attr("@name")


@element
class HostCpu(Element):
    """The host's CPU: a model of libvirt's and what differs from it; the counter's frequency is in Hz."""

    arch: str | None = text("arch")
    pae: bool = flag("features/pae")
    nonpae: bool = flag("features/nonpae")
    vmx: bool = flag("features/vmx")
    svm: bool = flag("features/svm")
    model: str | None = text("model")
    vendor: str | None = text("vendor")
    microcode_version: int | None = attr("microcode/@version", UINT)
    signature_family: int | None = attr("signature/@family", UINT)
    signature_model: int | None = attr("signature/@model", UINT)
    signature_stepping: int | None = attr("signature/@stepping", UINT)
    counter_name: str | None = attr("counter/@name")
    counter_frequency: int | None = attr("counter/@frequency", ULONG)
    counter_scaling: bool | None = attr("counter/@scaling", YESNO)
    topology_sockets: int | None = attr("topology/@sockets", UINT)
    topology_dies: int | None = attr("topology/@dies", UINT)
    topology_clusters: int | None = attr("topology/@clusters", UINT)
    topology_cores: int | None = attr("topology/@cores", UINT)
    topology_threads: int | None = attr("topology/@threads", UINT)
    maxphysaddr_mode: str | None = attr("maxphysaddr/@mode")
    maxphysaddr_bits: int | None = attr("maxphysaddr/@bits", UINT)
    features: list[Feature] = subs("feature", Feature)
    pages: list[PageSize] = subs("pages", PageSize)


@element
class PowerManagement(Element):
    """How the host can be suspended; empty when it cannot."""

    suspend_mem: bool = flag("suspend_mem")
    suspend_disk: bool = flag("suspend_disk")
    suspend_hybrid: bool = flag("suspend_hybrid")


@element
class Pages(Element):
    """How many pages of a size (in KiB) a memory cell has."""

    unit: str | None = attr("@unit")
    size: int | None = attr("@size", ULONG)
    count: int | None = text(".", ULONG)


@element
class Distance(Element):
    """How far another memory cell is; 10 is the cell itself."""

    id: int | None = attr("@id", UINT)
    value: int | None = attr("@value", UINT)


@element
class MemoryCache(Element):
    """A cache in front of a cell's memory."""

    level: int | None = attr("@level", UINT)
    associativity: str | None = attr("@associativity")
    policy: str | None = attr("@policy")
    size: int | None = attr("size/@value", ULONG)
    size_unit: str | None = attr("size/@unit")
    line: int | None = attr("line/@value", UINT)
    line_unit: str | None = attr("line/@unit")


@element
class CellCpu(Element):
    """A CPU of a memory cell and its place in the sockets; ``siblings`` are the CPUs that share its core."""

    id: int | None = attr("@id", UINT)
    socket_id: int | None = attr("@socket_id", UINT)
    die_id: int | None = attr("@die_id", UINT)
    cluster_id: int | None = attr("@cluster_id", UINT)
    core_id: int | None = attr("@core_id", UINT)
    siblings: str | None = attr("@siblings")


@element
class Cell(Element):
    """A NUMA node of the host. Memory is in KiB."""

    id: int | None = attr("@id", UINT)
    memory: int | None = size("memory", "KiB")
    pages: list[Pages] = subs("pages", Pages)
    distances: list[Distance] = subs("distances/sibling", Distance)
    caches: list[MemoryCache] = subs("cache", MemoryCache)
    cpus_num: int | None = attr("cpus/@num", UINT)
    cpus: list[CellCpu] = subs("cpus/cpu", CellCpu)


@element
class Latency(Element):
    """Nanoseconds from an initiator to a target node's memory."""

    initiator: int | None = attr("@initiator", UINT)
    target: int | None = attr("@target", UINT)
    cache: int | None = attr("@cache", UINT)
    type: str | None = attr("@type")
    value: int | None = attr("@value", UINT)


@element
class Bandwidth(Latency):
    """What can pass from an initiator to a target node's memory in a second, in ``unit``."""

    unit: str | None = attr("@unit")


@element
class Topology(Element):
    """The host's NUMA nodes and the ways between them."""

    cells_num: int | None = attr("cells/@num", UINT)
    cells: list[Cell] = subs("cells/cell", Cell)
    latencies: list[Latency] = subs("interconnects/latency", Latency)
    bandwidths: list[Bandwidth] = subs("interconnects/bandwidth", Bandwidth)


@element
class AllocationControl(Element):
    """How finely a shared resource can be divided between guests; sizes are in ``unit``, bandwidth in percent."""

    granularity: int | None = attr("@granularity", UINT)
    min: int | None = attr("@min", UINT)
    unit: str | None = attr("@unit")
    type: str | None = attr("@type")
    max_allocs: int | None = attr("@maxAllocs", UINT)


@element
class CacheBank(Element):
    """A CPU cache and the CPUs that share it."""

    id: int | None = attr("@id", UINT)
    level: int | None = attr("@level", UINT)
    type: str | None = attr("@type")
    size: int | None = attr("@size", ULONG)
    unit: str | None = attr("@unit")
    cpus: str | None = attr("@cpus")
    controls: list[AllocationControl] = subs("control", AllocationControl)


@element
class BandwidthNode(Element):
    """A controller of memory bandwidth and the CPUs that it serves."""

    id: int | None = attr("@id", UINT)
    cpus: str | None = attr("@cpus")
    controls: list[AllocationControl] = subs("control", AllocationControl)


@element
class Monitor(Element):
    """What of a shared resource can be watched, and by how many at once."""

    level: int | None = attr("@level", UINT)
    reuse_threshold: int | None = attr("@reuseThreshold", UINT)
    max_monitors: int | None = attr("@maxMonitors", UINT)
    features: list[str] = each("feature/@name")


@element
class Doi(Element):
    """A security model's domain of interpretation; some have an empty one."""

    value: str | None = text(".")


@element
class BaseLabel(Element):
    """The label that guests of a type start with."""

    type: str | None = attr("@type")
    label: str | None = text(".")


@element
class SecurityModel(Element):
    """A way in which guests are kept apart."""

    model: str | None = text("model")
    doi: Doi | None = sub("doi", Doi)
    base_labels: list[BaseLabel] = subs("baselabel", BaseLabel)


@element
class Host(Element):
    """The machine itself."""

    uuid: str | None = text("uuid")
    cpu: HostCpu | None = sub("cpu", HostCpu)
    power_management: PowerManagement | None = sub("power_management", PowerManagement)
    iommu_support: bool | None = attr("iommu/@support", YESNO)
    migration_live: bool = flag("migration_features/live")
    migration_transports: list[str] = each("migration_features/uri_transports/uri_transport")
    netprefix: str | None = text("netprefix")
    topology: Topology | None = sub("topology", Topology)
    cache_banks: list[CacheBank] = subs("cache/bank", CacheBank)
    cache_monitor: Monitor | None = sub("cache/monitor", Monitor)
    bandwidth_nodes: list[BandwidthNode] = subs("memory_bandwidth/node", BandwidthNode)
    bandwidth_monitor: Monitor | None = sub("memory_bandwidth/monitor", Monitor)
    security_models: list[SecurityModel] = subs("secmodel", SecurityModel)


# -- the guests ------------------------------------------------------------------------------------------------------


@element
class Machine(Element):
    """A machine type; ``canonical`` is its full name when this one is short for it."""

    canonical: str | None = attr("@canonical")
    max_cpus: int | None = attr("@maxCpus", UINT)
    deprecated: bool | None = attr("@deprecated", YESNO)
    name: str | None = text(".")


@element
class GuestDomain(Element):
    """A domain type that serves an architecture, and what is its own about that."""

    type: str | None = attr("@type")
    emulator: str | None = text("emulator")
    loader: str | None = text("loader")
    machines: list[Machine] = subs("machine", Machine)


@element
class GuestArch(Element):
    """An architecture of guests and who runs it."""

    name: str | None = attr("@name")
    wordsize: int | None = text("wordsize", UINT)
    emulator: str | None = text("emulator")
    loader: str | None = text("loader")
    machines: list[Machine] = subs("machine", Machine)
    domains: list[GuestDomain] = subs("domain", GuestDomain)


@element
class Toggle(Element):
    """A feature that is on or off unless the domain says otherwise, if it may."""

    default: bool | None = attr("@default", ONOFF)
    toggle: bool | None = attr("@toggle", YESNO)


@element
class GuestFeatures(Element):
    """What a domain's document may ask of such a guest."""

    pae: bool = flag("pae")
    nonpae: bool = flag("nonpae")
    ia64_be: bool = flag("ia64_be")
    acpi: Toggle | None = sub("acpi", Toggle)
    apic: Toggle | None = sub("apic", Toggle)
    cpuselection: bool = flag("cpuselection")
    deviceboot: bool = flag("deviceboot")
    disksnapshot: Toggle | None = sub("disksnapshot", Toggle)
    hap: Toggle | None = sub("hap", Toggle)
    external_snapshot: bool = flag("externalSnapshot")


@element
class Guest(Element):
    """One kind of guest: an OS type on an architecture."""

    os_type: str | None = text("os_type")
    arch: GuestArch | None = sub("arch", GuestArch)
    features: GuestFeatures | None = sub("features", GuestFeatures)


@element
class Capabilities(Element):
    """The whole document."""

    host: Host | None = sub("host", Host)
    guests: list[Guest] = subs("guest", Guest)


CAPABILITIES = Document(Capabilities, "capabilities", "capabilities", c.VIR_FROM_CAPABILITIES)

_SET_OFF = ("<capabilities>", "  </host>", "  </guest>")


def parse_capabilities(text: str) -> Capabilities:
    """The capabilities that a document tells."""
    return CAPABILITIES.parse(text)


def format_capabilities(capabilities: Capabilities) -> str:
    """The document, with libvirt's empty lines between its parts."""
    return set_off(CAPABILITIES.format(capabilities))


def set_off(document: str) -> str:
    """Empty lines where libvirt has them in this document: clients that cut it up by text exist."""
    return "".join(line + "\n\n" if line in _SET_OFF else line + "\n" for line in document.splitlines())


def format_guest(guest: Guest) -> str:
    """A ``guest`` element as it stands in the document, for a service that makes only this part of it."""
    whole = format_capabilities(Capabilities(guests=[guest]))
    return whole.removeprefix("<capabilities>\n\n").removesuffix("</capabilities>\n")
