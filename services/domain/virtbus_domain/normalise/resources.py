"""How much a domain gets: memory, virtual CPUs, I/O threads, and where they may run."""

from __future__ import annotations

from virtbus_domain.normalise.context import Context, qemu_unsupported, unsupported, xml_error
from virtbus_domain.xml.bitmap import canonical, numbers
from virtbus_domain.xml.cpu import NumaCell
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.tuning import IoThread, VcpuSched
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


def complete_numa_cells(domain: Domain, context: Context) -> None:
    """Cells are numbered in the order in which they stand."""
    if domain.cpu and domain.cpu.numa:
        for number, cell in enumerate(domain.cpu.numa):
            if cell.id is None:
                cell.id = number
        if context.qemu:
            _assign_rest(domain, domain.cpu.numa)


def _assign_rest(domain: Domain, cells: list[NumaCell]) -> None:
    """CPUs that no cell names belong to the first."""
    named = {number for cell in cells for number in numbers(cell.cpus or "")}
    rest = set(range(domain.vcpu or 1)) - named
    first = cells[0]
    if rest:
        first.cpus = canonical(",".join(map(str, {*numbers(first.cpus or ""), *rest})))


def complete_memory(domain: Domain, context: Context) -> None:
    """The cells' sum, where there are cells, is the size at boot; with the memory devices it is the whole."""
    del context
    plugged = sum(device.size or 0 for device in domain.devices.memories) if domain.devices else 0
    cells = sum(cell.memory or 0 for cell in domain.cpu.numa) if domain.cpu and domain.cpu.numa else 0
    if cells:
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


def check_memory_slots(domain: Domain, context: Context) -> None:
    """QEMU plugs memory into a NUMA cell, so there has to be one."""
    modules = sum(device.model in ("dimm", "nvdimm") for device in domain.devices.memories) if domain.devices else 0
    if context.qemu and modules > (domain.max_memory_slots or 0) and domain.max_memory:
        raise qemu_unsupported(f"memory device count '{modules}' exceeds slots count '{domain.max_memory_slots}'")
    if context.qemu and domain.max_memory and not (domain.cpu and domain.cpu.numa):
        raise qemu_unsupported("At least one numa node has to be configured when enabling memory hotplug")


def complete_vcpus(domain: Domain, context: Context) -> None:
    """One CPU, with static placement, unless said otherwise."""
    del context
    if domain.vcpu is None:
        domain.vcpu = 1
    if domain.vcpu == 0:
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "a domain needs at least one vCPU (at /domain/vcpu)",
                           domain=c.VIR_FROM_DOMAIN)
    if domain.vcpu_current is not None and domain.vcpu_current > domain.vcpu:
        raise unsupported("maximum vCPU count must not be less than current vCPU count")
    if domain.vcpu_current == domain.vcpu:
        domain.vcpu_current = None
    online = sum(vcpu.enabled is True for vcpu in domain.vcpus)
    if domain.vcpus and online != domain.vcpu:
        domain.vcpu_current = online
    if domain.vcpu_placement is None:
        domain.vcpu_placement = "static"


def complete_iothreads(domain: Domain, context: Context) -> None:
    """As many threads as were counted or listed; numbers that nobody chose are written down beside chosen ones only."""
    del context
    listed = domain.iothreadids
    if not listed:
        return
    domain.iothreads = max(domain.iothreads or 0, len(listed))
    known = {thread.id for thread in listed}
    free = (number for number in range(1, 2**31) if number not in known)
    listed += [IoThread(id=next(free)) for _ in range(domain.iothreads - len(listed))]


def complete_cputune(domain: Domain, context: Context) -> None:
    """Pins in the order of the CPUs."""
    del context
    if domain.cputune:
        domain.cputune.vcpupins.sort(key=lambda pin: pin.vcpu or 0)
        domain.cputune.vcpuscheds = [
            VcpuSched(vcpus=str(number), scheduler=sched.scheduler, priority=sched.priority)
            for sched in domain.cputune.vcpuscheds for number in numbers(sched.vcpus or "")]
        domain.cputune.iothreadpins.sort(key=lambda pin: pin.iothread or 0)


def complete_blkiotune(domain: Domain, context: Context) -> None:
    """A device without limits is none; nothing at all is no tuning."""
    del context
    tune = domain.blkiotune
    if tune is None:
        return
    tune.devices = [device for device in tune.devices
                    if any(getattr(device, name) for name in _BLKIO_LIMITS)]
    if tune.weight is None and not tune.devices:
        domain.blkiotune = None


_BLKIO_LIMITS = ("weight", "read_iops_sec", "write_iops_sec", "read_bytes_sec", "write_bytes_sec")


def complete_numatune(domain: Domain, context: Context) -> None:
    """Memory comes strictly from where it was said to come from."""
    del context
    if domain.numatune and domain.numatune.memory and domain.numatune.memory.mode is None:
        domain.numatune.memory.mode = "strict"
