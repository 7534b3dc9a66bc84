"""Shares and limits of a domain on its host: I/O threads, pins and schedulers of CPUs, caches, disks, memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from virtbus_domain.normalise.context import (
    Context,
    internal_error,
    qemu_unsupported,
    unsupported,
    xml_detail,
    xml_error,
)
from virtbus_domain.xml.bitmap import canonical, numbers
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.memory import Memtune
from virtbus_domain.xml.tuning import (
    CacheTune,
    Cputune,
    EmulatorSched,
    IoThread,
    IoThreadPin,
    IoThreadSched,
    MemoryTune,
    VcpuPin,
    VcpuSched,
)
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_REAL_TIME = ("fifo", "rr")
_BLKIO_LIMITS = ("weight", "read_iops_sec", "write_iops_sec", "read_bytes_sec", "write_bytes_sec")
_SPARSE = {"shares", "period", "quota", "global_period", "global_quota", "emulator_period", "emulator_quota",
           "iothread_period", "iothread_quota", "emulatorpin", "emulatorsched"}
_LISTS = ("vcpupins", "iothreadpins", "vcpuscheds", "iothreadscheds", "cachetunes", "memorytunes")
_NO_MEMTUNE = Memtune()
Sched = TypeVar("Sched", VcpuSched, IoThreadSched, EmulatorSched)


def read_iothreads(domain: Domain, context: Context) -> None:
    """As many threads as were counted or listed; numbers that nobody chose are written down beside chosen ones only."""
    del context
    listed = domain.iothreadids
    if not listed:
        return
    known: set[int | None] = set()
    for thread in listed:
        if thread.id in known:
            raise xml_error(f"duplicate iothread id '{thread.id}' found")
        known.add(thread.id)
        thread.poll_max = thread.poll_max or None
    domain.iothreads = max(domain.iothreads or 0, len(listed))
    free = (number for number in range(1, 2**31) if number not in known)
    listed += [IoThread(id=next(free)) for _ in range(domain.iothreads - len(listed))]


def read_cputune(domain: Domain, context: Context) -> None:
    """One pin and one scheduler for each thread, in the order of their numbers; nothing said is no tuning."""
    del context
    tune = domain.cputune
    if tune is None:
        return
    if tune.vcpupins:
        tune.vcpupins = _read_vcpupins(tune.vcpupins, domain.vcpu or 0)
    if tune.iothreadpins or tune.iothreadscheds:
        _read_iothread_tuning(tune, domain)
    if tune.vcpuscheds:
        tune.vcpuscheds = _read_vcpuscheds(tune.vcpuscheds, domain.vcpu or 0)
    if tune.emulatorsched:
        _settle_priority(tune.emulatorsched, "emulatorsched")
    if tune.cachetunes or tune.memorytunes:
        _read_resctrl(tune, domain.vcpu or 0)
    if not any(getattr(tune, name) for name in _LISTS) and all(getattr(tune, name) is None for name in _SPARSE):
        domain.cputune = None


def _read_vcpupins(pins: list[VcpuPin], count: int) -> list[VcpuPin]:
    """Those of CPUs that the domain may have."""
    by_number: dict[int, VcpuPin] = {}
    for pin in pins:
        number = pin.vcpu or 0
        if number in by_number:
            raise internal_error(f"duplicate vcpupin for vcpu '{number}'")
        if number < count:
            by_number[number] = pin
    return [by_number[number] for number in sorted(by_number)]


def _read_iothread_tuning(tune: Cputune, domain: Domain) -> None:
    known = {thread.id for thread in domain.iothreadids} or set(range(1, (domain.iothreads or 0) + 1))

    def must_be(number: int | None) -> None:
        if number not in known:
            raise unsupported(f"Cannot find 'iothread' : {number}")

    pins: dict[int, IoThreadPin] = {}
    for pin in tune.iothreadpins:
        must_be(pin.iothread)
        if pin.iothread in pins:
            raise internal_error(f"duplicate iothreadpin for same iothread '{pin.iothread}'")
        pins[pin.iothread or 0] = pin
    tune.iothreadpins = [pins[number] for number in sorted(pins)]
    scheds: dict[int, IoThreadSched] = {}
    for sched in tune.iothreadscheds:
        _settle_priority(sched, "iothreadsched")
        for number in numbers(sched.iothreads or ""):
            must_be(number)
            if number in scheds:
                raise xml_detail("'iothreadsched' attributes 'iothreads' must not overlap")
            scheds[number] = IoThreadSched(iothreads=str(number), scheduler=sched.scheduler, priority=sched.priority)
    tune.iothreadscheds = [scheds[number] for number in sorted(scheds)]


def _read_vcpuscheds(scheds: list[VcpuSched], count: int) -> list[VcpuSched]:
    by_number: dict[int, VcpuSched] = {}
    for sched in scheds:
        _settle_priority(sched, "vcpusched")
        for number in numbers(sched.vcpus or ""):
            if number >= count:
                raise unsupported(f"vCPU '{number}' is not present in domain definition")
            if number in by_number:
                raise xml_detail("'vcpusched' attributes 'vcpus' must not overlap")
            by_number[number] = VcpuSched(vcpus=str(number), scheduler=sched.scheduler, priority=sched.priority)
    return [by_number[number] for number in sorted(by_number)]


def _settle_priority(sched: Sched, element: str) -> None:
    """Real-time schedulers need one, others have none."""
    if sched.scheduler not in _REAL_TIME:
        sched.priority = None
    elif sched.priority is None:
        raise LibvirtError(c.VIR_ERR_XML_ERROR, f"Missing required attribute 'priority' in element '{element}'",
                           domain=c.VIR_FROM_XML)


# --- shares of caches and memory bandwidth --------------------------------------------------------------------------


def _resctrl_error(detail: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_XML_ERROR, detail, domain=c.VIR_FROM_RESCTRL)


def _read_resctrl(tune: Cputune, count: int) -> None:
    """Groups of CPUs that share a part of a cache or of the memory's bandwidth, which are apart or the same."""
    groups: tuple[CacheTune | MemoryTune, ...] = (*tune.cachetunes, *tune.memorytunes)
    for group in groups:
        group.vcpus = canonical(",".join(str(number) for number in numbers(group.vcpus or "") if number < count))
    tune.cachetunes = [cache for cache in tune.cachetunes if cache.vcpus]
    tune.memorytunes = [memory for memory in tune.memorytunes if memory.vcpus]
    _check_apart(tune.cachetunes, same="Identical vcpus in cachetunes found")
    for cache in tune.cachetunes:
        _check_caches(cache)
    tune.cachetunes = [cache for cache in tune.cachetunes if cache.caches or cache.monitors]
    by_vcpus: dict[str | None, set[int | None]] = {}
    for memory in tune.memorytunes:
        _check_bandwidths(memory, by_vcpus.setdefault(memory.vcpus, set()))
    tune.memorytunes = [memory for memory in tune.memorytunes if memory.nodes or memory.monitors]
    _check_apart([*tune.cachetunes, *tune.memorytunes])


