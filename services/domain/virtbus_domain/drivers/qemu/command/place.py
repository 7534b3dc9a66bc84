"""Where a device sits, in QEMU's words: the bus by its controller's name, and the place on it."""

from __future__ import annotations

from typing import Any

from virtbus_domain.drivers.qemu.command.arguments import Json, unsupported
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.address import (
    CcidAddress,
    DimmAddress,
    IsaAddress,
    PciAddress,
    UsbAddress,
    VirtioMmioAddress,
    VirtioSerialAddress,
)

Properties = dict[str, Json]


def place(device: Any, setup: Setup) -> Properties:
    """The properties that put a device where its document says; none when it has no address."""
    address = device.address
    if address is None:
        return {}
    if isinstance(address, PciAddress):
        return _pci(address, device, setup)
    if isinstance(address, UsbAddress):
        return {"bus": f"{setup.controller('usb', address.bus or 0)}.0", "port": address.port}
    if isinstance(address, VirtioSerialAddress):
        return {"bus": f"{setup.controller('virtio-serial', address.controller or 0)}.{address.bus or 0}",
                "nr": address.port}
    if isinstance(address, IsaAddress):
        return {"iobase": address.iobase, "irq": address.irq}
    if isinstance(address, CcidAddress):
        return {"bus": f"{setup.controller('ccid', address.controller or 0)}.{address.slot or 0}"}
    if isinstance(address, DimmAddress):
        return {"slot": address.slot, "addr": address.base}
    if isinstance(address, VirtioMmioAddress):
        return {}
    raise unsupported(f"the address of '{device.alias}'")


def _pci(address: PciAddress, device: Any, setup: Setup) -> Properties:
    if address.domain:
        raise unsupported(f"PCI domain {address.domain:#06x} of '{device.alias}'")
    function = address.function or 0
    slot = f"{address.slot or 0:#x}"
    return {"bus": setup.controller("pci", address.bus or 0), "addr": f"{slot}.{function:#x}" if function else slot,
            "multifunction": True if address.multifunction else None,
            "acpi_index": getattr(device, "acpi_index", None)}


def rom(device: Any) -> Properties:
    """What of a PCI device's ROM the document says."""
    if device.rom_enabled is False:
        return {"romfile": ""}
    return {"rombar": None if device.rom_bar is None else int(device.rom_bar), "romfile": device.rom_file}


def virtio_options(*, iommu: bool | None, ats: bool | None, packed: bool | None,
                   page_per_vq: bool | None) -> Properties:
    """What every virtio device can be told about its transport."""
    return {"iommu_platform": iommu, "ats": ats, "packed": packed, "page_per_vq": page_per_vq}


def transitional(driver: str, model: str | None) -> str:
    """A virtio driver in the flavour that a model such as "virtio-non-transitional" names."""
    return driver + (model or "virtio").removeprefix("virtio")


def switch(value: bool | None) -> str | None:
    """A property of QEMU's type OnOffAuto, which takes words where others take booleans."""
    return None if value is None else "on" if value else "off"
