"""The machine of a command line: identity, type and features, CPU, memory, clock, firmware, what the guest reads."""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable
from typing import Any

from virtbus_domain.drivers.qemu.command.cpu import HYPERV, KVM
from virtbus_domain.drivers.qemu.cpu_models import to_libvirt
from virtbus_domain.drivers.qemu.native.devices import read_devices
from virtbus_domain.drivers.qemu.native.options import (
    CommandWords,
    mapping,
    members,
    number,
    refusal,
    switched,
)
from virtbus_domain.xml.boot import AcpiTable, Loader, Nvram, Os
from virtbus_domain.xml.clock import Clock, Timer
from virtbus_domain.xml.cpu import Cpu, CpuFeature, CpuModel, CpuTopology, NumaCell, NumaSibling
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.features import Apic, Features, Hyperv, Kvm, Smm, Switch
from virtbus_domain.xml.memory import (
    HugePage,
    HugePages,
    MemoryBacking,
    Numatune,
    NumatuneCell,
    NumatuneMemory,
)
from virtbus_domain.xml.qemu_namespace import QemuArg, QemuCommandline, QemuEnv
from virtbus_domain.xml.sysinfo import BaseBoard, Sysinfo, SysinfoEntry
from virtbus_domain.xml.tuning import IoThread

_POLICIES = {"bind": "strict", "preferred": "preferred", "interleave": "interleave"}


def from_arguments(text: str) -> Domain:
    """The domain of a command line that ``native_arguments`` wrote; what it does not say is left out.

    Raises ``LibvirtError``: ``VIR_ERR_INVALID_ARG`` for what is no command line, ``VIR_ERR_CONFIG_UNSUPPORTED`` with
    the option for what a document cannot say.
    """
    words = CommandWords(text)
    domain = Domain(os=Os(type="hvm"), devices=Devices(emulator=words.program), clock=Clock(offset="utc"))
    for option in dict.fromkeys(name for name, _ in words.options):
        read = _OPTIONS.get(option, _refuse)
        read(domain, words, option)
    devices = read_devices(words, domain)
    devices.emulator = words.program
    domain.devices = devices
    _own(domain, words)
    return domain


def _refuse(domain: Domain, words: CommandWords, option: str) -> None:
    del domain
    raise refusal(f"option {option} {words.first(option)}")


def _nothing(domain: Domain, words: CommandWords, option: str) -> None:
    """What every command has, or what the devices are read from."""


def _name(domain: Domain, words: CommandWords, option: str) -> None:
    domain.name = mapping(words.first(option)).get("guest")


def _uuid(domain: Domain, words: CommandWords, option: str) -> None:
    domain.uuid = words.first(option)


def _features(domain: Domain) -> Features:
    domain.features = domain.features or Features()
    return domain.features


def _backing(domain: Domain) -> MemoryBacking:
    domain.memory_backing = domain.memory_backing or MemoryBacking()
    return domain.memory_backing


def _timer(domain: Domain, name: str, **values: Any) -> None:
    assert domain.clock is not None
    domain.clock.timers.append(Timer(name=name, **values))


def _machine(domain: Domain, words: CommandWords, option: str) -> None:
    values: dict[str, str] = {}
    for text in words.all(option):
        values |= mapping(text, "type")
    assert domain.os is not None
    domain.os.machine = values.get("type")
    features = _features(domain)
    features.acpi = values.get("acpi") != "off"
    if "vmport" in values:
        features.vmport = Switch(state=switched(values["vmport"]))
    if "smm" in values:
        features.smm = Smm(state=switched(values["smm"]))
    if values.get("kernel-irqchip", values.get("kernel_irqchip")) == "split":
        features.ioapic_driver = "qemu"
    if values.get("mem-merge") == "off":
        _backing(domain).nosharepages = True
    if "hpet" in values:
        _timer(domain, "hpet", present=switched(values["hpet"]))
    if values.get("graphics") == "off":
        domain.os.bios_useserial = True
    if features == Features():
        domain.features = None


def _accelerator(domain: Domain, words: CommandWords, option: str) -> None:
    values = mapping(words.first(option), "accel")
    domain.type = {"kvm": "kvm", "tcg": "qemu"}.get(values["accel"])
    if values.get("tb-size") not in (None, "32"):
        _features(domain).tb_cache = (number(values["tb-size"]) or 0) * 1024


# --- the CPU --------------------------------------------------------------------------------------------------------