def _check_apart(groups: Iterable[CacheTune | MemoryTune], same: str | None = None) -> None:
    seen: dict[str, set[int]] = {}
    for group in groups:
        vcpus, mine = group.vcpus or "", set(numbers(group.vcpus or ""))
        if vcpus in seen and same is not None:
            raise xml_error(same)
        if any(mine & theirs for other, theirs in seen.items() if other != vcpus):
            raise xml_error("Overlapping vcpus in resctrls")
        seen[vcpus] = mine


def _check_caches(group: CacheTune) -> None:
    taken: set[tuple[int | None, int | None, str | None]] = set()
    for cache in group.caches:
        rivals = ("both", "code", "data") if cache.type == "both" else ("both", cache.type)
        if any((cache.level, cache.id, rival) in taken for rival in rivals):
            raise _resctrl_error(f"Colliding cache allocations for cache level '{cache.level}' id '{cache.id}', "
                                 f"type '{cache.type}'")
        taken.add((cache.level, cache.id, cache.type))
    own = set(numbers(group.vcpus or ""))
    watched: list[set[int]] = []
    for monitor in group.monitors:
        if monitor.level != 3:
            raise xml_error(f"Invalid monitor cache level '{monitor.level}'")
        vcpus = set(numbers(monitor.vcpus or ""))
        if not vcpus <= own:
            raise LibvirtError(c.VIR_ERR_INVALID_ARG, "Monitor vcpus conflicts with allocation",
                               domain=c.VIR_FROM_DOMAIN)
        if any(vcpus & other for other in watched):
            raise LibvirtError(c.VIR_ERR_INVALID_ARG, "vcpus overlaps in resctrl groups", domain=c.VIR_FROM_DOMAIN)
        watched.append(vcpus)


def _check_bandwidths(group: MemoryTune, taken: set[int | None]) -> None:
    for node in group.nodes:
        if (node.bandwidth or 0) > 100:
            raise _resctrl_error("Memory Bandwidth value exceeding 100 is invalid.")
        if node.id in taken:
            raise _resctrl_error(f"Memory Bandwidth already defined for node {node.id}")
        taken.add(node.id)


# --- disks and memory -----------------------------------------------------------------------------------------------


def read_blkiotune(domain: Domain, context: Context) -> None:
    """A device without limits is none; nothing at all is no tuning."""
    del context
    tune = domain.blkiotune
    if tune is None:
        return
    if any(device.path is None for device in tune.devices):
        raise unsupported("missing per-device path")
    tune.devices = [device for device in tune.devices if any(getattr(device, name) for name in _BLKIO_LIMITS)]
    if tune.weight is None and not tune.devices:
        domain.blkiotune = None


def read_memtune(domain: Domain, context: Context) -> None:
    """Limits of which none is said are no limits."""
    del context
    tune = domain.memtune
    if tune is not None and tune == _NO_MEMTUNE:
        domain.memtune = None


def check_limits(domain: Domain, context: Context) -> None:
    """A device has limits once, and a pool's fewest threads are not more than its most."""
    del context
    paths = [device.path for device in domain.blkiotune.devices] if domain.blkiotune else []
    for path in paths:
        if paths.count(path) > 1:
            raise unsupported(f"duplicate blkio device path '{path}'")
    pools = [(thread.thread_pool_min, thread.thread_pool_max) for thread in domain.iothreadids]
    pools.append((domain.defaultiothread_thread_pool_min, domain.defaultiothread_thread_pool_max))
    for fewest, most in pools:
        if fewest is not None and fewest > (-1 if most is None else most):
            raise unsupported("thread_pool_min must be smaller or equal to thread_pool_max")


def check_tuning(domain: Domain, context: Context) -> None:
    """What QEMU's driver has no means for."""
    if not context.qemu:
        return
    if domain.memtune and domain.memtune.min_guarantee:
        raise qemu_unsupported("Parameter 'min_guarantee' not supported by QEMU.")
    tune = domain.cputune
    if tune and (tune.cachetunes or tune.memorytunes) and domain.type != "kvm":
        raise qemu_unsupported("cachetune is only supported for KVM domains")
