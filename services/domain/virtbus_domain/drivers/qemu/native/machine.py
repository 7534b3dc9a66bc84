"""The machine of a command line: identity, type and features, CPUs, clock, power, and what the user added."""

from __future__ import annotations

import calendar
import re
import time

from virtbus_domain.drivers.qemu.native.devices import read_devices
from virtbus_domain.drivers.qemu.native.firmware import SECURE_FLASH, read_boot, read_firmware, read_guest_data
from virtbus_domain.drivers.qemu.native.memory import read_memory
from virtbus_domain.drivers.qemu.native.options import members, refusal
from virtbus_domain.drivers.qemu.native.processor import features_of, read_processor
from virtbus_domain.drivers.qemu.native.values import Command, Values
from virtbus_domain.xml import format_domain, parse_domain
from virtbus_domain.xml.boot import Os
from virtbus_domain.xml.clock import Clock, Timer
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.cpu import Cpu, CpuTopology
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.features import Features, Gic, Kvm, Smm, Switch
from virtbus_domain.xml.memory import MemoryBacking
from virtbus_domain.xml.qemu_namespace import QemuArg, QemuCommandline, QemuEnv
from virtbus_domain.xml.tuning import IoThread
from virtbus_shared.errors import LibvirtError

# What each command has, and no document says.
_FIXED = {
    "-sandbox": "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    "-mon": "chardev=charmonitor,id=monitor,mode=control", "-msg": "timestamp=on",
    "-S": "", "-no-user-config": "", "-nodefaults": ""}
_TRANSLATION_BUFFER = 32  # MiB, of a guest that asks for none
_MIB = 1024 * 1024
_HOLE = re.compile("[0-9]{1,15}K", re.ASCII)


def from_arguments(text: str) -> Domain:
    """The domain of a command line that ``native_arguments`` wrote; what it does not say is left out.

    Raises ``LibvirtError``: ``VIR_ERR_INVALID_ARG`` for what is no command line, ``VIR_ERR_CONFIG_UNSUPPORTED`` with
    the option for what a document cannot say.
    """
    command = Command(text)
    _refuse_secrets(command)
    domain = Domain(os=Os(type="hvm"), features=Features(), memory_backing=MemoryBacking(), cpu=Cpu(),
                    clock=Clock(offset="utc"), devices=Devices(emulator=command.words.program))
    _read_constants(command)
    _read_identity(command, domain)
    _read_machine(command, domain)
    _read_accelerator(command, domain)
    read_processor(command.word("-cpu"), domain)
    _read_vcpus(command, domain)
    read_memory(command, domain)
    _read_iothreads(command, domain)
    _read_compatibility(command, domain)
    read_guest_data(command, domain)
    _read_clock(command, domain)
    _read_globals(command, domain)
    _read_actions(command, domain)
    read_boot(command, domain)
    read_firmware(command, domain)
    read_devices(command, domain)
    _read_own(command, domain)
    command.finish()
    _drop_empty(domain)
    return _as_document(domain)


def _refuse_secrets(command: Command) -> None:
    for secret in command.all("-object", "secret"):
        raise refusal(f"{secret.what}: which secret it is, the command does not say")


def _drop_empty(domain: Domain) -> None:
    for name, empty in (("features", Features()), ("memory_backing", MemoryBacking()), ("cpu", Cpu())):
        if getattr(domain, name) == empty:
            setattr(domain, name, None)


def _as_document(domain: Domain) -> Domain:
    """The domain as its document says it. Values that no document may have are refused here, once for all readers."""
    try:
        return parse_domain(format_domain(domain, live=False, secure=True))
    except LibvirtError as error:
        raise refusal(str(error)) from None


def _read_constants(command: Command) -> None:
    for option, expected in _FIXED.items():
        value = command.word(option)
        if value is None:
            raise refusal(f"a command without {option}")
        if value != expected:
            raise refusal(f"{option} {value}")
    monitor = command.named("-chardev", "charmonitor")
    monitor.skip("path", "fd")
    monitor.expect("server", True)
    monitor.expect("wait", False)


def _read_identity(command: Command, domain: Domain) -> None:
    name = command.one("-name")
    if name is not None:
        domain.name = name.required_text("guest")
        name.expect("debug-threads", True)
    domain.uuid = command.word("-uuid")


def _read_machine(command: Command, domain: Domain) -> None:
    machine = next((values for values in command.all("-machine") if values.kind), None)
    if machine is None:
        raise refusal("a command without -machine")
    assert domain.os is not None
    assert domain.memory_backing is not None
    assert domain.clock is not None
    features, backing = features_of(domain), domain.memory_backing
    domain.os.machine = machine.kind
    machine.expect("usb", False)
    vmport, smm, hpet = machine.flag("vmport"), machine.flag("smm"), machine.flag("hpet")
    features.vmport = None if vmport is None else Switch(state=vmport)
    features.smm = None if smm is None else Smm(state=smm)
    gic = machine.text("gic-version")
    features.gic = None if gic is None else Gic(version=gic)
    features.ioapic_driver = machine.word("kernel_irqchip", {"split": "qemu"})
    features.acpi = machine.flag("acpi") is not False
    domain.memory_dump_core = machine.flag("dump-guest-core") or None
    backing.nosharepages = machine.flag("mem-merge") is False
    domain.os.bios_useserial = True if machine.flag("graphics") is False else None
    if hpet is not None:
        domain.clock.timers.append(Timer(name="hpet", present=hpet))
    machine.skip("memory-backend", "pflash0", "pflash1", "nvdimm")  # of memory, firmware and memory modules


