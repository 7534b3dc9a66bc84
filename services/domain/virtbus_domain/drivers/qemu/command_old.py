"""A domain as a QEMU command line: the machine itself, then its devices.

The part that is the same for every guest follows libvirt's, with two differences. There is no ``-no-shutdown``: a
guest that powers off while no service is there must really end. And ``-pidfile`` is the first option, because its
path is how a running guest is found again (see ``discovery.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from virtbus_domain.drivers.qemu.command.arguments import Arguments, unsupported
from virtbus_domain.drivers.qemu.capabilities import Machine, QemuCapabilities
from virtbus_domain.drivers.qemu.devices import I440FX, Q35, DeviceBuilder, Platform
from virtbus_domain.drivers.qemu.discovery import GuestPaths
from virtbus_domain.drivers.qemu.supported import check_supported, raw_attributes
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.domain import Devices, Domain, Os
from virtbus_domain.xml.interface import Interface
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_lines import Raw

_SANDBOX = {"obsolete": "deny", "elevateprivileges": "deny", "spawn": "deny", "resourcecontrol": "deny"}
_TRANSLATION_BUFFER = 32  # MiB; with QEMU's own choice one emulated guest grows to 700 MiB
_PLATFORMS = {"pc-q35": Q35, "pc-i440fx": I440FX}
# -cpu has neither JSON nor an escape, so what may stand in it is spelled out.
_CPU_WORD = re.compile(r"[A-Za-z0-9_.+-]+", re.ASCII)
_CPU_POLICY = {"require": True, "force": True, "disable": False, "forbid": False}


@dataclass(frozen=True)
class TapRequest:
    """An interface that needs a tap device. ``position`` is the key of its descriptor in ``build``'s ``taps``."""

    position: int
    mac: str
    bridge: str | None
    name: str | None


def taps_needed(domain: Domain) -> list[TapRequest]:
    """The interfaces that QEMU reaches through a tap; those of type network once their bridge is known."""
    requests = []
    for position, interface in enumerate(domain.devices.interfaces if domain.devices else []):
        bridge = interface.source.bridge if interface.source else None
        if interface.type == "ethernet" or (interface.type in ("bridge", "network") and bridge):
            requests.append(TapRequest(position, interface.mac or "", bridge, interface.target_dev))
    return requests


def build(domain: Domain, capabilities: QemuCapabilities, paths: GuestPaths, *, monitor_fd: int,
          taps: Mapping[int, int], kvm_problem: str | None = None) -> list[str]:
    """QEMU's argument list for a normalised domain; the guest starts paused.

    ``monitor_fd`` is the listening monitor socket that QEMU inherits, ``taps`` the descriptors for ``taps_needed``,
    ``kvm_problem`` why KVM cannot be used, if so. Raises ``LibvirtError`` (``VIR_ERR_CONFIG_UNSUPPORTED``) with the
    path of what we would have to leave out; ``check_supported`` alone tells most of that before taps are made.
    """
    check_supported(domain)
    assert domain.os is not None
    assert domain.devices is not None
    machine = capabilities.canonical_machine(domain.os.machine)
    platform = _platform(machine)
    arguments = Arguments(str(capabilities.binary))
    arguments.plain("-pidfile", str(paths.pidfile))
    arguments.keyed("-name", guest=domain.name, debug_threads=True)
    arguments.plain("-S")
    _machine(arguments, domain, machine)
    _accelerator(arguments, domain, capabilities, kvm_problem)
    topology = _cpu(arguments, domain)
    _memory(arguments, domain, machine)
    _vcpus(arguments, domain, machine, topology)
    arguments.plain("-uuid", domain.uuid)
    for option in ("-no-user-config", "-nodefaults"):
        arguments.plain(option)
    arguments.plain("-display", "none")
    arguments.keyed("-sandbox", "on", **_SANDBOX)
    arguments.keyed("-chardev", "socket", id="charmonitor", fd=monitor_fd, server=True, wait=False)
    arguments.keyed("-mon", chardev="charmonitor", id="monitor", mode="control")
    _clock(arguments, domain)
    _power(arguments, domain, platform)
    _boot(arguments, domain.os)
    DeviceBuilder(arguments, platform, domain.devices, boot_order(domain.os, domain.devices), taps).build()
    arguments.keyed("-msg", timestamp=True)
    return arguments.list