_HYPERV_OF = {qemu: ours for ours, qemu in HYPERV.items()}
_KVM_OF = {said: (ours, state) for ours, (state, said) in KVM.items()}
_MODES = {"host": "host-passthrough", "max": "maximum"}


def _cpu(domain: Domain, words: CommandWords, option: str) -> None:
    first, *rest = members(words.first(option), "model")
    cpu = domain.cpu = domain.cpu or Cpu()
    mode = _MODES.get(first[1])
    cpu.mode = mode or "custom"
    if mode is None:
        cpu.model, cpu.match = CpuModel(name=first[1], fallback="forbid"), "exact"
        cpu.check = "none"
    for name, value in rest:
        _cpu_property(domain, cpu, name, value)


def _cpu_property(domain: Domain, cpu: Cpu, name: str, value: str) -> None:
    if name in _HYPERV_OF:
        features = _features(domain)
        features.hyperv = features.hyperv or Hyperv()
        ours = _HYPERV_OF[name]
        setattr(features.hyperv, ours, value != "off")
        if ours == "spinlocks" and value != "off":
            features.hyperv.spinlocks_retries = int(value, 0)
        elif ours == "vendor_id":
            features.hyperv.vendor_id_value = value
    elif f"{name}={value}" in _KVM_OF:
        features = _features(domain)
        features.kvm = features.kvm or Kvm()
        ours, state = _KVM_OF[f"{name}={value}"]
        setattr(features.kvm, ours, state)
    elif name == "hv-time":
        _timer(domain, "hypervclock", present=switched(value))
    elif name == "kvmclock":
        _timer(domain, "kvmclock", present=switched(value))
    elif name == "tsc-frequency":
        _timer(domain, "tsc", frequency=number(value))
    elif name == "kvm-pv-eoi":
        _features(domain).apic = Apic(eoi=switched(value))
    elif name == "pmu":
        _features(domain).pmu = Switch(state=switched(value))
    elif name == "migratable":
        cpu.migratable = switched(value)
    elif value in ("on", "off"):
        cpu.features.append(CpuFeature(name=to_libvirt(name), policy="require" if value == "on" else "disable"))
    else:
        raise refusal(f"-cpu {name}={value}")


def _vcpus(domain: Domain, words: CommandWords, option: str) -> None:
    values = mapping(words.first(option), "cpus")
    count, most = number(values["cpus"]), number(values.get("maxcpus"))
    domain.vcpu, domain.vcpu_current = most or count, count if most else None
    sockets, dies, cores, threads = (number(values.get(name)) for name in ("sockets", "dies", "cores", "threads"))
    if dies is not None:
        domain.cpu = domain.cpu or Cpu()
        domain.cpu.topology = CpuTopology(sockets=sockets, dies=dies, cores=cores, threads=threads)


# --- memory ---------------------------------------------------------------------------------------------------------


def _memory(domain: Domain, words: CommandWords, option: str) -> None:
    values = mapping(words.first(option), "size")
    size = values["size"]
    domain.memory = (number(size.removesuffix("k")) or 0) * (1 if size.endswith("k") else 1024)
    if "maxmem" in values:
        domain.max_memory = number(values["maxmem"].removesuffix("k"))
        domain.max_memory_slots = number(values.get("slots"))


def _overcommit(domain: Domain, words: CommandWords, option: str) -> None:
    if mapping(words.first(option)).get("mem-lock") == "on":
        _backing(domain).locked = True


def _objects(domain: Domain, words: CommandWords, option: str) -> None:
    """I/O threads, and the back ends of the main memory; the others belong to devices."""
    cells = {value for text in words.all("-numa") for key, value in members(text, "kind") if key == "memdev"}
    backends = {item["id"]: item for item in words.objects(option) if item["qom-type"].startswith("memory-backend")}
    main = mapping(words.first("-machine"), "type").get("memory-backend")
    for name in (main, *sorted(cells)):
        if name in backends:
            _backend(domain, backends[name], is_cell=name in cells)
    threads = [item for item in words.objects(option) if item["qom-type"] == "iothread"]
    if threads:
        domain.iothreads = len(threads)
        domain.iothreadids = [IoThread(
            id=int(item["id"].removeprefix("iothread")), thread_pool_min=item.get("thread-pool-min"),
            thread_pool_max=item.get("thread-pool-max"), poll_max=item.get("poll-max-ns"),
            poll_grow=item.get("poll-grow"), poll_shrink=item.get("poll-shrink")) for item in threads]


