"""The ``<guest>`` element of the capabilities document: what kinds of guests an emulator can run."""

from __future__ import annotations

from lxml import etree

from virtbus_domain.drivers.qemu.capabilities import Machine, QemuCapabilities

_WORDSIZE_32 = ("i686", "armv7l", "mips", "mipsel", "ppc", "riscv32", "sparc", "m68k", "sh4", "sh4eb", "cris",
                "microblaze", "microblazeel", "or1k", "xtensa", "xtensaeb", "tricore", "avr", "rx")


def guest_element(capabilities: QemuCapabilities, *, kvm: bool) -> str:
    """The element as libvirt indents it, followed by an empty line."""
    guest = etree.Element("guest")
    _add(guest, "os_type", "hvm")
    arch = etree.SubElement(guest, "arch", name=capabilities.arch)
    _add(arch, "wordsize", "32" if capabilities.arch in _WORDSIZE_32 else "64")
    _add(arch, "emulator", str(capabilities.binary))
    for machine in capabilities.machines:
        _machine(arch, machine)
    etree.SubElement(arch, "domain", type="qemu")
    if kvm:
        etree.SubElement(arch, "domain", type="kvm")
    features = etree.SubElement(guest, "features")
    if capabilities.arch in ("i686", "x86_64"):
        etree.SubElement(features, "acpi", default="on", toggle="yes")
        etree.SubElement(features, "apic", default="on", toggle="no")
    for name in ("cpuselection", "deviceboot"):
        etree.SubElement(features, name)
    etree.SubElement(features, "disksnapshot", default="on", toggle="no")
    etree.indent(guest, "  ", level=1)
    return "  " + etree.tostring(guest, encoding="unicode").replace('"', "'") + "\n\n"


def _add(parent: etree._Element, tag: str, text: str) -> None:
    etree.SubElement(parent, tag).text = text


def _machine(arch: etree._Element, machine: Machine) -> None:
    attributes = {"maxCpus": str(machine.max_cpus)} | ({"deprecated": "yes"} if machine.deprecated else {})
    etree.SubElement(arch, "machine", attributes).text = machine.name
    if machine.alias:
        etree.SubElement(arch, "machine", {"canonical": machine.name, **attributes}).text = machine.alias
