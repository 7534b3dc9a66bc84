"""The machine around a guest's devices: its kind, how it starts, and what happens at its end."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable

from virtbus_domain.normalise.context import (
    Context,
    internal_error,
    qemu_unsupported,
    unsupported,
    xml_error,
)
from virtbus_domain.xml.boot import Idmap, Os
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.kinds import keep
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_NO_IDMAP = Idmap()
_KERNEL = ("kernel", "initrd", "cmdline", "dtb", "root")
_FIRMWARE = ("loader", "nvram", "firmware_auto", "firmware_features")
_PROGRAM = ("init", "initarg", "initenv", "initdir", "inituser", "initgroup")
_MENU = ("boot", "bootmenu_enable", "bootmenu_timeout", "bios_useserial", "bios_reboot_timeout")
# What starts a guest, by its kind.
_STARTED_BY = {"hvm": (*_KERNEL, *_FIRMWARE, "acpi_tables"), "xen": (*_KERNEL, *_FIRMWARE),
               "xenpvh": (*_KERNEL, *_FIRMWARE), "uml": (*_KERNEL, *_FIRMWARE), "exe": (*_PROGRAM, "cmdline")}
_OPTIONS = frozenset((*_KERNEL, *_FIRMWARE, *_PROGRAM, *_MENU, "acpi_tables"))
_LONGEST_MENU = 65535  # milliseconds
_RESERVED_FILES = ("opt/ovmf/", "opt/org.qemu/")


def require_os_type(domain: Domain, context: Context) -> None:
    """What kind of guest it is has to be said."""
    del context
    if domain.os is None:
        domain.os = Os()
    if domain.os.type is None:
        raise xml_error("an os <type> must be specified")


def read_os(domain: Domain, context: Context) -> None:
    """What a kind of guest, or a boot loader on the host, has no use for; a menu that is not shown has no time."""
    del context
    assert domain.os
    os = domain.os
    if os.type != "hvm" or os.init is not None or domain.bootloader is not None:
        if os.type == "linux" and domain.type == "xen":
            os.type = "xen"  # an old word for it
        keep(os, (*_STARTED_BY.get(os.type or "", ()), *(_MENU if os.type == "hvm" and not domain.bootloader else ())),
             of=_OPTIONS)
    if len(os.acpi_tables) > 1:
        raise xml_error("Only one acpi table is supported")
    if not os.bootmenu_enable:
        os.bootmenu_timeout = None
    elif (os.bootmenu_timeout or 0) > _LONGEST_MENU:
        raise unsupported(f"invalid value for boot menu timeout, must be in range [0,{_LONGEST_MENU}]")


def read_platform(domain: Domain, context: Context) -> None:
    """Nothing is mapped where nothing is said, and each thing that can be said once is."""
    del context
    if domain.idmap is not None and domain.idmap == _NO_IDMAP:
        domain.idmap = None
    if domain.on_lockfailure == "default":
        domain.on_lockfailure = None
    if domain.keywrap:
        _check_once([cipher.name for cipher in domain.keywrap], lambda name: internal_error(
            f"A domain definition can have no more than one cipher node with name {name}"))
    if domain.perf_events:
        _check_once([event.name for event in domain.perf_events], lambda name: xml_error(
            f"perf event '{name}' was already specified"))
    security = domain.launch_security
    if security and security.type == "sev" and security.policy is None:
        raise xml_error("failed to get launch security policy")


def complete_os(domain: Domain, context: Context) -> None:
    """Architecture and a canonical machine type, so that a later emulator shows the guest the same hardware."""
    assert domain.os
    if domain.os.arch is None:
        domain.os.arch = platform.machine() if context.qemu else "i686"
    domain.os.machine = context.machine(domain.os.arch, domain.os.machine)


def require_init(domain: Domain, context: Context) -> None:
    """A container starts with a program."""
    del context
    assert domain.os
    if domain.os.type == "exe" and not domain.os.init:
        raise xml_error("init binary must be specified")


def complete_lifecycle(domain: Domain, context: Context) -> None:
    """A guest that powers off is gone, one that reboots starts again, one that crashes is gone."""
    del context
    domain.on_poweroff = domain.on_poweroff or "destroy"
    domain.on_reboot = domain.on_reboot or "restart"
    domain.on_crash = domain.on_crash or "destroy"


def complete_boot_order(domain: Domain, context: Context) -> None:
    """Each device order is used once; without any order a full guest boots from its first disk."""
    del context
    assert domain.devices
    assert domain.os
    devices = domain.devices
    if domain.os.type != "hvm":
        return
    seen: set[int] = set()
    groups: tuple[Iterable[object], ...] = (devices.disks, devices.interfaces, devices.hostdevs, devices.redirdevs)
    for group in groups:
        for device in group:
            order: int | None = getattr(device, "boot_order", None)
            if order is None:
                continue
            if order in seen:
                raise unsupported(f"boot order '{order}' used for more than one device")
            seen.add(order)
    if seen and domain.os.boot:
        raise unsupported("per-device boot elements cannot be used together with os/boot elements")
    if not seen and not domain.os.boot and domain.bootloader is None:
        domain.os.boot = ["hd"]


def name_guest(domain: Domain, context: Context) -> None:
    """Xen's own kind of guest is called by its old name."""
    del context
    if domain.type == "xen" and domain.os and domain.os.type == "xen":
        domain.os.type = "linux"


def check_lifecycle(domain: Domain, context: Context) -> None:
    """QEMU's driver keeps no guest that has ended, and starts none under another name."""
    if not context.qemu:
        return
    if "rename-restart" in (domain.on_reboot, domain.on_poweroff, domain.on_crash):
        raise qemu_unsupported("qemu driver doesn't support the 'rename-restart' action for "
                               "'on_reboot'/'on_poweroff'/'on_crash'")
    if domain.on_reboot == "destroy" and domain.on_poweroff == "restart":
        raise qemu_unsupported("qemu driver doesn't support 'onReboot' set to 'destroy and 'onPoweroff' set to "
                               "'reboot'")
    if "preserve" in (domain.on_reboot, domain.on_poweroff):
        raise qemu_unsupported("qemu driver doesn't support the 'preserve' action for 'on_reboot'/'on_poweroff'")


def check_platform(domain: Domain, context: Context) -> None:
    """QEMU's firmware speaks on a serial port that has to be there, and reads files that have a name of its own."""
    assert domain.os
    assert domain.devices
    if not context.qemu:
        return
    if domain.os.bios_useserial and not domain.devices.serials:
        raise LibvirtError(c.VIR_ERR_XML_ERROR, "need at least one serial port to use BIOS serial output",
                           domain=c.VIR_FROM_QEMU)
    for info in domain.sysinfos:
        for entry in info.entries if info.type == "fwcfg" else ():
            if not (entry.name or "").startswith("opt/"):
                raise qemu_unsupported("Invalid firmware name")
            if (entry.name or "").startswith(_RESERVED_FILES):
                raise qemu_unsupported("That firmware name is reserved")


def check_idmap(domain: Domain, context: Context) -> None:
    """Users and groups are mapped together, root among them."""
    del context
    idmap = domain.idmap
    if idmap is None:
        return
    if not idmap.uids or not idmap.gids:
        raise unsupported("uid and gid should be mapped both")
    if all(mapping.start for mapping in idmap.uids) or all(mapping.start for mapping in idmap.gids):
        raise unsupported("You must map the root user of container")


def _check_once(names: list[str | None], refusal: Callable[[str | None], LibvirtError]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise refusal(name)
