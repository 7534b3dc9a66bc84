"""How the guest starts: firmware in flash or ROM, a kernel given directly, the boot menu, and who comes first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from virtbus_domain.drivers.qemu.command.arguments import Arguments
from virtbus_domain.drivers.qemu.command.controller import floppy_boot_order
from virtbus_domain.drivers.qemu.command.parts import append, part_blockdev, part_device
from virtbus_domain.drivers.qemu.command.protocols import protocol_options
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.drivers.qemu.layers import Volume
from virtbus_domain.xml.boot import Os
from virtbus_domain.xml.domain import Devices
from virtbus_domain.xml.storage_source import DiskSource


def append_boot(arguments: Arguments, setup: Setup) -> None:
    """``-boot`` and what is loaded without firmware's help."""
    os = setup.domain.os
    assert os is not None
    arguments.keyed("-boot", menu=os.bootmenu_enable, reboot_timeout=os.bios_reboot_timeout,
                    splash_time=os.bootmenu_timeout if os.bootmenu_enable else None, strict=True)
    for option, path in (("-kernel", os.kernel), ("-initrd", os.initrd), ("-append", os.cmdline), ("-dtb", os.dtb)):
        if path:
            arguments.plain(option, path)
    for table in os.acpi_tables:
        arguments.keyed("-acpitable", sig=(table.type or "").upper(), file=table.path)


def append_floppy_order(arguments: Arguments, setup: Setup) -> None:
    """``-global`` for the floppy controller that is part of the machine."""
    if not setup.is_q35:  # there it is a device like others
        for name, number in floppy_boot_order(setup):
            arguments.plain("-global", f"isa-fdc.{name}={number}")


def append_firmware(arguments: Arguments, setup: Setup) -> None:
    """The images of the firmware: block nodes of the two flash chips, or a ROM."""
    os = setup.domain.os
    assert os is not None
    loader = os.loader
    if loader is None or not loader.path:
        return
    if not setup.has_flash:
        arguments.plain("-bios", loader.path)
        return
    images = [(Volume("file", DiskSource(file=loader.path)), loader.format or "raw", loader.readonly is True)]
    if setup.variables is not None and os.nvram is not None:
        images.append((setup.variables, os.nvram.format or "raw", False))
    for number, ((kind, source), image_format, read_only) in enumerate(images):
        storage = f"libvirt-pflash{number}-storage"
        options, objects = protocol_options(source, kind, storage, setup, cdrom=False, aio=None)
        append(arguments, [
            *objects, part_blockdev(str(options.pop("driver")), storage, **options, auto_read_only=True,
                                    discard="unmap"),
            part_blockdev(image_format, f"libvirt-pflash{number}-format", read_only=read_only, file=storage)])


def append_platform_devices(arguments: Arguments, setup: Setup) -> None:
    """Two devices that a document does not list among its devices: crash information and the generation."""
    features = setup.domain.features
    if features and features.vmcoreinfo and features.vmcoreinfo.state is not False:
        arguments.json("-device", driver="vmcoreinfo")
    if setup.domain.genid:
        append(arguments, [part_device("vmgenid", "vmgenid0", guid=setup.domain.genid)])


def boot_order(os: Os, devices: Devices) -> dict[str, int]:
    """Place in the boot order by alias: each device's own, or from the list of kinds the first device of each kind."""
    bootable: list[Any] = [*devices.disks, *devices.interfaces, *devices.filesystems, *devices.hostdevs,
                           *devices.redirdevs]
    order = {str(device.alias): device.boot_order for device in bootable if device.boot_order is not None}
    if order:
        return order
    kinds: dict[str, Sequence[Any]] = {
        "hd": [disk for disk in devices.disks if disk.device in ("disk", "lun")],
        "cdrom": [disk for disk in devices.disks if disk.device == "cdrom"],
        "fd": [disk for disk in devices.disks if disk.device == "floppy"],
        "network": devices.interfaces}
    for number, kind in enumerate(dict.fromkeys(os.boot), 1):
        for device in kinds.get(kind, [])[:1]:
            order[str(device.alias)] = number
    return order
