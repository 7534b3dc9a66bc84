"""``-cpu`` read back: the model and its features, and what of the platform and the clock is a feature of the CPU."""

from __future__ import annotations

import re
from collections.abc import Callable

from virtbus_domain.drivers.qemu.command.cpu import HYPERV, KVM
from virtbus_domain.drivers.qemu.cpu_models import to_libvirt
from virtbus_domain.drivers.qemu.native.options import members, refusal
from virtbus_domain.xml.clock import Timer
from virtbus_domain.xml.cpu import Cpu, CpuCache, CpuFeature, CpuModel, MaxPhysAddr
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.features import Apic, Features, Hyperv, Kvm, Switch
from virtbus_domain.xml.panic import Panic

_MODES = {"host": "host-passthrough", "max": "maximum"}
_SWITCHES = {"on": True, "off": False}
_HYPERV_OF = {qemu: ours for ours, qemu in HYPERV.items()}
_KVM_OF = {said: (ours, state) for ours, (state, said) in KVM.items()}
# What the guest sees of caches, by whether it has a third level and whether that is the host's.
_CACHE_MODES: dict[tuple[bool | None, bool | None], str] = {
    (True, None): "emulate", (True, False): "emulate", (False, True): "passthrough",
    (False, None): "disable", (False, False): "disable"}


def features_of(domain: Domain) -> Features:
    """The features, which every domain has while it is read."""
    assert domain.features is not None
    return domain.features


def read_processor(text: str | None, domain: Domain) -> None:
    """The value of ``-cpu``, if the command has one."""
    if text is None:
        return
    (_, model), *properties = members(text, "model")
    cpu = domain.cpu
    assert cpu is not None
    cpu.mode = _MODES.get(model, "custom")
    if cpu.mode == "custom":
        cpu.model, cpu.match, cpu.check = CpuModel(name=model, fallback="forbid"), "exact", "none"
    values = dict(properties)
    if len(values) < len(properties):
        raise refusal(f"-cpu {text}: a property comes twice")
    _read_caches(values, cpu)
    for name, value in values.items():
        _read_property(domain, cpu, name, value)


def _read_caches(values: dict[str, str], cpu: Cpu) -> None:
    if "l3-cache" not in values:
        return
    third, host = (_switch(values, name) for name in ("l3-cache", "host-cache-info"))
    mode = _CACHE_MODES.get((third, host))
    if mode is None:
        raise refusal("-cpu: the host's caches, and a third level of the guest's own")
    # A mode that shows the host's caches stands without a level.
    cpu.cache = CpuCache(level=3 if mode == "emulate" else None, mode=mode)


def _switch(values: dict[str, str], name: str) -> bool | None:
    value = values.pop(name, None)
    if value not in (None, *_SWITCHES):
        raise refusal(f"-cpu {name}={value}")
    return None if value is None else _SWITCHES[value]


def _read_property(domain: Domain, cpu: Cpu, name: str, value: str) -> None:
    if name in _HYPERV_OF:
        _read_hyperv(domain, _HYPERV_OF[name], value)
    elif f"{name}={value}" in _KVM_OF:
        features = features_of(domain)
        features.kvm = features.kvm or Kvm()
        setattr(features.kvm, *_KVM_OF[f"{name}={value}"])
    elif name in _TEXTS:
        _TEXTS[name](domain, cpu, value)
    elif value not in _SWITCHES:
        raise refusal(f"-cpu {name}={value}")
    elif name in _PLATFORM:
        _PLATFORM[name](domain, cpu, _SWITCHES[value])
    else:
        cpu.features.append(CpuFeature(name=to_libvirt(name), policy="require" if value == "on" else "disable"))


def _read_hyperv(domain: Domain, field: str, value: str) -> None:
    features = features_of(domain)
    hyperv = features.hyperv = features.hyperv or Hyperv()
    setattr(hyperv, field, True)
    if field == "spinlocks":
        hyperv.spinlocks_retries = _number("hv-spinlocks", value)
    elif field == "vendor_id":
        hyperv.vendor_id_value = value
    elif value != "on":
        raise refusal(f"-cpu {HYPERV[field]}={value}")


def _number(name: str, text: str) -> int:
    if not re.fullmatch("0x[0-9a-f]{1,16}|[0-9]{1,19}", text, re.ASCII):
        raise refusal(f"-cpu {name}={text}")
    return int(text, 16 if text.startswith("0x") else 10)


def _vendor(domain: Domain, cpu: Cpu, value: str) -> None:
    del domain
    if cpu.model is None:
        raise refusal(f"-cpu vendor={value} without a model")
    cpu.model.vendor_id = value


def _frequency(domain: Domain, cpu: Cpu, value: str) -> None:
    del cpu
    _add_timer(domain, Timer(name="tsc", frequency=_number("tsc-frequency", value)))


def _bits(domain: Domain, cpu: Cpu, value: str) -> None:
    del domain
    cpu.maxphysaddr = MaxPhysAddr(mode="emulate", bits=_number("phys-bits", value))


def _limit(domain: Domain, cpu: Cpu, value: str) -> None:
    del domain
    cpu.maxphysaddr = MaxPhysAddr(mode="passthrough", limit=_number("host-phys-bits-limit", value))


def _host_bits(domain: Domain, cpu: Cpu, on: bool) -> None:  # a property's value
    del domain
    if on:
        cpu.maxphysaddr = MaxPhysAddr(mode="passthrough")
    else:
        raise refusal("-cpu host-phys-bits=off")


def _add_timer(domain: Domain, timer: Timer) -> None:
    assert domain.clock is not None
    domain.clock.timers.append(timer)


def _timer(name: str) -> Callable[[Domain, Cpu, bool], None]:
    return lambda domain, cpu, on: _add_timer(domain, Timer(name=name, present=on))


def _passthrough(domain: Domain, cpu: Cpu, on: bool) -> None:  # a property's value
    del cpu
    features = features_of(domain)
    features.hyperv = features.hyperv or Hyperv()
    features.hyperv.mode = "passthrough" if on else "custom"


def _migratable(domain: Domain, cpu: Cpu, on: bool) -> None:  # a property's value
    del domain
    cpu.migratable = on


def _crash(domain: Domain, cpu: Cpu, on: bool) -> None:  # a property's value
    """How a Windows guest tells that it has crashed, which a document lists among the devices."""
    del cpu, on
    assert domain.devices is not None
    domain.devices.panics.append(Panic(model="hyperv"))


_TEXTS: dict[str, Callable[[Domain, Cpu, str], None]] = {
    "vendor": _vendor, "tsc-frequency": _frequency, "phys-bits": _bits, "host-phys-bits-limit": _limit}
_PLATFORM: dict[str, Callable[[Domain, Cpu, bool], None]] = {
    "kvmclock": _timer("kvmclock"), "hv-time": _timer("hypervclock"), "host-phys-bits": _host_bits,
    "hv-passthrough": _passthrough, "migratable": _migratable,
    "hv-crash": _crash,
    "kvm-pv-eoi": lambda domain, cpu, on: setattr(features_of(domain), "apic", Apic(eoi=on)),
    "kvm-pv-unhalt": lambda domain, cpu, on: setattr(features_of(domain), "pvspinlock", Switch(state=on)),
    "pmu": lambda domain, cpu, on: setattr(features_of(domain), "pmu", Switch(state=on))}
