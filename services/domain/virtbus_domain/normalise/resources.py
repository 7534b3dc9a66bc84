"""How much a domain gets: memory and virtual CPUs. What shares and limits it has of them is in ``tuning.py``."""

from __future__ import annotations

from virtbus_domain.normalise.context import Context, qemu_unsupported, unsupported, xml_detail, xml_error
from virtbus_domain.xml.bitmap import numbers
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.memory import HugePage, MemoryBacking
from virtbus_domain.xml.tuning import Vcpu

# --- virtual CPUs ---------------------------------------------------------------------------------------------------


def read_vcpus(domain: Domain, context: Context) -> None:
    """One CPU, with static placement, unless said otherwise."""
    del context
    if domain.vcpu is None:
        domain.vcpu = 1
    if domain.vcpu_current is not None and domain.vcpu_current > domain.vcpu:
        raise unsupported("maximum vCPU count must not be less than current vCPU count")
    if domain.vcpu_placement is None:
        domain.vcpu_placement = "static"
    elif domain.vcpu_placement == "auto":
        domain.vcpu_cpuset = None
    for vcpu in domain.vcpus:
        if (vcpu.id or 0) >= domain.vcpu:
            raise xml_error(f"vcpu id '{vcpu.id}' is out of range of maximum vcpu count")


def complete_vcpus(domain: Domain, context: Context) -> None:
    """Where single CPUs are described all are, and those that are on count; the first one is on."""
    assert domain.vcpu is not None
    if domain.vcpus:
        _describe_vcpus(domain, domain.vcpu, context)
    elif context.qemu and domain.vcpu_current == 0:
        raise qemu_unsupported("vcpu 0 can't be offline")
    if domain.vcpu_current == domain.vcpu:
        domain.vcpu_current = None


def _describe_vcpus(domain: Domain, count: int, context: Context) -> None:
    described = {vcpu.id: vcpu for vcpu in domain.vcpus}
    if context.qemu:
        _check_order(described, count)
    for number in range(count):
        vcpu = described.setdefault(number, Vcpu(id=number, enabled=False))
        if vcpu.hotpluggable is None:
            vcpu.hotpluggable = not vcpu.enabled
        elif not vcpu.hotpluggable and not vcpu.enabled:
            raise unsupported(f"vcpu '{number}' is both offline and not hotpluggable")
    domain.vcpus = [described[number] for number in range(count)]
    domain.vcpu_current = sum(vcpu.enabled is True for vcpu in domain.vcpus)


def _check_order(described: dict[int | None, Vcpu], count: int) -> None:
    """QEMU has its first CPU from the start; the order of the others is said of all or of none."""
    first = described.get(0)
    if first is None or not first.enabled:
        raise qemu_unsupported("vcpu 0 can't be offline")
    if first.hotpluggable:
        raise qemu_unsupported("vcpu0 can't be hotpluggable")
    if first.order not in (None, 1):
        raise qemu_unsupported("vcpu0 must be enabled first")
    ordered = [described[number].order is not None for number in range(count)
               if number in described and described[number].enabled]
    if any(ordered) and not all(ordered):
        raise qemu_unsupported("all vcpus must have either set or unset order")


# --- memory ---------------------------------------------------------------------------------------------------------


def complete_memory(domain: Domain, context: Context) -> None:
    """The cells' sum, where there are cells, is the size at boot; with the memory devices it is the whole."""
    plugged = sum(device.size or 0 for device in domain.devices.memories) if domain.devices else 0
    cells = sum(cell.memory or 0 for cell in domain.cpu.numa) if domain.cpu else 0
    if cells and (context.qemu or not domain.memory):
        domain.memory = cells + plugged
    elif plugged > (domain.memory or 0):
        raise xml_error("Total size of memory devices exceeds the total memory size")
    if (domain.memory or 0) <= plugged:
        raise xml_error("Memory size must be specified via <memory> or in the <numa> configuration")
    assert domain.memory
    domain.current_memory = min(domain.current_memory or domain.memory, domain.memory)
    most, slots = domain.max_memory or 0, domain.max_memory_slots or 0
    if (most == 0) != (slots == 0):
        raise xml_error("both maximum memory size and memory slot count must be specified")
    if most and most < domain.memory:
        raise xml_error("maximum memory size must be equal or greater than the actual memory size")


def complete_memory_backing(domain: Domain, context: Context) -> None:
    """Pages of the only node there is are pages of all; nothing said is no backing."""
    del context
    backing = domain.memory_backing
    if backing is None:
        return
    backing.allocation_threads = backing.allocation_threads or None
    if backing.hugepages and not (domain.cpu and domain.cpu.numa):
        for page in backing.hugepages.pages:
            if page.nodeset == "0":
                page.nodeset = None
    if backing == MemoryBacking():
        domain.memory_backing = None


def check_memory_backing(domain: Domain, context: Context) -> None:
    """QEMU has no huge pages without a file behind them, and takes them at once."""
    backing = domain.memory_backing
    if context.qemu and backing and backing.hugepages:
        if backing.allocation_mode == "ondemand":
            raise qemu_unsupported("hugepages are not allowed with memory allocation ondemand")
        if backing.source_type == "anonymous":
            raise qemu_unsupported("hugepages are not allowed with anonymous memory source")


def check_hugepages(domain: Domain, context: Context) -> None:
    """Each cell has pages of one size."""
    del context
    backing = domain.memory_backing
    if backing is None or backing.hugepages is None:
        return
    cells = len(domain.cpu.numa) if domain.cpu else 0
    seen: list[HugePage] = []
    for page in backing.hugepages.pages:
        if not page.size:
            raise xml_detail("hugepage size can't be zero")
        nodes = set(numbers(page.nodeset)) if page.nodeset else set()
        for node in sorted(nodes):
            if node >= cells:
                raise xml_detail(f"hugepages: node {node} not found")
        for other in seen:
            if nodes and other.nodeset and nodes & set(numbers(other.nodeset)):
                raise xml_detail(f"nodeset attribute of hugepages of sizes {page.size} and {other.size} intersect")
            if not nodes and not other.nodeset:
                raise xml_detail(f"two master hugepages detected: {page.size} and {other.size}")
        seen.append(page)
