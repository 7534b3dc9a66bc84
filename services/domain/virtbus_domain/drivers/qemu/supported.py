"""What of a domain document this driver does not carry out yet. It is refused before anything is started.

The model keeps all that libvirt knows, so that a stored document loses nothing. A guest that silently lacked its limits
or its network filter would be worse than none. The builder refuses what it cannot say to QEMU; here stands what is no
argument of QEMU's at all, and so would be passed over without a word.
"""

from __future__ import annotations

from typing import Any

from virtbus_domain.drivers.qemu.command.arguments import unsupported
from virtbus_domain.xml.boot import Os
from virtbus_domain.xml.chardev import SourceSeclabel
from virtbus_domain.xml.clock import Timer
from virtbus_domain.xml.cpu import Cpu, NumaCell
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.features import Features
from virtbus_domain.xml.filesystem import Filesystem
from virtbus_domain.xml.hostdev import Hostdev, HostdevSource
from virtbus_domain.xml.interface import Interface, InterfaceSource
from virtbus_domain.xml.memory import Numatune
from virtbus_domain.xml.storage_source import DiskSource
from virtbus_domain.xml.tuning import Cputune
from virtbus_shared.service.xml_lines import PLANS, Element

# Model: the fields that are refused when they say something.
REFUSED: dict[type[Element], frozenset[str]] = {
    Domain: frozenset({
        "blkiotune", "memtune", "resource", "bootloader", "bootloader_args", "idmap", "on_lockfailure", "perf_events",
        "keywrap", "launch_security",
        # Names of what libvirt's own code looks for in QEMU: they mean nothing here, and passing over them would be to
        # pretend that they did.
        "qemu_capabilities"}),
    Cputune: frozenset({
        "shares", "period", "quota", "global_period", "global_quota", "emulator_period", "emulator_quota",
        "iothread_period", "iothread_quota", "emulatorsched", "vcpuscheds", "iothreadscheds", "cachetunes",
        "memorytunes"}),
    Os: frozenset({"init", "initarg", "initenv", "initdir", "inituser", "initgroup", "root"}),
    Features: frozenset({
        "hap", "viridian", "privnet", "capabilities", "hpt", "htm", "nested_hv", "msrs_unknown",
        "ccf_assist", "xen", "cfpc", "sbbc", "ibs", "async_teardown"}),
    Cpu: frozenset({"numa_latencies", "numa_bandwidths"}),
    NumaCell: frozenset({"caches"}),
    Timer: frozenset({"catchup_threshold", "catchup_slew"}),
    Devices: frozenset({"leases", "nvram", "pstore"}),
    Disk: frozenset({"rawio", "sgio"}),
    DiskSource: frozenset({"reservations", "fdgroup"}),
    Filesystem: frozenset({"space_hard_limit", "space_soft_limit"}),
    SourceSeclabel: frozenset({"label"}),
    Hostdev: frozenset({"rawio", "sgio", "ips", "routes"}),
    HostdevSource: frozenset({"write_filtering"}),
    Interface: frozenset({
        "vlan", "virtualport", "bandwidth", "filterref", "port_isolated", "script", "downscript", "backenddomain",
        "guest_dev", "guest_actual", "coalesce_rx_frames_max", "port_forwards", "routes", "trust_guest_rx_filters"}),
    InterfaceSource: frozenset({"ips", "routes"}),
}


def check_supported(domain: Domain) -> None:
    """Refuse a document that asks for more than we do (``VIR_ERR_CONFIG_UNSUPPORTED`` with the path of it)."""
    _check(domain, "/domain")
    if domain.vcpu_placement == "auto":
        raise unsupported("/domain/vcpu/@placement")
    if domain.numatune is not None:
        _check_numatune(domain.numatune)
    for number, label in enumerate(domain.seclabels, 1):
        if label.type != "none":
            raise unsupported(f"/domain/seclabel[{number}]")


def _check_numatune(tune: Numatune) -> None:
    """Nodes that nobody has chosen, and a way to keep to nodes that only a control group has."""
    if tune.memory is not None and tune.memory.placement == "auto":
        raise unsupported("/domain/numatune/memory/@placement")
    for place in (tune.memory, *tune.memnodes):
        if place is not None and place.mode == "restrictive":
            raise unsupported(f"/domain/numatune/{'memory' if place is tune.memory else 'memnode'}/@mode")


def _says_something(value: Any) -> bool:
    return value is not None and value is not False and value not in ([], ())


def _check(element: Element, path: str) -> None:
    refused = REFUSED.get(type(element), frozenset())
    for name, line in PLANS[type(element)].lines.items():
        value = getattr(element, name)
        if not _says_something(value):
            continue
        here = f"{path}/{line.path.removesuffix('/.')}"
        if name in refused:
            raise unsupported(here)
        if isinstance(value, Element):
            _check(value, here)
        elif line.shape == "subs":
            for number, item in enumerate(value, 1):
                _check(item, f"{here}[{number}]")