def before_run(domain: Domain) -> list[tuple[str, dict[str, object]]]:
    """The QMP commands that complete a start, before ``cont``: what the command line cannot say."""
    assert domain.devices is not None
    balloon = any(dict(item.attrs).get("model") == "virtio" for item in domain.devices.memballoon)
    if balloon and domain.memory and domain.current_memory and domain.current_memory < domain.memory:
        return [("balloon", {"value": domain.current_memory * 1024})]
    return []


def boot_order(os: Os, devices: Devices) -> dict[int, int]:
    """Place in the boot order by ``id`` of the device: its own, or from the list of kinds the first of each kind."""
    bootable: list[Disk | Interface] = [*devices.disks, *devices.interfaces]
    order = {id(device): device.boot_order for device in bootable if device.boot_order is not None}
    if order:
        return order
    kinds: dict[str, Sequence[Disk | Interface]] = {
        "hd": [disk for disk in devices.disks if disk.device == "disk"],
        "cdrom": [disk for disk in devices.disks if disk.device == "cdrom"],
        "network": devices.interfaces}
    for place, kind in enumerate(dict.fromkeys(os.boot), 1):
        for device in kinds.get(kind, [])[:1]:
            order[id(device)] = place
    return order


def _platform(machine: Machine) -> Platform:
    for prefix, platform in _PLATFORMS.items():
        if machine.name.startswith(prefix):
            return platform
    raise unsupported(f"machine type '{machine.name}' (/domain/os/type/@machine)")


def _machine(arguments: Arguments, domain: Domain, machine: Machine) -> None:
    features, clock = domain.features, domain.clock
    vmport = None
    if features:
        for item in features.apic:
            raw_attributes(item, "/domain/features/apic")
        for item in features.vmport:
            vmport = raw_attributes(item, "/domain/features/vmport", "state").get("state")
    hpet = next((dict(timer.attrs).get("present") for timer in (clock.timer if clock else [])
                 if dict(timer.attrs).get("name") == "hpet"), None)
    arguments.keyed(
        "-machine", machine.name, usb=False, dump_guest_core=False, memory_backend=machine.ram_id,
        vmport=vmport, hpet={"yes": True, "no": False}.get(hpet or ""),
        acpi=None if features and features.acpi else False)


def _accelerator(arguments: Arguments, domain: Domain, capabilities: QemuCapabilities,
                 kvm_problem: str | None) -> None:
    problem = {"qemu": None if capabilities.has_tcg else "the emulator was built without TCG",
               "kvm": kvm_problem}.get(domain.type or "", "no such type")
    if problem is not None:
        detail = f"Emulator '{capabilities.binary}' does not support virt type '{domain.type}': {problem}"
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)
    if domain.type == "kvm":
        arguments.plain("-accel", "kvm")
    else:
        arguments.keyed("-accel", "tcg", tb_size=_TRANSLATION_BUFFER)


def _cpu(arguments: Arguments, domain: Domain) -> dict[str, int]:
    """``-cpu``, and the topology that the same element holds."""
    topology: dict[str, int] = {}
    for item in domain.cpu:
        path = "/domain/cpu"
        given = raw_attributes(item, path, "mode", "match", "check", "migratable",
                               children=("model", "feature", "topology"))
        if given.get("match", "exact") != "exact":
            raise unsupported(f"{path}/@match")
        words = [_cpu_model(domain, given.get("mode", "custom"), item)]
        if given.get("migratable") == "off":
            words.append("migratable=off")
        words += [_cpu_feature(child) for child in item.children if child.tag == "feature"]
        if words[0] or len(words) > 1:
            arguments.plain("-cpu", ",".join([words[0] or "qemu64", *words[1:]]))
        for child in item.children:
            if child.tag == "topology":
                known = raw_attributes(child, f"{path}/topology", "sockets", "dies", "cores", "threads")
                topology = {name: _number(value, f"{path}/topology/@{name}") for name, value in known.items()}
    return topology


def _cpu_model(domain: Domain, mode: str, item: Raw) -> str:
    if mode == "custom":
        for child in item.children:
            if child.tag == "model":
                raw_attributes(child, "/domain/cpu/model", "fallback")
                return _cpu_word(child.text.strip(), "/domain/cpu/model")
        return ""
    if mode == "maximum":
        return "max"
    if mode == "host-passthrough" and domain.type == "kvm":
        return "host"
    arch = domain.os.arch if domain.os else None
    detail = (f"CPU mode '{mode}' for {arch} {domain.type} domain on {arch} host is not supported by hypervisor")
    raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)