def _read_accelerator(command: Command, domain: Domain) -> None:
    accelerator = command.one("-accel")
    if accelerator is None:
        raise refusal("a command without -accel")
    if accelerator.kind == "kvm":
        domain.type = "kvm"
        size = accelerator.number("dirty-ring-size")
        if size is not None:
            features = features_of(domain)
            features.kvm = Kvm(dirty_ring=True, dirty_ring_size=size)
    elif accelerator.kind == "tcg":
        domain.type = "qemu"
        buffer = accelerator.required_number("tb-size")
        if buffer != _TRANSLATION_BUFFER:
            features_of(domain).tb_cache = buffer * 1024
    else:
        raise refusal(accelerator.what)


def _read_vcpus(command: Command, domain: Domain) -> None:
    counts = command.one("-smp")
    if counts is None:
        raise refusal("a command without -smp")
    online, most = counts.required_number("cpus"), counts.number("maxcpus")
    domain.vcpu, domain.vcpu_current = most or online, online if most else None
    sockets, cores, threads = (counts.required_number(name) for name in ("sockets", "cores", "threads"))
    dies = counts.number("dies")
    if dies is not None:
        assert domain.cpu is not None
        domain.cpu.topology = CpuTopology(sockets=sockets, dies=dies, cores=cores, threads=threads)
    elif (sockets, cores, threads) != (domain.vcpu, 1, 1):
        raise counts.lacks("dies")


def _read_iothreads(command: Command, domain: Domain) -> None:
    for item in command.all("-object", "iothread"):
        found = re.fullmatch("iothread([0-9]{1,9})", item.id, re.ASCII)
        if found is None:
            raise refusal(item.what)
        domain.iothreadids.append(IoThread(
            id=int(found[1]), thread_pool_min=item.number("thread-pool-min"),
            thread_pool_max=item.number("thread-pool-max"), poll_max=item.number("poll-max-ns"),
            poll_grow=item.number("poll-grow"), poll_shrink=item.number("poll-shrink")))
    domain.iothreads = len(domain.iothreadids) or None
    for item in command.all("-object", "main-loop"):
        domain.defaultiothread_thread_pool_min = item.number("thread-pool-min")
        domain.defaultiothread_thread_pool_max = item.number("thread-pool-max")


def _read_compatibility(command: Command, domain: Domain) -> None:
    values = command.one("-compat")
    if values is not None:
        values.expect("deprecated-output", "hide")
        words = {word: word for word in ("reject", "crash")}
        domain.qemu_deprecation = values.word("deprecated-input", words) or "omit"


# --- clock and power ------------------------------------------------------------------------------------------------


def _read_clock(command: Command, domain: Domain) -> None:
    values, clock = command.one("-rtc"), domain.clock
    assert clock is not None
    if values is None:
        raise refusal("a command without -rtc")
    base = values.required_text("base")
    if base in ("utc", "localtime"):
        clock.offset = base
    else:
        clock.offset, clock.start = "absolute", _seconds(base, values)
    track = values.word("clock", {"vm": "guest", "host": "wall"})
    policy = values.word("driftfix", {"slew": "catchup"})
    if track or policy:
        clock.timers.append(Timer(name="rtc", tickpolicy=policy, track=track))
    if clock.offset == "localtime" and "TZ" in command.words.environment:
        clock.offset, clock.timezone = "timezone", command.words.environment.pop("TZ")


def _seconds(stamp: str, values: Values) -> int:
    try:
        seconds = calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        raise values.wrong("base") from None
    if seconds < 0:
        raise values.wrong("base")
    return seconds


def _read_globals(command: Command, domain: Domain) -> None:
    """Properties of devices that are part of the machine."""
    assert domain.clock is not None
    for text in command.plain.get("-global", []):
        name, _, value = text.partition("=")
        device, _, member = name.rpartition(".")
        match device, member, value:
            case ("ICH9-LPC" | "PIIX4_PM"), "disable_s3", ("0" | "1"):
                domain.suspend_to_mem = value == "0"
            case ("ICH9-LPC" | "PIIX4_PM"), "disable_s4", ("0" | "1"):
                domain.suspend_to_disk = value == "0"
            case "kvm-pit", "lost_tick_policy", ("delay" | "discard"):
                domain.clock.timers.append(Timer(name="pit", tickpolicy=value))
            case "mch", "extended-tseg-mbytes", _ if re.fullmatch("[0-9]{1,9}", value, re.ASCII):
                features = features_of(domain)
                features.smm = features.smm or Smm(state=True)
                features.smm.tseg = int(value) * _MIB
            case ("q35-pcihost" | "i440FX-pcihost"), "pci-hole64-size", _ if _HOLE.fullmatch(value):
                assert domain.devices is not None
                model = "pcie-root" if device == "q35-pcihost" else "pci-root"
                domain.devices.controllers.append(Controller(type="pci", index=0, model=model,
                                                             pcihole64=int(value.removesuffix("K"))))
            case "isa-fdc", ("bootindexA" | "bootindexB"), _:
                pass  # the place of a floppy drive in the boot order, which is read with the drives
            case "", "driver", _ if members(text) == SECURE_FLASH:
                pass  # of the loader
            case _:
                raise refusal(f"-global {text}")


def _read_actions(command: Command, domain: Domain) -> None:
    for action in command.all("-action"):
        if action.word("reboot", {"shutdown": "destroy"}):
            domain.on_reboot = "destroy"
        action.skip("watchdog")  # which is read with the watchdogs


def _read_own(command: Command, domain: Domain) -> None:
    """What the user put there besides."""
    words = command.words
    if words.extra or words.environment:
        domain.qemu_commandline = QemuCommandline(
            arguments=[QemuArg(value=word) for word in words.extra],
            envs=[QemuEnv(name=name, value=value) for name, value in words.environment.items()])
