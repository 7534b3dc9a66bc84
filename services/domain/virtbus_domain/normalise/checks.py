"""What libvirt refuses at define although each value alone is well: devices that contradict each other."""

from __future__ import annotations

from virtbus_domain.normalise.check_disks import check_disk, check_qemu_disk
from virtbus_domain.normalise.context import Context, unsupported
from virtbus_domain.normalise.interfaces import check_interface, check_qemu_interface
from virtbus_domain.xml.domain import Domain


def check_emulator(domain: Domain, context: Context) -> None:
    """What the emulator cannot run at all."""
    context.check(domain)


def check_each_device(domain: Domain, context: Context) -> None:
    """What a device cannot be, one after the other: first as QEMU's driver sees it, then as all do."""
    assert domain.devices
    devices, qemu = domain.devices, context.qemu
    for disk in devices.disks:
        if qemu:
            check_qemu_disk(disk, domain)
        check_disk(disk)
    for interface in devices.interfaces:
        if qemu:
            check_qemu_interface(interface)
        check_interface(interface)


def check_devices(domain: Domain, context: Context) -> None:
    """Two devices that claim the same name."""
    del context
    assert domain.devices
    aliases: set[str] = set()
    for device in domain.devices.all():
        alias: str | None = getattr(device, "alias", None)
        if alias is not None:
            if alias in aliases:
                raise unsupported(f"non unique alias detected: {alias}")
            aliases.add(alias)
