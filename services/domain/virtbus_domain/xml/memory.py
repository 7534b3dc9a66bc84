"""What backs the guest's memory on the host, how much of it the guest may take, and from where."""

from __future__ import annotations

from virtbus_domain.xml.platform_values import CPUSET, NO_CPUSET, blank, scaled, unsupported, xml_error
from virtbus_shared.service.xml import attr, element, flag, size, sub, subs
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import UINT, words

NUMA_MODES = ("strict", "preferred", "interleave", "restrictive")


@element
class HugePage(Element):
    """A page size in KiB, for all cells or those of ``nodeset``."""

    size: int | None = scaled("@size", "KiB")
    nodeset: str | None = attr("@nodeset", CPUSET, error=NO_CPUSET)


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
    nodeset: str | None = attr("@nodeset", CPUSET, error=NO_CPUSET)
    placement: str | None = attr("@placement", words("static", "auto"),
                                 error=unsupported("Unsupported NUMA memory placement mode '{value}'"))


@element
class NumatuneCell(Element):
    """The same for one cell of the guest."""

    cellid: int | None = attr("@cellid", UINT, required=True)
    mode: str | None = attr("@mode", words(*NUMA_MODES))
    nodeset: str | None = attr("@nodeset", CPUSET, error=NO_CPUSET,
                               required=xml_error("Missing required nodeset attribute in memnode element"))


@element
class Numatune(Element):
    """From which of the host's NUMA nodes memory comes."""

    memory: NumatuneMemory | None = sub("memory", NumatuneMemory)
    memnodes: list[NumatuneCell] = subs("memnode", NumatuneCell)