def _cpu_feature(item: Raw) -> str:
    path = "/domain/cpu/feature"
    given = raw_attributes(item, path, "name", "policy")
    policy = given.get("policy", "require")
    if policy not in _CPU_POLICY:
        raise unsupported(f"{path}[@policy='{policy}']")
    return f"{_cpu_word(given.get('name', ''), f'{path}/@name')}={'on' if _CPU_POLICY[policy] else 'off'}"


def _cpu_word(word: str, path: str) -> str:
    if not _CPU_WORD.fullmatch(word):
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, f"invalid CPU name '{word}' (at {path})",
                           domain=c.VIR_FROM_QEMU)
    return word


def _number(text: str, path: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,5}", text, re.ASCII):
        raise LibvirtError(c.VIR_ERR_XML_ERROR, f"Invalid value '{text}' (at {path})", domain=c.VIR_FROM_QEMU)
    return int(text)


def _memory(arguments: Arguments, domain: Domain, machine: Machine) -> None:
    """Rounded up to MiB as libvirt does: what QEMU wants of its machines."""
    mebibytes = -(-(domain.memory or 0) // 1024)
    arguments.keyed("-m", size=f"{mebibytes * 1024}k")
    if machine.ram_id is not None:
        arguments.json("-object", qom_type="memory-backend-ram", id=machine.ram_id, size=mebibytes * 1024 * 1024)
    arguments.keyed("-overcommit", mem_lock=False)


def _vcpus(arguments: Arguments, domain: Domain, machine: Machine, topology: Mapping[str, int]) -> None:
    most = domain.vcpu or 1
    if most > machine.max_cpus:
        detail = (f"Maximum CPUs greater than specified machine type limit {machine.max_cpus}")
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)
    product = 1
    for count in topology.values():
        product *= count
    if topology and product != most:
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, "CPU topology doesn't match maximum vcpu count",
                           domain=c.VIR_FROM_QEMU)
    arguments.keyed("-smp", str(domain.vcpu_current or most), maxcpus=most if domain.vcpu_current else None,
                    sockets=topology.get("sockets", None if topology else most), dies=topology.get("dies"),
                    cores=topology.get("cores", 1), threads=topology.get("threads", 1))


def _clock(arguments: Arguments, domain: Domain) -> None:
    clock = domain.clock
    if clock is not None and clock.offset not in ("utc", "localtime"):
        raise unsupported(f"/domain/clock[@offset='{clock.offset}']")
    slew = None
    for number, timer in enumerate(clock.timer if clock else [], 1):
        path = f"/domain/clock/timer[{number}]"
        match raw_attributes(timer, path, "name", "tickpolicy", "present"):
            case {"name": "rtc", "tickpolicy": "catchup", **rest} if not rest:
                slew = "slew"
            case {"name": "hpet", "present": "yes" | "no", **rest} if not rest:
                pass  # a property of the machine
            case {"name": "pit", "tickpolicy": "delay", **rest} if not rest:
                pass  # what QEMU does anyway
            case _:
                raise unsupported(path)
    arguments.keyed("-rtc", base=clock.offset if clock else "utc", driftfix=slew)


def _power(arguments: Arguments, domain: Domain, platform: Platform) -> None:
    if domain.on_poweroff not in (None, "destroy"):
        raise unsupported(f"/domain/on_poweroff '{domain.on_poweroff}'")
    if domain.on_reboot not in (None, "destroy", "restart"):
        raise unsupported(f"/domain/on_reboot '{domain.on_reboot}'")
    if domain.on_reboot == "destroy":
        arguments.keyed("-action", reboot="shutdown")
    bridge = "ICH9-LPC" if platform is Q35 else "PIIX4_PM"
    has_acpi = domain.features is not None and domain.features.acpi  # without it there is nothing to switch off
    for state, enabled in (("disable_s3", domain.suspend_to_mem), ("disable_s4", domain.suspend_to_disk)):
        if enabled is not None and has_acpi:
            arguments.plain("-global", f"{bridge}.{state}={0 if enabled else 1}")
    for number, label in enumerate(domain.seclabels, 1):
        if dict(label.attrs).get("type") != "none":
            raise unsupported(f"/domain/seclabel[{number}]")


def _boot(arguments: Arguments, os: Os) -> None:
    menu: bool | None = None
    for item in os.bootmenu:
        menu = raw_attributes(item, "/domain/os/bootmenu", "enable").get("enable") == "yes"
    arguments.keyed("-boot", menu=menu, strict=True)
    for option, path in (("-kernel", os.kernel), ("-initrd", os.initrd), ("-append", os.cmdline), ("-dtb", os.dtb)):
        if path:
            arguments.plain(option, path)
