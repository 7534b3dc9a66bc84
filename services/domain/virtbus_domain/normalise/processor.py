"""The guest's processor: which one it is, what is left out of it, and what cannot be said of it together."""

from __future__ import annotations

from virtbus_domain.normalise.context import Context, qemu_unsupported, unsupported
from virtbus_domain.xml.cpu import Cpu, CpuModel
from virtbus_domain.xml.domain import Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_NAMING = ("custom", "host-model")  # modes in which a model may be named
_OF_HOST = ("host-passthrough", "maximum")
_PARTS = ("model", "vendor", "topology", "cache", "maxphysaddr", "features", "numa")


def _cpu_error(detail: str, code: int = c.VIR_ERR_XML_ERROR) -> LibvirtError:
    return LibvirtError(code, detail, domain=c.VIR_FROM_CPU)


def read_cpu(domain: Domain, context: Context) -> None:
    """What a CPU's mode has a use for; features belong to a model."""
    del context
    cpu = domain.cpu
    if cpu is None:
        return
    mode = cpu.mode or "custom"
    if cpu.migratable is not None and mode not in _OF_HOST:
        raise _cpu_error("Attribute migratable is only allowed for 'host-passthrough' / 'maximum' CPU mode",
                         c.VIR_ERR_CONFIG_UNSUPPORTED)
    if mode != "custom":
        cpu.match = None
    _read_model(cpu, mode)
    named = cpu.model is not None and cpu.model.name is not None
    if cpu.vendor is not None and not named:
        raise _cpu_error("CPU vendor specified without CPU model")
    if cpu.topology and cpu.topology.dies is None:
        cpu.topology.dies = 1
    if cpu.features:
        if mode == "custom" and not named:
            raise _cpu_error("Non-empty feature list specified without CPU model")
        _read_features(cpu)


def _read_model(cpu: Cpu, mode: str) -> None:
    model = cpu.model
    if model is None:
        return
    if mode not in _NAMING or (model.name is None and model.vendor_id is None):
        cpu.model = None
    else:
        model.fallback = None if model.name is None else model.fallback or "allow"


def _read_features(cpu: Cpu) -> None:
    seen: set[str | None] = set()
    for feature in cpu.features:
        feature.policy = feature.policy or "require"
        if feature.name in seen:
            raise _cpu_error(f"CPU feature '{feature.name}' specified more than once")
        seen.add(feature.name)


def complete_cpu(domain: Domain, context: Context) -> None:
    """What of the CPU was left open; where QEMU runs it, also which CPU it is."""
    cpu = domain.cpu
    if context.qemu:
        if cpu is None:
            cpu = domain.cpu = Cpu()
        _choose_cpu(cpu, domain, context)
    elif cpu is not None and cpu.mode in (None, "custom"):
        if cpu.model is not None and cpu.model.name is not None:
            cpu.mode, cpu.match = "custom", cpu.match or "exact"
        elif cpu.check is not None:
            raise unsupported("check attribute specified for CPU with no model")
        else:
            cpu.mode = cpu.match = None
            if not any(getattr(cpu, name) for name in _PARTS):
                domain.cpu = None


def _choose_cpu(cpu: Cpu, domain: Domain, context: Context) -> None:
    match cpu.mode or "custom":
        case "custom" if cpu.model is None or cpu.model.name is None:
            cpu.model = CpuModel(name=context.default_cpu, fallback="forbid",
                                 vendor_id=cpu.model.vendor_id if cpu.model else None)
            cpu.mode, cpu.match, cpu.check = "custom", "exact", "none"
        case "custom":
            cpu.mode, cpu.match = "custom", cpu.match or "exact"
            # Without hardware help nothing of the host's CPU limits the guest's.
            cpu.check = cpu.check or ("none" if domain.type == "qemu" else "partial")
        case "host-model":
            cpu.check = cpu.check or "partial"
        case mode:
            cpu.check = cpu.check or "none"
            if mode == "host-passthrough" and cpu.migratable is None:
                cpu.migratable = True


def check_cpu(domain: Domain, context: Context) -> None:
    """Sockets, dies, cores and threads multiply to the most CPUs that the domain can have; QEMU knows few caches."""
    cpu = domain.cpu
    if not context.qemu or cpu is None:
        return
    if cpu.topology is not None:
        topology = cpu.topology
        product = (topology.sockets or 1) * (topology.dies or 1) * (topology.cores or 1) * (topology.threads or 1)
        if product != domain.vcpu:
            raise qemu_unsupported("CPU topology doesn't match maximum vcpu count")
    if cpu.cache is not None:
        _check_cache(cpu)
    if cpu.maxphysaddr is not None:
        if cpu.maxphysaddr.mode == "emulate" and cpu.maxphysaddr.bits is None:
            raise qemu_unsupported("if using CPU maximum physical address mode='emulate', bits= must be specified too")
        if cpu.maxphysaddr.mode == "passthrough" and cpu.maxphysaddr.bits is not None:
            raise qemu_unsupported("CPU maximum physical address bits number specification cannot be used with "
                                   "mode='passthrough'")


def _check_cache(cpu: Cpu) -> None:
    assert cpu.cache is not None
    mode, level = cpu.cache.mode, cpu.cache.level
    if mode == "emulate":
        if level != 3:
            raise qemu_unsupported("CPU cache mode 'emulate' can only be used with level='3'")
        return
    if mode == "passthrough" and cpu.mode not in _OF_HOST:
        raise qemu_unsupported("CPU cache mode 'passthrough' can only be used with 'host-passthrough' / 'maximum' CPUs")
    if level is not None:
        raise qemu_unsupported(f"unsupported CPU cache level for mode '{mode}'")
