"""The machine itself: its type and what is switched on or off in it, what runs it, its CPUs, its clock, its end."""

from __future__ import annotations

import datetime
import time

from virtbus_domain.drivers.qemu.command.arguments import Arguments, Scalar, unsupported
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.drivers.qemu.vcpus import first_vcpus
from virtbus_domain.xml.clock import Clock, Timer
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_TRANSLATION_BUFFER = 32  # MiB; with QEMU's own choice one emulated guest grows to 700 MiB
_MIB = 1024 * 1024


def append_machine(arguments: Arguments, setup: Setup) -> None:
    """``-machine``, and the two properties of the chipset that can be set in no other way."""
    domain, features = setup.domain, setup.domain.features
    backing, boot = domain.memory_backing, domain.os
    vmport = features.vmport.state if features and features.vmport else None
    smm = features.smm.state is not False if features and features.smm else None
    split = features is not None and features.ioapic_driver == "qemu"
    timers = domain.clock.timers if domain.clock else []
    hpet = next((timer.present for timer in timers if timer.name == "hpet"), None)
    numa = bool(domain.cpu and domain.cpu.numa)
    flash = setup.has_flash
    arguments.keyed(
        "-machine", setup.machine.name, usb=False, vmport=vmport, smm=True if setup.needs_smm else smm,
        kernel_irqchip="split" if split else None, dump_guest_core=_dumps_core(setup),
        mem_merge=False if backing and backing.nosharepages else None,
        nvdimm=True if any(memory.model == "nvdimm" for memory in setup.devices.memories) else None,
        memory_backend=None if numa else setup.machine.ram_id,
        pflash0="libvirt-pflash0-format" if flash else None,
        pflash1="libvirt-pflash1-format" if flash and setup.has_nvram else None,
        graphics=False if boot and boot.bios_useserial else None, hpet=hpet,
        acpi=None if features and features.acpi else False,
        gic_version=features.gic.version if features and features.gic else None)
    if flash and setup.needs_smm:
        arguments.plain("-global", "driver=cfi.pflash01,property=secure,value=on")
    if features and features.smm and features.smm.tseg:
        arguments.plain("-global", f"mch.extended-tseg-mbytes={features.smm.tseg // _MIB}")
    for controller in setup.devices.controllers:
        if controller.pcihole64 is not None and controller.model in ("pci-root", "pcie-root"):
            bridge = "q35-pcihost" if setup.is_q35 else "i440FX-pcihost"
            arguments.plain("-global", f"{bridge}.pci-hole64-size={controller.pcihole64}K")


def _dumps_core(setup: Setup) -> bool:
    return setup.domain.memory_dump_core is True