def _backend(domain: Domain, item: dict[str, Any], *, is_cell: bool) -> None:
    kind = item["qom-type"].removeprefix("memory-backend-")
    if item.get("hugetlb"):
        size = item.get("hugetlbsize")
        pages = [HugePage(size=size // 1024)] if size else []
        _backing(domain).hugepages = HugePages(pages=pages)
    elif kind != "ram":
        _backing(domain).source_type = kind
    if "share" in item and not is_cell:
        _backing(domain).access_mode = "shared" if item["share"] else "private"
    if item.get("prealloc") and not item.get("hugetlb"):
        _backing(domain).allocation_mode = "immediate"
        _backing(domain).allocation_threads = item.get("prealloc-threads")
    if "discard-data" in item:
        _backing(domain).discard = True
    if "policy" in item:
        domain.numatune = domain.numatune or Numatune()
        mode, nodes = _POLICIES[item["policy"]], ",".join(map(str, item["host-nodes"]))
        if is_cell:
            cell = int(item["id"].removeprefix("ram-node"))
            domain.numatune.memnodes.append(NumatuneCell(cellid=cell, mode=mode, nodeset=nodes))
        else:
            domain.numatune.memory = NumatuneMemory(mode=mode, nodeset=nodes)


def _numa(domain: Domain, words: CommandWords, option: str) -> None:
    backends = {item["id"]: item for item in words.objects("-object")}
    cpu = domain.cpu = domain.cpu or Cpu()
    cells: dict[int, NumaCell] = {}
    for text in words.all(option):
        pairs = members(text, "kind")
        values = dict(pairs)
        if values["kind"] == "node":
            backend, index = backends[values["memdev"]], int(values["nodeid"])
            access = {True: "shared", False: "private"}.get(backend.get("share", ""))
            cells[index] = NumaCell(id=index, cpus=",".join(value for key, value in pairs if key == "cpus"),
                                    memory=backend["size"] // 1024, mem_access=access)
        else:
            source, target, value = (int(values[name]) for name in ("src", "dst", "val"))
            cells[source].distances.append(NumaSibling(id=target, value=value))
    cpu.numa = list(cells.values())


# --- clock, power, firmware -----------------------------------------------------------------------------------------


def _clock(domain: Domain, words: CommandWords, option: str) -> None:
    values = mapping(words.first(option))
    clock = domain.clock
    assert clock is not None
    base = values.get("base", "utc")
    if base in ("utc", "localtime"):
        clock.offset = base
    else:
        clock.offset = "absolute"
        try:
            clock.start = calendar.timegm(time.strptime(base, "%Y-%m-%dT%H:%M:%S"))
        except ValueError:
            raise refusal(f"-rtc base={base}") from None
    track = {"vm": "guest", "host": "wall"}.get(values.get("clock", ""))
    policy = "catchup" if values.get("driftfix") == "slew" else None
    if track or policy:
        clock.timers.append(Timer(name="rtc", tickpolicy=policy, track=track))
    if "TZ" in words.environment:
        clock.offset, clock.timezone = "timezone", words.environment.pop("TZ")


def _globals(domain: Domain, words: CommandWords, option: str) -> None:
    for text in words.all(option):
        values = mapping(text)
        if "driver" in values:
            if (values["driver"], values["property"]) != ("cfi.pflash01", "secure"):
                raise refusal(f"-global {text}")
            continue  # of the loader
        name, value = text.split("=", 1)
        match name.rpartition(".")[2], name.rpartition(".")[0]:
            case "disable_s3", _:
                domain.suspend_to_mem = value == "0"
            case "disable_s4", _:
                domain.suspend_to_disk = value == "0"
            case "lost_tick_policy", "kvm-pit":
                _timer(domain, "pit", tickpolicy=value)
            case "extended-tseg-mbytes", "mch":
                features = _features(domain)
                features.smm = features.smm or Smm(state=True)
                features.smm.tseg = (number(value) or 0) * 1024 * 1024
            case ("bootindexA" | "bootindexB"), "isa-fdc":
                pass  # of a floppy drive
            case _:
                raise refusal(f"-global {text}")


def _action(domain: Domain, words: CommandWords, option: str) -> None:
    for text in words.all(option):
        if mapping(text).get("reboot") == "shutdown":
            domain.on_reboot = "destroy"


def _boot(domain: Domain, words: CommandWords, option: str) -> None:
    values = mapping(words.first(option))
    assert domain.os is not None
    domain.os.bootmenu_enable = switched(values.get("menu"))
    domain.os.bootmenu_timeout = number(values.get("splash-time"))
    domain.os.bios_reboot_timeout = number(values.get("reboot-timeout"))


def _text(field: str) -> Callable[[Domain, CommandWords, str], None]:
    def read(domain: Domain, words: CommandWords, option: str) -> None:
        setattr(domain.os, field, words.first(option))

    return read


def _rom(domain: Domain, words: CommandWords, option: str) -> None:
    assert domain.os is not None
    domain.os.loader = Loader(type="rom", path=words.first(option))


def _acpi_table(domain: Domain, words: CommandWords, option: str) -> None:
    values = mapping(words.first(option))
    assert domain.os is not None
    domain.os.acpi_tables = [AcpiTable(type=values["sig"].lower(), path=values["file"])]


def _flash(domain: Domain, words: CommandWords, option: str) -> None:
    """The images under the two flash chips; the other block nodes belong to disks."""
    nodes = {item["node-name"]: item for item in words.objects(option)}
    assert domain.os is not None
    code = nodes.get("libvirt-pflash0-storage")
    if code is None:
        return
    secure = any("cfi.pflash01" in text for text in words.all("-global"))
    image_format = nodes["libvirt-pflash0-format"]["driver"]
    domain.os.loader = Loader(readonly=True, type="pflash", secure=True if secure else None, path=code["filename"],
                              format=None if image_format == "raw" else image_format)
    variables = nodes.get("libvirt-pflash1-storage")
    if variables is not None:
        image_format = nodes["libvirt-pflash1-format"]["driver"]
        domain.os.nvram = Nvram(path=variables["filename"], format=None if image_format == "raw" else image_format)


# --- what the guest reads -------------------------------------------------------------------------------------------


def _smbios(domain: Domain, words: CommandWords, option: str) -> None:
    info = Sysinfo(type="smbios")
    for text in words.all(option):
        pairs = members(text)
        kind = dict(pairs)["type"]
        entries = [SysinfoEntry(name=name, value=value) for name, value in pairs if name != "type"]
        match kind:
            case "0":
                info.bios = entries
            case "1":
                info.system = entries
            case "2":
                info.base_boards.append(BaseBoard(entries=entries))
            case "3":
                info.chassis = entries
            case "11":
                info.oem_strings = [value for name, value in pairs if name == "value"]
            case _:
                raise refusal(f"-smbios {text}")
    domain.sysinfos.append(info)
    assert domain.os is not None
    domain.os.smbios_mode = "sysinfo"


def _fw_cfg(domain: Domain, words: CommandWords, option: str) -> None:
    entries = []
    for text in words.all(option):
        values = mapping(text)
        entries.append(SysinfoEntry(name=values["name"], value=values.get("string"), file=values.get("file")))
    domain.sysinfos.append(Sysinfo(type="fwcfg", entries=entries))


def _own(domain: Domain, words: CommandWords) -> None:
    """What the user put there besides."""
    if words.extra or words.environment:
        domain.qemu_commandline = QemuCommandline(
            arguments=[QemuArg(value=word) for word in words.extra],
            envs=[QemuEnv(name=name, value=value) for name, value in words.environment.items()])


_OPTIONS: dict[str, Callable[[Domain, CommandWords, str], None]] = {
    "-name": _name, "-uuid": _uuid, "-machine": _machine, "-accel": _accelerator, "-cpu": _cpu, "-smp": _vcpus,
    "-m": _memory, "-overcommit": _overcommit, "-object": _objects, "-numa": _numa, "-rtc": _clock,
    "-global": _globals, "-action": _action, "-boot": _boot, "-kernel": _text("kernel"), "-initrd": _text("initrd"),
    "-append": _text("cmdline"), "-dtb": _text("dtb"), "-bios": _rom, "-acpitable": _acpi_table,
    "-blockdev": _flash, "-smbios": _smbios, "-fw_cfg": _fw_cfg,
} | dict.fromkeys((
    "-pidfile", "-S", "-no-user-config", "-nodefaults", "-sandbox", "-chardev", "-mon", "-msg", "-display", "-device",
    "-netdev", "-fsdev", "-tpmdev", "-audiodev", "-vnc", "-spice", "-k"), _nothing)
