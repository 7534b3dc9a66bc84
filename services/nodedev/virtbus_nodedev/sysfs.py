"""Small readers of the kernel's view of the hardware under /sys.

Sysfs is a tree of one-value files, any of which may be missing, empty or unreadable on a given machine, and that is
never an error: the fact is then unknown, and an unknown fact is left out of what the service tells. Every reader here
works on a path that its caller gives, so a prepared tree can stand in for hardware that a test machine lacks (SR-IOV,
IOMMU, several NUMA nodes). Formats: the kernel's Documentation/ABI/testing/sysfs-*, and the PCI Express Base
Specification for the configuration space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from virtbus_nodedev.xml import IommuGroup, PciAddress, PciLink, PciSubCapability

_PCI_ADDRESS = re.compile(r"([0-9a-f]{4,}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")

# Offsets and fields of the PCI configuration space.
_HEADER_TYPE, _FIRST_CAPABILITY, _CAPABILITY_EXPRESS = 0x0E, 0x34, 0x10
_BRIDGES = {1: "pci-bridge", 2: "cardbus-bridge"}
_ROOT_COMPLEX_WITHOUT_LINK = (0x9, 0xA)  # integrated endpoint, event collector
_GENERATIONS = {1: "2.5", 2: "5", 3: "8", 4: "16", 5: "32", 6: "64"}  # GT/s


def read(path: Path) -> str | None:
    """The text of one sysfs file without surrounding blanks; None when it is missing, unreadable or empty."""
    try:
        return path.read_text(errors="replace").strip("\0 \t\n") or None
    except OSError:
        return None


def read_int(path: Path, base: int = 10) -> int | None:
    """The number in one sysfs file; None when there is none."""
    value = read(path)
    try:
        return None if value is None else int(value, base)
    except ValueError:
        return None


def parse_list(text: str | None) -> list[int]:
    """The numbers of a kernel list such as "0-3,8"."""
    numbers: list[int] = []
    for part in (text or "").split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit():
            numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def format_list(numbers: list[int]) -> str:
    """The kernel's and libvirt's text for a set of numbers: "0-3,8"."""
    parts: list[str] = []
    ordered = sorted(numbers)
    start = 0
    for i in range(1, len(ordered) + 1):
        if i == len(ordered) or ordered[i] != ordered[i - 1] + 1:
            first, last = ordered[start], ordered[i - 1]
            parts.append(str(first) if first == last else f"{first}-{last}")
            start = i
    return ",".join(parts)


def numbered(folder: Path, prefix: str) -> list[tuple[int, Path]]:
    """The entries "prefixN" of a folder, by number."""
    pattern = re.compile(rf"{prefix}(\d+)")
    try:
        found = [(m, entry) for entry in folder.iterdir() if (m := pattern.fullmatch(entry.name))]
    except OSError:
        return []
    return sorted((int(m[1]), entry) for m, entry in found)


@dataclass(frozen=True, slots=True)
class Cpu:
    """One host CPU. An offline one has no place: the kernel tells only those of CPUs that are online."""

    id: int
    online: bool
    socket: int = 0
    die: int = 0
    core: int = 0
    siblings: tuple[int, ...] = ()  # the hardware threads of its core, itself included


def read_cpu(path: Path) -> Cpu:
    """The CPU of a sysfs folder such as /sys/devices/system/cpu/cpu3."""
    cpu = int(path.name.removeprefix("cpu"))
    if read_int(path / "online") == 0:
        return Cpu(cpu, online=False)
    topology = path / "topology"
    # Some machines (ARM, old kernels) answer -1 or nothing; libvirt counts these as 0 too.
    places = (read_int(topology / name) or 0 for name in ("physical_package_id", "die_id", "core_id"))
    socket, die, core = (max(place, 0) for place in places)
    siblings = parse_list(read(topology / "thread_siblings_list")) or [cpu]
    return Cpu(cpu, True, socket, die, core, tuple(siblings))


@dataclass(frozen=True, slots=True)
class CacheBank:
    """One cache that several CPUs may share; ``size`` in KiB."""

    id: int
    level: int
    type: Literal["both", "code", "data"]
    size: int
    cpus: str


def read_cache_banks(cpus: Path, min_level: int) -> list[CacheBank]:
    """The caches from ``min_level`` upwards below /sys/devices/system/cpu, each once, by level and number."""
    kinds: dict[str | None, Literal["both", "code", "data"]] = {
        "Unified": "both", "Instruction": "code", "Data": "data"}
    banks: set[CacheBank] = set()
    for _, cpu in numbered(cpus, "cpu"):
        for _, index in numbered(cpu / "cache", "index"):
            level, bank_id = read_int(index / "level"), read_int(index / "id")
            kind, size = kinds.get(read(index / "type")), (read(index / "size") or "").removesuffix("K")
            shared = parse_list(read(index / "shared_cpu_list"))
            if level is not None and level >= min_level and bank_id is not None and kind and size.isdigit():
                banks.add(CacheBank(bank_id, level, kind, int(size), format_list(shared)))
    return sorted(banks, key=lambda bank: (bank.level, bank.id, bank.type))


def pci_address(name: str) -> PciAddress | None:
    """The address in a PCI function's sysfs name, such as 0000:00:1f.2; None when it is not one."""
    if (m := _PCI_ADDRESS.fullmatch(name)) is None:
        return None
    domain, bus, slot, function = (int(part, 16) for part in m.groups())
    return PciAddress(domain=domain, bus=bus, slot=slot, function=function)


