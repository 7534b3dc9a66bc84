"""Addresses as they are written: what one leaves out is zero, and what no bus has is refused.

Here is also in which order devices claim the addresses that they are given: two that claim the same are one refusal,
but which of several refusals a user sees depends on it.
"""

from __future__ import annotations

from typing import Any

from virtbus_domain.normalise.context import Context
from virtbus_domain.xml.address import (
    CcidAddress,
    DriveAddress,
    PciAddress,
    UsbAddress,
    VirtioSerialAddress,
)
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_lines import Element

# The numbers of each kind of address; some kinds have others that may be missing.
_NUMBERS: dict[type[Element], tuple[str, ...]] = {
    PciAddress: ("domain", "bus", "slot", "function"), DriveAddress: ("controller", "bus", "target", "unit"),
    VirtioSerialAddress: ("controller", "bus", "port"), CcidAddress: ("controller", "slot"), UsbAddress: ("bus",),
}


def claiming(devices: Devices) -> list[Any]:
    """All devices that may have an address, in libvirt's order; a console that is a serial port is no second one."""
    consoles = [console for console in devices.consoles if console.target is None or console.target.type != "serial"]
    single = [device for device in (devices.memballoon, devices.nvram, devices.iommu, devices.vsock) if device]
    return [*devices.disks, *devices.interfaces, *devices.sounds, *devices.hostdevs, *devices.videos,
            *devices.controllers, *devices.smartcards, *devices.serials, *devices.parallels, *devices.channels,
            *consoles, *devices.inputs, *devices.filesystems, *devices.watchdogs, *devices.rngs, *devices.hubs,
            *devices.shmems, *devices.tpms, *devices.panics, *devices.memories, *devices.cryptos, *devices.redirdevs,
            *single]


def complete_addresses(domain: Domain, context: Context) -> None:
    """Fill in zeros. Raises ``LibvirtError`` for a bus, slot or function that PCI does not have."""
    del context
    assert domain.devices
    for device in domain.devices.named():
        address = device.address
        if address is None:
            continue
        for name in _NUMBERS.get(type(address), ()):
            if getattr(address, name) is None:
                setattr(address, name, 0)
        if type(address) is PciAddress and (address.bus or address.slot):
            _check_pci(address)


def _check_pci(address: PciAddress) -> None:
    if (address.bus or 0) > 0xFF:
        detail = f"bus='0x{address.bus:x}', must be <= 0xFF"
    elif (address.slot or 0) > 0x1F:
        detail = f"slot='0x{address.slot:x}', must be <= 0x1F"
    elif (address.function or 0) > 7:
        detail = f"function=0x{address.function:x}, must be <= 7"
    else:
        return
    raise LibvirtError(c.VIR_ERR_XML_ERROR, f"Invalid PCI address {detail}", domain=c.VIR_FROM_NONE)
