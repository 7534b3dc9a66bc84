"""Facts about the host itself: CPUs, memory, NUMA, firmware, and libvirt's ``<host>`` document made of them.

Schedulers place guests by these figures, so they are counted as libvirt 9.0.0 counts them (``virhostcpu.c``,
``capabilities.c``), with one difference: libvirt names the CPU by its own model database, which is not ours to ship, so
the document tells vendor, signature and features and leaves the model out rather than guess one. Everything is read
when asked: these files are answered by the kernel from memory.
"""

from __future__ import annotations

import os
import platform
import re
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from virtbus_nodedev import sysfs
from virtbus_nodedev.sysfs import Cpu
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD", "HygonGenuine": "Hygon"}
_MIN_CACHE_LEVEL = 3  # libvirt tells of the caches that CPUs of different cores share
# Features whose name in Linux is libvirt's name too; all other words of /proc/cpuinfo are Linux's own inventions.
_SAME_FEATURES = """
    3dnow 3dnowext 3dnowprefetch abm acpi adx aes apic arat avx avx2 avx512bw avx512cd avx512dq avx512er avx512f
    avx512ifma avx512pf avx512vbmi avx512vl bmi1 bmi2 cldemote clflush clflushopt clwb clzero cmov cmp_legacy
    cx16 cx8 dca de decodeassists ds ds_cpl dtes64 erms est extapic f16c flushbyasid fma fma4 fpu fsgsbase fsrm
    fxsr fxsr_opt gfni hle ht hypervisor ibpb ibs invpcid la57 lahf_lm lbrv lm lwp mca mce misalignsse mmx
    mmxext monitor movbe movdir64b movdiri mpx msr mtrr npt nx osvw ospke pae pat pbe pcid pconfig pdcm pdpe1gb
    perfctr_core perfctr_nb pfthreshold pge pku pni popcnt pse pse36 rdpid rdrand rdseed rdtscp rtm sep
    serialize skinit smap smep smx ss ssbd sse sse2 sse4a ssse3 stibp svm syscall tbm tm tm2 topoext tsc
    tsc_adjust umip vaes virt-ssbd vme vmx vpclmulqdq waitpkg wbnoinvd wdt x2apic xgetbv1 xop xsave xsavec
    xsaveerptr xsaveopt xsaves xtpr"""
