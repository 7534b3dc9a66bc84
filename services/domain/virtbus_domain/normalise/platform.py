"""The machine that a guest sees around its devices: firmware, features, CPU, clock, and what happens at its end."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from virtbus_domain.normalise.context import Context, qemu_unsupported, unsupported, xml_error
from virtbus_domain.xml.boot import Nvram, Os
from virtbus_domain.xml.clock import Clock
from virtbus_domain.xml.cpu import Cpu, CpuModel
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.features import Features


def require_os_type(domain: Domain, context: Context) -> None:
    """What kind of guest it is has to be said."""
    del context
    if domain.os is None:
        domain.os = Os()
    if domain.os.type is None:
        raise xml_error("an os <type> must be specified")


def complete_os(domain: Domain, context: Context) -> None:
    """Architecture and a canonical machine type, so that a later emulator shows the guest the same hardware."""
    assert domain.os
    if domain.os.arch is None:
        domain.os.arch = platform.machine() if context.qemu else "i686"
    domain.os.machine = context.machine(domain.os.arch, domain.os.machine)


def complete_firmware(domain: Domain, context: Context) -> None:
    """A guest with firmware in flash has a file of its own for what the firmware remembers."""
    assert domain.os
    loader = domain.os.loader
    if loader is not None and loader.path and loader.type is None and domain.os.firmware_auto is None:
        loader.type = "rom"
    domain.os.firmware_features.sort(key=lambda feature: feature.name or "")
    if not context.qemu:
        return
    if loader and loader.type == "pflash" and loader.readonly and loader.path and domain.os.firmware_auto is None:
        if domain.os.nvram is None:
            domain.os.nvram = Nvram()
        if not domain.os.nvram.path and domain.os.nvram.source is None:
            domain.os.nvram.path = f"{context.nvram_dir}/{domain.name}_VARS.fd"


def check_firmware(domain: Domain, context: Context) -> None:
    """UEFI finds what it boots by ACPI's tables."""
    assert domain.os
    loader = domain.os.loader
    uefi = domain.os.firmware_auto == "efi" or (loader is not None and loader.type == "pflash")
    if context.qemu and uefi and domain.os.arch in ("x86_64", "i686") and not (
            domain.features and domain.features.acpi):
        raise qemu_unsupported("UEFI requires ACPI on this architecture")


def complete_features(domain: Domain, context: Context) -> None:
    """Hyper-V features are chosen one by one unless said otherwise; a list without content vanishes."""
    del context
    if domain.features == Features():
        domain.features = None
    features = domain.features
    if features and features.hyperv:
        features.hyperv.mode = features.hyperv.mode or "custom"
        if not features.hyperv.vendor_id:
            features.hyperv.vendor_id_value = None
    if features and features.smm and features.smm.state is None:
        features.smm.state = True


def complete_seclabels(domain: Domain, context: Context) -> None:
    """Files get a label that was made for the guest, and keep theirs where a label was given; none has no say."""
    del context
    for label in domain.seclabels:
        if label.type == "none":
            label.relabel = None
        elif label.relabel is None:
            label.relabel = label.type != "static"


def complete_cpu(domain: Domain, context: Context) -> None:
    """What of the CPU was left open; where QEMU runs it, also which CPU it is."""
    cpu = domain.cpu
    if cpu is None:
        if not context.qemu:
            return
        cpu = domain.cpu = Cpu()
    if cpu.model is not None and not cpu.model.name:
        cpu.model = None
    if cpu.topology and cpu.topology.dies is None:
        cpu.topology.dies = 1
    for feature in cpu.features:
        feature.policy = feature.policy or "require"
    if context.qemu:
        _choose_cpu(cpu, domain, context)
    if cpu.mode in (None, "custom") and cpu.model is not None:
        cpu.mode, cpu.match = "custom", cpu.match or "exact"
    if cpu.model is not None and cpu.model.fallback is None and cpu.mode == "custom":
        cpu.model.fallback = "allow"


def _choose_cpu(cpu: Cpu, domain: Domain, context: Context) -> None:
    mode = cpu.mode or "custom"
    if mode == "custom":
        if cpu.model is None:
            cpu.model = CpuModel(name=context.default_cpu, fallback="forbid")
            cpu.mode, cpu.match = mode, cpu.match or "exact"
            cpu.check = cpu.check or "none"
        # Without hardware help nothing of the host's CPU limits the guest's.
        cpu.check = cpu.check or ("none" if domain.type == "qemu" else "partial")
    elif mode == "host-model":
        cpu.check = cpu.check or "partial"
    else:
        cpu.check = cpu.check or "none"
        if mode == "host-passthrough" and cpu.migratable is None:
            cpu.migratable = True


def check_topology(domain: Domain, context: Context) -> None:
    """Sockets, dies, cores and threads multiply to the most CPUs that the domain can have."""
    topology = domain.cpu.topology if domain.cpu else None
    if not context.qemu or topology is None:
        return
    product = (topology.sockets or 1) * (topology.dies or 1) * (topology.cores or 1) * (topology.threads or 1)
    if product != domain.vcpu:
        raise unsupported("CPU topology doesn't match maximum vcpu count")


def complete_clock(domain: Domain, context: Context) -> None:
    """Coordinated universal time."""
    del context
    if domain.clock is None:
        domain.clock = Clock()
    if domain.clock.offset is None:
        domain.clock.offset = "utc"
    if domain.clock.offset == "variable" and domain.clock.basis is None:
        domain.clock.basis = "utc"


def complete_lifecycle(domain: Domain, context: Context) -> None:
    """A guest that powers off is gone, one that reboots starts again, one that crashes is gone."""
    del context
    domain.on_poweroff = domain.on_poweroff or "destroy"
    domain.on_reboot = domain.on_reboot or "restart"
    domain.on_crash = domain.on_crash or "destroy"


def drop_qemu_namespace(domain: Domain, context: Context) -> None:
    """Only a driver that runs QEMU knows the namespace of its arguments; others drop it, as anything unknown."""
    if not context.qemu:
        domain.qemu_commandline = domain.qemu_capabilities = domain.qemu_override = None


def complete_boot_order(domain: Domain, context: Context) -> None:
    """Each device order is used once; without any order a full guest boots from its first disk."""
    del context
    assert domain.devices
    assert domain.os
    devices = domain.devices
    seen: set[int] = set()
    groups: tuple[Iterable[object], ...] = (devices.disks, devices.interfaces, devices.hostdevs, devices.redirdevs)
    for group in groups:
        for device in group:
            order: int | None = getattr(device, "boot_order", None)
            if order is None:
                continue
            if order in seen:
                raise unsupported(f"boot order '{order}' used for more than one device")
            seen.add(order)
    if seen and domain.os.boot:
        raise unsupported("per-device boot elements cannot be used together with os/boot elements")
    if not seen and not domain.os.boot and domain.os.type == "hvm":
        domain.os.boot = ["hd"]
