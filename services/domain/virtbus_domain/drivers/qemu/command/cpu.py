"""``-cpu``: the guest's processor with all that is said of it in ``cpu``, ``features`` and ``clock``.

``-cpu`` has neither JSON syntax nor an escape, so what may stand in it is spelled out: what a user wrote is refused
when it could be taken for something else.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator

from virtbus_domain.drivers.qemu.capabilities import Accelerator, QemuCapabilities
from virtbus_domain.drivers.qemu.command.arguments import unsupported
from virtbus_domain.drivers.qemu.cpu_models import (
    NEVER_THERE,
    NO_MODELS,
    RETIRED,
    STANDING_IN,
    TURNED_OFF,
    VENDORS,
    WITHOUT_SWITCH,
    HostModel,
    to_libvirt,
    to_qemu,
)
from virtbus_domain.xml.clock import Clock
from virtbus_domain.xml.cpu import Cpu, CpuFeature, CpuModel
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.features import Features, Hyperv, Kvm
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_NAME = re.compile(r"[A-Za-z0-9_.+-]+", re.ASCII)
_CPUID_TEXT = re.compile(r"[ -+\--~]{1,12}", re.ASCII)  # printable, no comma
_ON = ("require", "force", "optional")
_SAID_BY_HOST = ("host-passthrough", "maximum")

# Hyper-V's enlightenments that are switches: the model's field -> QEMU's property, in libvirt's order.
HYPERV = {
    "relaxed": "hv-relaxed", "vapic": "hv-vapic", "spinlocks": "hv-spinlocks", "vpindex": "hv-vpindex",
    "runtime": "hv-runtime", "synic": "hv-synic", "stimer": "hv-stimer", "stimer_direct": "hv-stimer-direct",
    "reset": "hv-reset", "vendor_id": "hv-vendor-id", "frequencies": "hv-frequencies",
    "reenlightenment": "hv-reenlightenment", "tlbflush": "hv-tlbflush", "tlbflush_direct": "hv-tlbflush-direct",
    "tlbflush_extended": "hv-tlbflush-ext", "ipi": "hv-ipi", "evmcs": "hv-evmcs", "avic": "hv-avic",
    "emsr_bitmap": "hv-emsr-bitmap", "xmm_input": "hv-xmm-input",
}
# What KVM offers: the model's field -> the state in which it has to be said, and how.
KVM = {
    "hidden": (True, "kvm=off"), "hint_dedicated": (True, "kvm-hint-dedicated=on"),
    "poll_control": (True, "kvm-poll-control=on"), "pv_ipi": (False, "kvm-pv-ipi=off"),
}
# The caches that the guest sees, by mode: for a CPU that shows the host's own, and for a named model.
_CACHES = {
    "emulate": (("l3-cache=on", "host-cache-info=off"), ("l3-cache=on",)),
    "passthrough": (("host-cache-info=on", "l3-cache=off"), ("host-cache-info=on", "l3-cache=off")),
    "disable": (("host-cache-info=off", "l3-cache=off"), ("l3-cache=off",)),
}


def cpu_argument(domain: Domain, capabilities: QemuCapabilities) -> str | None:
    """The value of ``-cpu``; None where QEMU's own choice will do.

    Raises ``LibvirtError``: ``VIR_ERR_CONFIG_UNSUPPORTED`` or ``VIR_ERR_INTERNAL_ERROR`` for what this emulator lacks,
    ``VIR_ERR_CPU_INCOMPATIBLE`` when the host is not fit for the CPU and ``cpu/@check`` asks for that.
    """
    cpu = expand_cpu(domain, capabilities) or Cpu()
    words = [_model(domain, cpu, capabilities), *_features(cpu), *_timers(domain.clock)]
    if domain.features:
        words += _platform(domain.features)
    if domain.devices and any(panic.model == "hyperv" for panic in domain.devices.panics):
        words.append("hv-crash")  # how a Windows guest tells that it has crashed
    words += _caches(cpu)
    words += _address_width(cpu)
    if not words[0]:
        if len(words) > 1:
            raise unsupported("a CPU without a model (/domain/cpu)")
        return None
    return ",".join(words)


def expand_cpu(domain: Domain, capabilities: QemuCapabilities) -> Cpu | None:
    """The CPU as a start makes it: a named model with every feature decided, where it is not the host's own.

    That is what the running domain's document tells, and what another host needs to know. Raises as ``cpu_argument``.
    """
    given = domain.cpu
    if given is None or given.mode in _SAID_BY_HOST:
        return given
    by_host = given.mode == "host-model" or given.match == "minimum"
    if not by_host and (given.model is None or given.model.name is None):
        return given
    accelerator = capabilities.accelerator(domain.type)
    _check(given, accelerator)
    cpu = copy.deepcopy(given)
    if by_host:
        host = accelerator.host_model if accelerator else None
        if host is None:
            raise _mode_unsupported(domain, given.mode or "custom")
        name, decided = host.name, _of_host(host)
        cpu.vendor = _vendor(host) if given.mode == "host-model" else None
    else:
        name, decided = _named(given, accelerator or capabilities.tcg)
    for feature in given.features:
        if feature.policy == "optional" and accelerator and accelerator.cpu_features:
            decided[str(feature.name)] = to_qemu(str(feature.name)) in accelerator.cpu_available
        else:
            decided[str(feature.name)] = feature.policy in (None, *_ON)
    for item in TURNED_OFF.get(name, ()):
        decided.setdefault(item, by_host and accelerator is not None and item in accelerator.cpu_available)
    cpu.mode, cpu.match = "custom", "exact" if by_host else given.match
    cpu.model = CpuModel(name=name, fallback="forbid", vendor_id=given.model.vendor_id if given.model else None)
    cpu.features = [CpuFeature(policy="require" if on else "disable", name=item) for item, on in decided.items()]
    return cpu


def verify_cpu(domain: Domain, capabilities: QemuCapabilities) -> None:
    """Refuse to start a domain that insists on its CPU to the letter (``cpu/@check`` is full) on a host that lacks
    features of it. ``LibvirtError`` (``VIR_ERR_OPERATION_FAILED``)."""
    cpu, accelerator = domain.cpu, capabilities.accelerator(domain.type)
    if cpu is not None and cpu.check == "full" and cpu.mode == "custom" and accelerator is not None:
        missing = _missing(cpu, accelerator, forced=True)
        if missing:
            detail = f"guest CPU doesn't match specification: missing features: {','.join(missing)}"
            raise LibvirtError(c.VIR_ERR_OPERATION_FAILED, detail, domain=c.VIR_FROM_CPU)


def _of_host(host: HostModel) -> dict[str, bool]:
    return {to_libvirt(item): True for item in host.enabled} | {to_libvirt(item): False for item in host.disabled}


def _vendor(host: HostModel) -> str | None:
    return next((name for name, letters in VENDORS.items() if letters == host.vendor), None)


def _named(cpu: Cpu, accelerator: Accelerator | None) -> tuple[str, dict[str, bool]]:
    """A model that QEMU has, and the features in which it differs from the one that was named."""
    assert cpu.model is not None
    name = _word(cpu.model.name or "", "/domain/cpu/model")
    if name not in NO_MODELS and (not accelerator or not accelerator.cpu_models or accelerator.cpu_model(name)):
        return name, {}
    if cpu.model.fallback != "forbid" and name in STANDING_IN:
        other, features = STANDING_IN[name]
        return other, dict(features)
    if name in STANDING_IN or name in RETIRED:
        detail = f"CPU model {name} is not supported by hypervisor"
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_CPU)
    raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"Unknown CPU model {name}", domain=c.VIR_FROM_CPU)


def _check(cpu: Cpu, accelerator: Accelerator | None) -> None:
    """Compare with the host as far as the domain asks for it."""
    if cpu.check != "partial" or accelerator is None:
        return
    if cpu.match == "strict":
        raise unsupported("/domain/cpu[@match='strict'] with a check")
    host = accelerator.host_model
    if cpu.vendor and host and VENDORS.get(cpu.vendor) != host.vendor:
        raise _incompatible(f"host CPU vendor does not match required CPU vendor {cpu.vendor}")
    missing = _missing(cpu, accelerator)
    if missing:
        raise _incompatible(f"Host CPU does not provide required features: {', '.join(missing)}")
    forbidden = [str(feature.name) for feature in cpu.features
                 if feature.policy == "forbid" and to_qemu(str(feature.name)) in accelerator.cpu_available]
    if forbidden:
        raise _incompatible(f"Host CPU provides forbidden features: {', '.join(forbidden)}")


def _missing(cpu: Cpu, accelerator: Accelerator, *, forced: bool = False) -> list[str]:
    """What the accelerator lacks of a CPU, beside what the domain itself does not insist on."""
    model = accelerator.cpu_model(cpu.model.name or "") if cpu.model and cpu.mode != "host-model" else None
    policies = {str(feature.name): feature.policy or "require" for feature in cpu.features}
    missing = [item for item in model.lacking() if item not in policies] if model else []
    for item, policy in policies.items():
        insists = policy == "require" or (forced and policy == "force")
        if insists and to_qemu(item) in accelerator.cpu_features - accelerator.cpu_available:
            missing.append(item)
    return missing


def _incompatible(reason: str) -> LibvirtError:
    return LibvirtError(c.VIR_ERR_CPU_INCOMPATIBLE, reason, domain=c.VIR_FROM_CPU)


def _mode_unsupported(domain: Domain, mode: str) -> LibvirtError:
    detail = (f"CPU mode '{mode}' for {domain.os.arch if domain.os else None} {domain.type} domain on "
              f"{os.uname().machine} host is not supported by hypervisor")
    return LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)


def _model(domain: Domain, cpu: Cpu, capabilities: QemuCapabilities) -> str:
    match cpu.mode:
        case "host-passthrough":
            if domain.type != "kvm":
                raise _mode_unsupported(domain, "host-passthrough")
            name = "host"
        case "maximum":
            name = "max"
        case _:
            return _named_model(domain, cpu, capabilities)
    if cpu.migratable is not None:
        name += f",migratable={_state(cpu.migratable)}"
    _check_features(cpu, capabilities.accelerator(domain.type) or capabilities.tcg)
    return name


def _named_model(domain: Domain, cpu: Cpu, capabilities: QemuCapabilities) -> str:
    if cpu.model is None or not cpu.model.name:
        return _default_model(domain, capabilities)
    _check_features(cpu, capabilities.accelerator(domain.type) or capabilities.tcg)
    name = _word(cpu.model.name, "/domain/cpu/model")
    vendor = cpu.model.vendor_id
    return f"{name},vendor={_cpuid_text(vendor, '/domain/cpu/model/@vendor_id')}" if vendor else name


def _default_model(domain: Domain, capabilities: QemuCapabilities) -> str:
    """What the machine has when nothing is said, or nothing when QEMU does not tell."""
    machine = capabilities.machine((domain.os.machine if domain.os else None) or "")
    accelerator = capabilities.accelerator(domain.type) or capabilities.tcg
    if machine is None or machine.default_cpu is None or accelerator is None:
        return ""
    return next((model.name for model in accelerator.cpu_models if model.typename == machine.default_cpu), "")


def _check_features(cpu: Cpu, accelerator: Accelerator | None) -> None:
    """Refuse what QEMU would not know, where it told what it knows."""
    known = accelerator.cpu_features if accelerator else frozenset()
    for feature in cpu.features:
        name = str(feature.name)
        vain = name in NEVER_THERE and feature.policy in (None, *_ON)
        if (known and to_qemu(name) not in known | WITHOUT_SWITCH | NEVER_THERE) or vain:
            detail = f"unknown CPU feature: {name}"
            raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_CPU)


def _features(cpu: Cpu) -> Iterator[str]:
    for feature in cpu.features:
        name = _word(feature.name or "", "/domain/cpu/feature/@name")
        # What the host's own CPU may have, it has.
        said_by_host = feature.policy == "optional" and cpu.mode in _SAID_BY_HOST
        if not said_by_host and name not in WITHOUT_SWITCH | NEVER_THERE:
            yield f"{to_qemu(name)}={_state(feature.policy in (None, *_ON))}"


def _timers(clock: Clock | None) -> Iterator[str]:
    for timer in clock.timers if clock else ():
        match timer.name:
            case "kvmclock" if timer.present is not None:
                yield f"kvmclock={_state(timer.present)}"
            case "hypervclock" if timer.present:
                yield "hv-time=on"
            case "tsc" if timer.frequency:
                yield f"tsc-frequency={timer.frequency}"


def _platform(features: Features) -> Iterator[str]:
    if features.apic and features.apic.eoi is not None:
        yield f"kvm-pv-eoi={_state(features.apic.eoi)}"
    if features.pvspinlock:
        yield f"kvm-pv-unhalt={_state(features.pvspinlock.state is not False)}"
    if features.hyperv:
        yield from _hyperv(features.hyperv)
    if features.kvm:
        yield from _kvm(features.kvm)
    if features.pmu:
        yield f"pmu={_state(features.pmu.state is not False)}"


def _hyperv(hyperv: Hyperv) -> Iterator[str]:
    if hyperv.mode == "passthrough":
        yield "hv-passthrough=on"
    for field, property_name in HYPERV.items():
        if getattr(hyperv, field):
            yield f"{property_name}={_hyperv_value(hyperv, field)}"


def _hyperv_value(hyperv: Hyperv, field: str) -> str:
    match field:
        case "spinlocks":
            return f"{hyperv.spinlocks_retries or 0:#x}"
        case "vendor_id":
            return _cpuid_text(hyperv.vendor_id_value or "", "/domain/features/hyperv/vendor_id/@value")
    return "on"


def _kvm(kvm: Kvm) -> Iterator[str]:
    for field, (state, word) in KVM.items():
        if getattr(kvm, field) is state:
            yield word


def _caches(cpu: Cpu) -> tuple[str, ...]:
    if cpu.cache is None or cpu.cache.mode is None:
        return ()
    own, named = _CACHES[cpu.cache.mode]
    return own if cpu.mode in _SAID_BY_HOST else named


def _address_width(cpu: Cpu) -> Iterator[str]:
    width = cpu.maxphysaddr
    if width and width.mode == "passthrough":
        yield "host-phys-bits=on"
        if width.limit:
            yield f"host-phys-bits-limit={width.limit}"
    elif width and width.bits:
        yield f"phys-bits={width.bits}"


def _state(on: bool) -> str:
    return "on" if on else "off"


def _word(word: str, path: str) -> str:
    return _safe(_NAME, word, path)


def _cpuid_text(text: str, path: str) -> str:
    return _safe(_CPUID_TEXT, text, path)


def _safe(pattern: re.Pattern[str], text: str, path: str) -> str:
    if not pattern.fullmatch(text):
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, f"'{text}' cannot be part of a CPU's description (at {path})",
                           domain=c.VIR_FROM_QEMU)
    return text