def append_accelerator(arguments: Arguments, setup: Setup) -> None:
    """Hardware help or translation; refuses what this node cannot do."""
    domain, capabilities = setup.domain, setup.capabilities
    problem = {"qemu": None if capabilities.has_tcg else "the emulator was built without TCG",
               "kvm": setup.kvm_problem}.get(domain.type or "", "no such type")
    if problem is not None:
        detail = f"Emulator '{capabilities.binary}' does not support virt type '{domain.type}': {problem}"
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)
    if domain.type == "kvm":
        kvm = domain.features.kvm if domain.features else None
        arguments.keyed("-accel", "kvm", dirty_ring_size=kvm.dirty_ring_size if kvm and kvm.dirty_ring else None)
    else:
        wanted = domain.features.tb_cache if domain.features else None
        arguments.keyed("-accel", "tcg", tb_size=-(-wanted // 1024) if wanted else _TRANSLATION_BUFFER)


def append_vcpus(arguments: Arguments, setup: Setup) -> None:
    """``-smp``: how many CPUs, how many there may be, and how they are grouped."""
    domain = setup.domain
    most = domain.vcpu or 1
    if most > setup.machine.max_cpus:
        detail = f"Maximum CPUs greater than specified machine type limit {setup.machine.max_cpus}"
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)
    topology = domain.cpu.topology if domain.cpu else None
    counts: dict[str, Scalar | None] = {"sockets": most, "cores": 1, "threads": 1}
    if topology is not None:
        if topology.clusters not in (None, 1):
            raise unsupported("/domain/cpu/topology/@clusters")
        counts = {"sockets": topology.sockets, "dies": topology.dies, "cores": topology.cores,
                  "threads": topology.threads}
    first = first_vcpus(domain)
    arguments.keyed("-smp", str(first), maxcpus=most if domain.vcpu_current or domain.vcpus else None, **counts)


# --- the clock ------------------------------------------------------------------------------------------------------


def append_clock(arguments: Arguments, setup: Setup) -> None:
    """``-rtc`` and the timers that are devices; those that are features of the CPU stand in ``-cpu``."""
    clock = setup.domain.clock or Clock(offset="utc")
    rtc: dict[str, str | None] = {}
    for timer in clock.timers:
        if timer.name == "rtc":
            rtc = _rtc(timer)
    arguments.keyed("-rtc", base=_base(clock, setup.now), **rtc)
    for timer in clock.timers:
        if timer.name == "pit" and timer.tickpolicy in ("delay", "discard"):
            arguments.plain("-global", f"kvm-pit.lost_tick_policy={timer.tickpolicy}")
        elif timer.name == "pit" and timer.tickpolicy == "merge":
            raise unsupported(f"PIT tickpolicy '{timer.tickpolicy}'")
        elif timer.name in ("platform", "armvtimer"):
            raise unsupported(f"timer '{timer.name}'")


def _rtc(timer: Timer) -> dict[str, str | None]:
    if timer.tickpolicy in ("merge", "discard") or timer.catchup_limit is not None:
        raise unsupported(f"RTC tickpolicy '{timer.tickpolicy}'")
    return {"driftfix": "slew" if timer.tickpolicy == "catchup" else None,
            "clock": {"guest": "vm", "wall": "host"}.get(timer.track or "")}


def _base(clock: Clock, now: float | None) -> str:
    """What the clock shows when the guest starts: a zone, or a time of day in UTC to the second."""
    if clock.offset in (None, "utc"):
        return "utc"
    if clock.offset in ("localtime", "timezone"):
        return "localtime"
    if clock.offset == "absolute":
        return _stamp(clock.start or 0)
    start = time.time() if now is None else now
    if clock.basis == "localtime":
        start += time.localtime(start).tm_gmtoff
    adjustment = clock.adjustment or "0"
    if not adjustment.lstrip("+-").isdecimal():
        return "utc"  # "reset"
    return _stamp(start + int(adjustment))


def _stamp(seconds: float) -> str:
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (OverflowError, ValueError, OSError):
        raise unsupported(f"a clock at {seconds:.0f} seconds since 1970") from None


# --- the end --------------------------------------------------------------------------------------------------------


def append_power(arguments: Arguments, setup: Setup) -> None:
    """What a reboot does, whether the guest may sleep, and what a watchdog does."""
    domain = setup.domain
    if domain.on_poweroff not in (None, "destroy"):
        raise unsupported(f"/domain/on_poweroff '{domain.on_poweroff}'")
    if domain.on_reboot not in (None, "destroy", "restart"):
        raise unsupported(f"/domain/on_reboot '{domain.on_reboot}'")
    if domain.on_reboot == "destroy":
        arguments.keyed("-action", reboot="shutdown")
    bridge = "ICH9-LPC" if setup.is_q35 else "PIIX4_PM"
    has_acpi = domain.features is not None and domain.features.acpi  # without it there is nothing to switch off
    for state, enabled in (("disable_s3", domain.suspend_to_mem), ("disable_s4", domain.suspend_to_disk)):
        if enabled is not None and has_acpi:
            arguments.plain("-global", f"{bridge}.{state}={0 if enabled else 1}")


