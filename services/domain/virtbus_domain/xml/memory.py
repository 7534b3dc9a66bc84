"""What backs the guest's memory on the host, how much of it the guest may take, and from where."""

from __future__ import annotations

from lxml import etree

from virtbus_domain.xml.finished import Required, rescale
from virtbus_domain.xml.platform_values import CPUSET, blank, scaled, unsupported, xml_error
from virtbus_shared import constants as c
from virtbus_shared.service.xml import attr, element, fixed, flag, size, sub, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import ONOFF, UINT, ULONG, words

NUMA_MODES = ("strict", "preferred", "interleave", "restrictive")


@element
class MaxMemory(Element):
    """How far the memory of a running domain can grow, and how many modules can be plugged in."""

    slots: int | None = attr("@slots", blank(UINT), error=xml_error("Failed to parse memory slot count"))
    unit: str = fixed("@unit", "KiB")
    size: int | None = text(".", ULONG)


@element
class BootMemory(Element):
    """The memory that the domain starts with, and whether a dump of the emulator contains it."""

    dump_core: bool | None = attr("@dumpCore", ONOFF)
    unit: str = fixed("@unit", "KiB")
    size: int | None = text(".", ULONG)


def finish_size(memory: MaxMemory | BootMemory, element: etree._Element) -> None:
    """Bring the size to KiB."""
    memory.size, memory.unit = rescale(memory.size, memory.unit, "KiB"), "KiB"


@element
class HugePage(Element):
    """A page size in KiB, for all cells or those of ``nodeset``."""

    size: int | None = attr("@size", scaled("./@size"))
    unit: str = fixed("@unit", "KiB")
    nodeset: str | None = attr("@nodeset", CPUSET)


@element
class HugePages(Element):
    """Memory comes from huge pages: of the host's default size when none is listed."""

    pages: list[HugePage] = subs("page", HugePage)


@element
class MemoryBacking(Element):
    """How the host provides the guest's memory."""

    hugepages: HugePages | None = sub("hugepages", HugePages)
    nosharepages: bool = flag("nosharepages")
    locked: bool = flag("locked")
    source_type: str | None = attr("source/@type", blank(words("file", "anonymous", "memfd")),
                                   error=unsupported("unknown memoryBacking/source/type '{value}'"))
    access_mode: str | None = attr("access/@mode", blank(words("shared", "private")),
                                   error=unsupported("unknown memoryBacking/access/mode '{value}'"))
    allocation_mode: str | None = attr("allocation/@mode", blank(words("immediate", "ondemand")),
                                       error=unsupported("unknown memoryBacking/allocation/mode '{value}'"))
    allocation_threads: int | None = attr("allocation/@threads", blank(UINT),
                                          error=xml_error("Failed to parse memory allocation threads"))
    discard: bool = flag("discard")


REQUIRED_OF_BACKING = (Required("hugepages/page/@size", xml_error("missing element or attribute './@size'"),
                                c.VIR_FROM_XML),)


def finish_memory_backing(backing: MemoryBacking, element: etree._Element) -> None:
    """Bring the page sizes to KiB."""
    for page in backing.hugepages.pages if backing.hugepages else ():
        page.size, page.unit = rescale(page.size, page.unit, "KiB"), "KiB"


@element
class Memtune(Element):
    """Limits of the domain's memory on the host, in KiB."""

    hard_limit: int | None = size("hard_limit", "KiB")
    soft_limit: int | None = size("soft_limit", "KiB")
    min_guarantee: int | None = size("min_guarantee", "KiB")
    swap_hard_limit: int | None = size("swap_hard_limit", "KiB")


@element
class NumatuneMemory(Element):
    """Which of the host's nodes give memory to the whole domain, and how strictly."""

    mode: str | None = attr("@mode", words(*NUMA_MODES),
                            error=unsupported("Unsupported NUMA memory tuning mode '{value}'"))
    nodeset: str | None = attr("@nodeset", CPUSET)
    placement: str | None = attr("@placement", words("static", "auto"),
                                 error=unsupported("Unsupported NUMA memory placement mode '{value}'"))


@element
class NumatuneCell(Element):
    """The same for one cell of the guest."""

    cellid: int | None = attr("@cellid", UINT)
    mode: str | None = attr("@mode", words(*NUMA_MODES))
    nodeset: str | None = attr("@nodeset", CPUSET)


@element
class Numatune(Element):
    """From which of the host's NUMA nodes memory comes."""

    memory: NumatuneMemory | None = sub("memory", NumatuneMemory)
    memnodes: list[NumatuneCell] = subs("memnode", NumatuneCell)
