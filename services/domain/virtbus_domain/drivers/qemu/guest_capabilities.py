"""The ``<guest>`` element of the capabilities document: what kinds of guests an emulator can run."""

from __future__ import annotations

from collections.abc import Iterator

from virtbus_domain.drivers.qemu.capabilities import QemuCapabilities
from virtbus_domain.xml.capabilities import (
    Guest,
    GuestArch,
    GuestDomain,
    GuestFeatures,
    Machine,
    Toggle,
    format_guest,
)

_WORDSIZE_32 = ("i686", "armv7l", "mips", "mipsel", "ppc", "riscv32", "sparc", "m68k", "sh4", "sh4eb", "cris",
                "microblaze", "microblazeel", "or1k", "xtensa", "xtensaeb", "tricore", "avr", "rx")


def guest_element(capabilities: QemuCapabilities, *, kvm: bool) -> str:
    """The element as libvirt indents it, followed by an empty line."""
    arch = GuestArch(name=capabilities.arch, wordsize=32 if capabilities.arch in _WORDSIZE_32 else 64,
                     emulator=str(capabilities.binary), machines=list(_machines(capabilities)),
                     domains=[GuestDomain(type=name) for name in (("qemu", "kvm") if kvm else ("qemu",))])
    features = GuestFeatures(cpuselection=True, deviceboot=True, disksnapshot=Toggle(default=True, toggle=False))
    if capabilities.arch in ("i686", "x86_64"):
        features.acpi = Toggle(default=True, toggle=True)
        features.apic = Toggle(default=True, toggle=False)
    return format_guest(Guest(os_type="hvm", arch=arch, features=features))


def _machines(capabilities: QemuCapabilities) -> Iterator[Machine]:
    """Each machine by its full name, and by its short one where it has one."""
    for machine in capabilities.machines:
        deprecated = machine.deprecated or None
        yield Machine(name=machine.name, max_cpus=machine.max_cpus, deprecated=deprecated)
        if machine.alias:
            yield Machine(name=machine.alias, canonical=machine.name, max_cpus=machine.max_cpus, deprecated=deprecated)
