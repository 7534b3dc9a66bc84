"""How much of the host's processors and disks a domain gets: weights, limits, pinning, schedulers, cache shares."""

from __future__ import annotations

from virtbus_domain.xml.platform_values import (
    CPUSET,
    LONG,
    NO_CPUSET,
    WRAPPING_UINT,
    WRAPPING_ULONG,
    if_valid,
    scaled,
    unsupported,
    xml_error,
)
from virtbus_domain.xml.values import NON_NEGATIVE, UINT_OR_ZERO
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml import attr, element, sub, subs, text
from virtbus_shared.service.xml_lines import Element
from virtbus_shared.service.xml_values import INT, ORDER, UINT, ULONG, YESNO, Kind, Refusal, words

SCHEDULERS = ("batch", "idle", "fifo", "rr")
_BAD_MONITOR = xml_error("Invalid monitor attribute 'vcpus' value '{value}'")
_PERIOD = (1000, 1000000)
_QUOTA = (1000, 17592186044415)


def _no_cpuset(pin: str) -> Refusal:
    return (c.VIR_ERR_INTERNAL_ERROR, f"missing cpuset for {pin}")


def _no_set(name: str, sched: str) -> Refusal:
    return xml_error(f"Missing attribute '{name}' in element '{sched}'")


def _no_vcpus(of: str) -> Refusal:
    return xml_error(f"Missing {of} attribute 'vcpus'")


def _bad_cputune(what: str) -> Refusal:
    return xml_error(f"can't parse cputune {what} value")


def _within(kind: Kind[int], name: str, bounds: tuple[int, int], *, keep_zero: bool = False) -> Kind[int | None]:
    """A number within bounds; zero means none, and anything negative no limit."""
    def read(text: str) -> int | None:
        assert kind.read
        amount = kind.read(text)
        if amount > 0 and not bounds[0] <= amount <= bounds[1]:
            detail = f"Value of cputune '{name}' must be in range [{bounds[0]}, {bounds[1]}]"
            raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_DOMAIN)
        return amount if keep_zero else amount or None

    return Kind(read, str)


def _bad_limit(what: str) -> Refusal:
    return unsupported(f"could not parse {what} {{value}}")


@element
class Vcpu(Element):
    """One virtual CPU: whether it is plugged in at start, may be unplugged, and in which ``order``."""

    id: int | None = attr("@id", UINT, required=True)
    enabled: bool | None = attr("@enabled", YESNO, required=True)
    hotpluggable: bool | None = attr("@hotpluggable", YESNO)
    order: int | None = attr("@order", UINT_OR_ZERO)


@element
class IoThread(Element):
    """A thread for I/O of disks; ``poll_max`` in nanoseconds."""

    id: int | None = attr("@id", ORDER, required=True)
    thread_pool_min: int | None = attr("@thread_pool_min", NON_NEGATIVE)
    thread_pool_max: int | None = attr("@thread_pool_max", NON_NEGATIVE)
    poll_max: int | None = attr("poll/@max", ULONG)
    poll_grow: int | None = attr("poll/@grow", UINT)
    poll_shrink: int | None = attr("poll/@shrink", UINT)


@element
class VcpuPin(Element):
    """The host CPUs that one virtual CPU may run on."""

    vcpu: int | None = attr("@vcpu", UINT, required=True)
    cpuset: str | None = attr("@cpuset", CPUSET, error=NO_CPUSET, required=_no_cpuset("vcpupin"))


@element
class IoThreadPin(Element):
    """The host CPUs that one I/O thread may run on."""

    iothread: int | None = attr("@iothread", ORDER, required=True)
    cpuset: str | None = attr("@cpuset", CPUSET, error=NO_CPUSET, required=_no_cpuset("iothreadpin"))


@element
class EmulatorSched(Element):
    """The scheduler of the emulator's own threads; ``priority`` for the real-time ones."""

    scheduler: str | None = attr("@scheduler", words(*SCHEDULERS), required=True)
    priority: int | None = attr("@priority", INT)


@element
class VcpuSched(Element):
    """The scheduler of some virtual CPUs."""

    vcpus: str | None = attr("@vcpus", CPUSET, error=NO_CPUSET, required=_no_set("vcpus", "vcpusched"))
    scheduler: str | None = attr("@scheduler", words(*SCHEDULERS), required=True)
    priority: int | None = attr("@priority", INT)


@element
class IoThreadSched(Element):
    """The scheduler of some I/O threads."""

    iothreads: str | None = attr("@iothreads", CPUSET, error=NO_CPUSET,
                                 required=_no_set("iothreads", "iothreadsched"))
    scheduler: str | None = attr("@scheduler", words(*SCHEDULERS), required=True)
    priority: int | None = attr("@priority", INT)


@element
class CacheShare(Element):
    """A part of one of the host's caches, in KiB."""

    id: int | None = attr("@id", UINT, required=True)
    level: int | None = attr("@level", UINT, required=True)
    type: str | None = attr("@type", words("both", "code", "data"), required=True)
    size: int | None = scaled("@size", "KiB")


@element
class CacheMonitor(Element):
    """A count of how much of a cache some virtual CPUs fill."""

    level: int | None = attr("@level", UINT, required=True)
    vcpus: str | None = attr("@vcpus", CPUSET, error=_BAD_MONITOR, required=_no_vcpus("monitor"))