_RENAMED_FEATURES = {
    "pclmulqdq": "pclmuldq", "sse4_1": "sse4.1", "sse4_2": "sse4.2", "tsc_deadline_timer": "tsc-deadline",
    "cr8_legacy": "cr8legacy", "sha_ni": "sha-ni", "nonstop_tsc": "invtsc", "intel_pt": "intel-pt",
    "md_clear": "md-clear", "arch_capabilities": "arch-capabilities", "core_capabilities": "core-capability",
    "avx512_bf16": "avx512-bf16", "avx512_vbmi2": "avx512vbmi2", "avx512_vnni": "avx512vnni",
    "avx512_bitalg": "avx512bitalg", "avx512_vpopcntdq": "avx512-vpopcntdq", "avx512_4vnniw": "avx512-4vnniw",
    "avx512_4fmaps": "avx512-4fmaps", "avx512_vp2intersect": "avx512-vp2intersect", "avx512_fp16": "avx512-fp16",
    "avx_vnni": "avx-vnni", "amx_bf16": "amx-bf16", "amx_int8": "amx-int8", "amx_tile": "amx-tile",
    "tsxldtrk": "tsx-ldtrk", "nrip_save": "nrip-save", "tsc_scale": "tsc-scale", "vmcb_clean": "vmcb-clean",
    "pausefilter": "pause-filter", "svm_lock": "svm-lock", "split_lock_detect": "split-lock-detect",
}
_FEATURES = {name: name for name in _SAME_FEATURES.split()} | _RENAMED_FEATURES


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """virNodeInfo: ``memory`` in KiB, ``mhz`` 0 when unknown; nodes * sockets * cores * threads CPUs, some offline."""

    model: str
    memory: int
    cpus: int
    mhz: int
    nodes: int
    sockets: int
    cores: int
    threads: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One NUMA node: ``memory`` in KiB, ``pages`` size in KiB -> how many, ``distances`` node -> relative cost."""

    id: int
    memory: int
    pages: dict[int, int]
    distances: dict[int, int]
    cpus: list[Cpu]


class Host:
    """The machine that the service runs on; the folders are parameters so that a prepared machine can be read too."""

    def __init__(self, sys: Path = Path("/sys"), proc: Path = Path("/proc"), etc: Path = Path("/etc"),
                 state: Path | None = None) -> None:
        """``state`` is a folder that lasts, for what the host itself does not have."""
        self._sys, self._proc, self._etc, self._state = sys, proc, etc, state
        self._cpus = sys / "devices/system/cpu"
        self._nodes = sys / "devices/system/node"

    def hostname(self) -> str:
        """The host's name, fully qualified where the resolver knows it under its own name."""
        name = socket.gethostname()
        if name.startswith("localhost") or "." in name:
            return name
        full = socket.getfqdn(name)
        return name if full.startswith("localhost") else full

    def dmi(self, key: str) -> str | None:
        """One DMI string, such as "product_name"; None where the firmware or our rights do not give it."""
        return sysfs.read(self._sys / "class/dmi/id" / key)

    def uuid(self) -> str:
        """The host's UUID, the same at every call: the firmware's, else the machine id that the installer made.

        Some firmwares answer one digit repeated; libvirt refuses those too. For a host that has neither, such as a
        container, libvirt makes one up at each start; we make one up once and keep it. Raises an internal error when
        there is nowhere to keep it.
        """
        kept = self._state / "host-uuid" if self._state else None
        for text in (self.dmi("product_uuid"), sysfs.read(self._etc / "machine-id"), kept and sysfs.read(kept)):
            try:
                found = uuid.UUID(text or "")
            except ValueError:
                continue
            if len(set(found.bytes)) > 1:
                return str(found)
        if kept is None:
            raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "the host has neither a firmware UUID nor a machine id",
                               domain=c.VIR_FROM_NODEDEV)
        made = str(uuid.uuid4())
        aside = kept.with_suffix(".new")
        aside.write_text(f"{made}\n")
        aside.replace(kept)
        return made

    def memory(self) -> tuple[int, int]:
        """All memory and free memory, KiB: the sum of the NUMA nodes where there are any, as libvirt takes it."""
        nodes = [_meminfo(path / "meminfo") for _, path in sysfs.numbered(self._nodes, "node")]
        if not nodes:
            return _meminfo(self._proc / "meminfo")
        return sum(total for total, _ in nodes), sum(free for _, free in nodes)

    def free_memory(self) -> int:
        """Free memory in bytes, as virNodeGetFreeMemory tells it: without caches that the kernel could give back."""
        return self.memory()[1] * 1024

    def cpus(self) -> list[Cpu]:
        """All CPUs that the host has, online or not."""
        return [sysfs.read_cpu(path) for _, path in sysfs.numbered(self._cpus, "cpu")]

    def cells(self) -> list[Cell]:
        """The NUMA nodes; a host without NUMA is one cell."""
        found = [self._cell(number, path) for number, path in sysfs.numbered(self._nodes, "node")]
        if found:
            return found
        total = self.memory()[0]
        return [Cell(0, total, self._pages(self._sys / "kernel/mm/hugepages", total), {}, self.cpus())]

    def _cell(self, number: int, path: Path) -> Cell:
        total = _meminfo(path / "meminfo")[0]
        costs = [int(cost) for cost in (sysfs.read(path / "distance") or "").split()]
        # The file has one column per online node, whatever their numbers.
        online = sysfs.parse_list(sysfs.read(self._nodes / "online"))
        distances = dict(zip(online, costs, strict=False))
        cpus = [sysfs.read_cpu(cpu) for _, cpu in sysfs.numbered(path, "cpu")]
        return Cell(number, total, self._pages(path / "hugepages", total), distances, cpus)

    def _pages(self, folder: Path, total: int) -> dict[int, int]:
        """Pages per size: reserved huge pages as counted, and normal ones in the memory that remains."""
        huge = {size: sysfs.read_int(folder / f"hugepages-{size}kB" / "nr_hugepages") or 0
                for size in self.huge_sizes()}
        normal = os.sysconf("SC_PAGE_SIZE") // 1024
        return {normal: (total - sum(size * count for size, count in huge.items())) // normal, **huge}

    def huge_sizes(self) -> list[int]:
        """The sizes of huge pages that the kernel can make, KiB."""
        try:
            names = [path.name for path in (self._sys / "kernel/mm/hugepages").iterdir()]
        except OSError:
            return []
        return sorted(int(m[1]) for name in names if (m := re.fullmatch(r"hugepages-(\d+)kB", name)))

    def info(self) -> NodeInfo:
        """virNodeGetInfo."""
        cells, cpus = self.cells(), self.cpus()
        places = [[cpu for cpu in cell.cpus if cpu.online] for cell in cells]
        sockets = max((len({cpu.socket for cpu in cell}) for cell in places), default=0)
        cores = max((len({(cpu.die, cpu.core) for cpu in cell if cpu.socket == socket_id})
                     for cell in places for socket_id in {cpu.socket for cpu in cell}), default=0)
        threads = max((len(cpu.siblings) for cell in places for cpu in cell), default=0)
        nodes = len(cells)
        if nodes * sockets * cores * threads != len(cpus):
            # Sockets with unlike cores have no such product; one socket of that many cores keeps the sum right.
            nodes, sockets, cores, threads = 1, 1, len(cpus), 1
        mhz = re.search(r"^(?:cpu MHz|clock)\s*:\s*(\d+)", self._cpuinfo(), re.MULTILINE)
        return NodeInfo(platform.machine(), self.memory()[0], sum(cpu.online for cpu in cpus),
                        int(mhz[1]) if mhz else 0, nodes, sockets, cores, threads)

    def _cpuinfo(self) -> str:
        return sysfs.read(self._proc / "cpuinfo") or ""

    def _cpuinfo_field(self, name: str) -> str | None:
        """A field of the first CPU; None where this architecture does not tell it."""
        found = re.search(rf"^{name}[ \t]*:[ \t]*(.+)$", self._cpuinfo(), re.MULTILINE)
        return found[1].strip() if found else None

    def cpu_vendor(self) -> str | None:
        """The CPU's vendor by libvirt's name."""
        return _VENDORS.get(self._cpuinfo_field("vendor_id") or "")

    def cpu_features(self) -> list[str]:
        """The CPU's features by libvirt's names; a feature that libvirt has no name for is left out."""
        flags = (self._cpuinfo_field("flags") or "").split()
        return sorted(_FEATURES[flag] for flag in flags if flag in _FEATURES)

    def capabilities_xml(self) -> str:
        """libvirt's ``<host>`` element, indented for its place in ``<capabilities>``; the guests are another's part."""
        host = etree.Element("host")
        _sub(host, "uuid", self.uuid())
        self._add_cpu(host)
        self._add_power_management(host)
        groups = self._sys / "kernel/iommu_groups"
        _sub(host, "iommu", support="yes" if groups.is_dir() and any(groups.iterdir()) else "no")
        migration = _sub(host, "migration_features")
        _sub(migration, "live")
        _sub(_sub(migration, "uri_transports"), "uri_transport", "tcp")
        self._add_topology(host)
        self._add_caches(host)
        security = _sub(host, "secmodel")
        _sub(security, "model", "dac")
        _sub(security, "doi", "0")
        for kind in ("kvm", "qemu"):
            _sub(security, "baselabel", f"+{os.geteuid()}:+{os.getegid()}", type=kind)
        etree.indent(host, level=1)
        return "  " + etree.tostring(host, encoding="unicode").replace('"', "'") + "\n\n"

    def _add_cpu(self, host: etree._Element) -> None:
        info, cpu = self.info(), _sub(host, "cpu")
        _sub(cpu, "arch", info.model)
        if vendor := self.cpu_vendor():
            _sub(cpu, "vendor", vendor)
        if microcode := self._cpuinfo_field("microcode"):
            _sub(cpu, "microcode", version=str(int(microcode, 0)))
        signature = {key: self._cpuinfo_field(name)
                     for key, name in (("family", "cpu family"), ("model", "model"), ("stepping", "stepping"))}
        if all((value or "").isdigit() for value in signature.values()):
            _sub(cpu, "signature", **{key: value or "" for key, value in signature.items()})
        dies = _most_dies([cpu for cpu in self.cpus() if cpu.online])
        if info.cores % dies:
            dies = 1
        _sub(cpu, "topology", sockets=str(info.sockets), dies=str(dies), cores=str(info.cores // dies),
             threads=str(info.threads))
        if bits := re.match(r"(\d+) bits physical", self._cpuinfo_field("address sizes") or ""):
            _sub(cpu, "maxphysaddr", mode="emulate", bits=bits[1])
        for feature in self.cpu_features():
            _sub(cpu, "feature", name=feature)
        for size in [os.sysconf("SC_PAGE_SIZE") // 1024, *self.huge_sizes()]:
            _sub(cpu, "pages", unit="KiB", size=str(size))

    def _add_power_management(self, host: etree._Element) -> None:
        power = _sub(host, "power_management")
        states = (sysfs.read(self._sys / "power/state") or "").split()
        if "mem" in states:
            _sub(power, "suspend_mem")
        if "disk" in states:
            _sub(power, "suspend_disk")
        if {"mem", "disk"} <= set(states):
            _sub(power, "suspend_hybrid")

    def _add_topology(self, host: etree._Element) -> None:
        cells = self.cells()
        parent = _sub(_sub(host, "topology"), "cells", num=str(len(cells)))
        for cell in cells:
            one = _sub(parent, "cell", id=str(cell.id))
            _sub(one, "memory", str(cell.memory), unit="KiB")
            for size, count in cell.pages.items():
                _sub(one, "pages", str(count), unit="KiB", size=str(size))
            if cell.distances:
                distances = _sub(one, "distances")
                for node, cost in cell.distances.items():
                    _sub(distances, "sibling", id=str(node), value=str(cost))
            cpus = _sub(one, "cpus", num=str(len(cell.cpus)))
            for cpu in cell.cpus:
                place = {"socket_id": str(cpu.socket), "die_id": str(cpu.die), "core_id": str(cpu.core),
                         "siblings": sysfs.format_list(list(cpu.siblings))} if cpu.online else {}
                _sub(cpus, "cpu", id=str(cpu.id), **place)

    def _add_caches(self, host: etree._Element) -> None:
        banks = sysfs.read_cache_banks(self._cpus, _MIN_CACHE_LEVEL)
        if not banks:
            return
        cache = _sub(host, "cache")
        for bank in banks:
            size, unit = (bank.size // 1024, "MiB") if bank.size % 1024 == 0 else (bank.size, "KiB")
            _sub(cache, "bank", id=str(bank.id), level=str(bank.level), type=bank.type, size=str(size), unit=unit,
                 cpus=bank.cpus)


def _most_dies(cpus: list[Cpu]) -> int:
    """Dies of the socket that has the most."""
    sockets = {cpu.socket for cpu in cpus}
    return max((len({cpu.die for cpu in cpus if cpu.socket == number}) for number in sockets), default=1)


def _meminfo(path: Path) -> tuple[int, int]:
    """Total and free KiB of /proc/meminfo or of a NUMA node's file, whose lines begin with "Node N"."""
    text = sysfs.read(path) or ""
    total, free = (re.search(rf"{name}:\s+(\d+) kB", text) for name in ("MemTotal", "MemFree"))
    return int(total[1]) if total else 0, int(free[1]) if free else 0


def _sub(parent: etree._Element, tag: str, text: str | None = None, **attributes: str) -> etree._Element:
    child = etree.SubElement(parent, tag, dict(attributes))
    child.text = text
    return child
