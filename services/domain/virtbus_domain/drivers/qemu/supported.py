"""What of a domain document this driver carries out. All else is refused before anything is started.

The model keeps more than we can do, so that a stored document loses nothing. A guest that silently lacked its TPM or
its limits would be worse than none, so the rule is an allowance: the fields named here, per model. A family becomes
supported when the builder reads it and its field is added here.
"""

from __future__ import annotations

from virtbus_domain.drivers.qemu.command.arguments import unsupported
from virtbus_domain.xml.address import DriveAddress, PciAddress
from virtbus_domain.xml.chardev import Chardev, ChardevSource, ChardevTarget
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.disk import Disk, DiskDriver, DiskSource
from virtbus_domain.xml.domain import Clock, Devices, Domain, Features, Os
from virtbus_domain.xml.interface import Interface, InterfaceSource
from virtbus_shared.service.xml_lines import PLANS, Element, Raw, Rest

SUPPORTED: dict[type[Element], frozenset[str]] = {
    Domain: frozenset({
        "type", "id", "name", "uuid", "title", "description", "metadata", "memory", "current_memory",
        "vcpu_placement", "vcpu_current", "vcpu", "os", "features", "cpu", "clock", "on_poweroff", "on_reboot",
        "on_crash", "suspend_to_mem", "suspend_to_disk", "devices", "seclabels"}),
    Os: frozenset({"arch", "machine", "type", "kernel", "initrd", "cmdline", "dtb", "boot", "bootmenu"}),
    Features: frozenset({"acpi", "apic", "pae", "vmport"}),
    Clock: frozenset({"offset", "timer"}),
    Devices: frozenset({
        "emulator", "disks", "controllers", "interfaces", "serials", "consoles", "inputs", "audios", "memballoon",
        "rngs"}),
    Disk: frozenset({
        "type", "device", "snapshot", "driver", "source", "backing_store", "target_dev", "target_bus", "readonly",
        "shareable", "serial", "wwn", "vendor", "product", "boot_order", "alias", "address"}),
    DiskDriver: frozenset({
        "name", "type", "cache", "error_policy", "rerror_policy", "io", "discard", "detect_zeroes"}),
    DiskSource: frozenset({"file", "dev", "index"}),
    Controller: frozenset({"type", "index", "model", "hardware_model", "target", "alias", "address"}),
    Interface: frozenset({
        "type", "mac", "mac_type", "source", "target_dev", "model", "boot_order", "alias", "address"}),
    InterfaceSource: frozenset({"network", "portgroup", "portid", "bridge"}),
    Chardev: frozenset({"type", "tty", "source", "target", "alias", "address"}),
    ChardevSource: frozenset({"mode", "path", "append"}),
    ChardevTarget: frozenset({"type", "port", "model"}),
    PciAddress: frozenset({"type", "domain", "bus", "slot", "function", "multifunction"}),
    DriveAddress: frozenset({"type", "controller", "bus", "target", "unit"}),
}


def check_supported(domain: Domain) -> None:
    """Refuse a document that asks for more than we do (``VIR_ERR_CONFIG_UNSUPPORTED`` with the path of it)."""
    _check(domain, "/domain")


def raw_attributes(item: Raw, path: str, *known: str, children: tuple[str, ...] = ()) -> dict[str, str]:
    """The attributes of an element that has no model; anything besides these and its name and place is refused."""
    for name, _ in item.attrs:
        if name not in known:
            raise unsupported(f"{path}/@{name}")
    for child in item.children:
        if child.tag not in ("alias", "address", *children):
            raise unsupported(f"{path}/{child.tag}")
    return dict(item.attrs)


def raw_address(item: Raw, path: str) -> PciAddress | None:
    """The PCI address of an element that has no model, if it has one."""
    for child in item.children:
        if child.tag == "address":
            values = dict(child.attrs)
            try:
                if values.get("type") == "pci":
                    domain, bus, slot, function = (
                        int(values.get(name, "0"), 0) for name in ("domain", "bus", "slot", "function"))
                    return PciAddress(domain=domain, bus=bus, slot=slot, function=function)
            except ValueError:
                pass
            raise unsupported(f"{path}/address")
    return None


def _check(element: Element, path: str) -> None:
    if element.rest:
        raise unsupported(path + _first_of_rest(element.rest))
    allowed = SUPPORTED.get(type(element), frozenset())
    for name, line in PLANS[type(element)].lines.items():
        value = getattr(element, name)
        if value is None or value is False or value in ([], ()):
            continue
        here = f"{path}/{line.path.removesuffix('/.')}"
        if name not in allowed:
            raise unsupported(here)
        if isinstance(value, Element):
            _check(value, here)
        elif line.shape == "subs":
            for number, item in enumerate(value, 1):
                _check(item, f"{here}[{number}]")


def _first_of_rest(rest: dict[str, Rest]) -> str:
    key, found = next(iter(rest.items()))
    below = f"/{key}" if key else ""
    return f"{below}/@{found.attrs[0][0]}" if found.attrs else f"{below}/{found.elements[0].tag}"