@element
class CacheTune(Element):
    """Cache set aside for some virtual CPUs."""

    vcpus: str | None = attr("@vcpus", CPUSET, error=xml_error("Invalid cachetune attribute 'vcpus' value '{value}'"),
                             required=_no_vcpus("cachetune"))
    caches: list[CacheShare] = subs("cache", CacheShare)
    monitors: list[CacheMonitor] = subs("monitor", CacheMonitor)


@element
class MemoryBandwidth(Element):
    """A share of one node's memory bandwidth, in percent."""

    id: int | None = attr("@id", UINT, required=True)
    bandwidth: int | None = attr("@bandwidth", UINT, required=True)


@element
class MemoryMonitor(Element):
    """A count of the memory bandwidth that some virtual CPUs take."""

    vcpus: str | None = attr("@vcpus", CPUSET, error=_BAD_MONITOR, required=_no_vcpus("monitor"))


@element
class MemoryTune(Element):
    """Memory bandwidth set aside for some virtual CPUs."""

    vcpus: str | None = attr("@vcpus", CPUSET, error=xml_error("Invalid memorytune attribute 'vcpus' value '{value}'"),
                             required=_no_vcpus("memorytune"))
    nodes: list[MemoryBandwidth] = subs("node", MemoryBandwidth)
    monitors: list[MemoryMonitor] = subs("monitor", MemoryMonitor)


@element
class Cputune(Element):
    """Processor time: weights, and in each ``period`` of microseconds a ``quota`` of them (negative: no limit)."""

    shares: int | None = text("shares", _within(ULONG, "shares", (2, 262144), keep_zero=True),
                              error=_bad_cputune("shares"))
    period: int | None = text("period", _within(ULONG, "period", _PERIOD),
                              error=_bad_cputune("period"))
    quota: int | None = text("quota", _within(LONG, "quota", _QUOTA),
                             error=_bad_cputune("quota"))
    global_period: int | None = text("global_period", _within(ULONG, "global_period", _PERIOD),
                                     error=_bad_cputune("global period"))
    global_quota: int | None = text("global_quota", _within(LONG, "global_quota", _QUOTA),
                                    error=_bad_cputune("global quota"))
    emulator_period: int | None = text("emulator_period", _within(ULONG, "emulator_period", _PERIOD),
                                       error=_bad_cputune("emulator period"))
    emulator_quota: int | None = text("emulator_quota", _within(LONG, "emulator_quota", _QUOTA),
                                      error=_bad_cputune("emulator quota"))
    iothread_period: int | None = text("iothread_period", _within(ULONG, "iothread_period", _PERIOD),
                                       error=_bad_cputune("iothread period"))
    iothread_quota: int | None = text("iothread_quota", _within(LONG, "iothread_quota", _QUOTA),
                                      error=_bad_cputune("iothread quota"))
    vcpupins: list[VcpuPin] = subs("vcpupin", VcpuPin)
    emulatorpin: str | None = attr("emulatorpin/@cpuset", CPUSET, error=NO_CPUSET, required=_no_cpuset("emulatorpin"))
    iothreadpins: list[IoThreadPin] = subs("iothreadpin", IoThreadPin)
    emulatorsched: EmulatorSched | None = sub("emulatorsched", EmulatorSched)
    vcpuscheds: list[VcpuSched] = subs("vcpusched", VcpuSched)
    iothreadscheds: list[IoThreadSched] = subs("iothreadsched", IoThreadSched)
    cachetunes: list[CacheTune] = subs("cachetune", CacheTune)
    memorytunes: list[MemoryTune] = subs("memorytune", MemoryTune)


@element
class BlkioDevice(Element):
    """Weight and limits of one block device of the host."""

    path: str | None = text("path")
    weight: int | None = text("weight", WRAPPING_UINT, error=_bad_limit("weight"))
    read_iops_sec: int | None = text("read_iops_sec", WRAPPING_UINT, error=_bad_limit("read iops sec"))
    write_iops_sec: int | None = text("write_iops_sec", WRAPPING_UINT, error=_bad_limit("write iops sec"))
    read_bytes_sec: int | None = text("read_bytes_sec", WRAPPING_ULONG, error=_bad_limit("read bytes sec"))
    write_bytes_sec: int | None = text("write_bytes_sec", WRAPPING_ULONG, error=_bad_limit("write bytes sec"))


@element
class Blkiotune(Element):
    """The domain's weight against others at the host's disks, and limits of single ones."""

    weight: int | None = text("weight", if_valid(UINT, 0))
    devices: list[BlkioDevice] = subs("device", BlkioDevice)


@element
class Resource(Element):
    """Where the domain belongs on the host: the control group above its own, and its name in a storage network."""

    partition: str | None = text("partition")
    fibrechannel_appid: str | None = attr("fibrechannel/@appid")


@element
class PerfEvent(Element):
    """An event that the host counts while the domain runs."""

    name: str | None = attr("@name", words(
        "cmt", "mbmt", "mbml", "cpu_cycles", "instructions", "cache_references", "cache_misses", "branch_instructions",
        "branch_misses", "bus_cycles", "stalled_cycles_frontend", "stalled_cycles_backend", "ref_cpu_cycles",
        "cpu_clock", "task_clock", "page_faults", "context_switches", "cpu_migrations", "page_faults_min",
        "page_faults_maj", "alignment_faults", "emulation_faults"), required=True)
    enabled: bool | None = attr("@enabled", YESNO, required=True)