def _linked_address(link: Path) -> PciAddress | None:
    try:
        return pci_address(link.readlink().name)
    except OSError:
        return None


def pci_iommu_group(device: Path) -> IommuGroup | None:
    """The IOMMU group of a PCI function with all its members; None without an IOMMU."""
    group = device / "iommu_group"
    try:
        number = int(group.readlink().name)
        members = sorted(entry.name for entry in (group / "devices").iterdir())
    except (OSError, ValueError):
        return None
    return IommuGroup(number=number, addresses=[a for name in members if (a := pci_address(name))])


def pci_sub_capabilities(device: Path) -> list[PciSubCapability]:
    """SR-IOV roles and bridge kind of a PCI function, in libvirt's order."""
    found: list[PciSubCapability] = []
    if (physical := _linked_address(device / "physfn")) is not None:
        found.append(PciSubCapability(type="phys_function", addresses=[physical]))
    functions = [a for _, link in numbered(device, "virtfn") if (a := _linked_address(link))]
    maximum = read_int(device / "sriov_totalvfs") or 0
    if functions or maximum:
        found.append(PciSubCapability(type="virt_functions", max_count=maximum or None, addresses=functions))
    header = _config(device)[_HEADER_TYPE:_HEADER_TYPE + 1]
    if header and (bridge := _BRIDGES.get(header[0] & 0x7F)):
        found.append(PciSubCapability(type=bridge))
    return found


def pci_express_links(device: Path) -> list[PciLink]:
    """What the link of a PCI Express function can do, and what was negotiated; nothing for conventional PCI.

    Only root reads past the first 64 bytes of a configuration space, so others see no links at all.
    """
    config = _config(device)
    at = _find_capability(config, _CAPABILITY_EXPRESS)
    if at is None or len(config) < at + 0x14:
        return []
    if (config[at + 2] >> 4) & 0xF in _ROOT_COMPLEX_WITHOUT_LINK:
        return []
    able = int.from_bytes(config[at + 0x0C:at + 0x10], "little")
    status = int.from_bytes(config[at + 0x12:at + 0x14], "little")
    return [PciLink(validity="cap", port=able >> 24, speed=_GENERATIONS.get(able & 0xF), width=(able >> 4) & 0x3F),
            PciLink(validity="sta", speed=_GENERATIONS.get(status & 0xF), width=(status >> 4) & 0x3F)]


def _config(device: Path) -> bytes:
    try:
        return (device / "config").read_bytes()
    except OSError:
        return b""


def _find_capability(config: bytes, wanted: int) -> int | None:
    """The offset of a capability in the linked list of a configuration space."""
    at = config[_FIRST_CAPABILITY] & 0xFC if len(config) > _FIRST_CAPABILITY else 0
    for _ in range(48):  # as many as fit: a device that links its list into a circle must not hold us
        if at < 0x40 or at + 2 > len(config):
            return None
        if config[at] == wanted:
            return at
        at = config[at + 1] & 0xFC
    return None
