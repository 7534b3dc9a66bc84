"""Devices of the host that a guest gets for itself: PCI functions, USB devices, mediated devices."""

from __future__ import annotations

from virtbus_domain.drivers.qemu.command.arguments import unsupported
from virtbus_domain.drivers.qemu.command.parts import Part, part_device
from virtbus_domain.drivers.qemu.command.place import place, rom, switch
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.hostdev import Hostdev
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


def hostdev_parts(hostdev: Hostdev, setup: Setup) -> list[Part]:
    """One assigned device."""
    name, source = str(hostdev.alias), hostdev.source
    if hostdev.mode != "subsystem" or source is None:
        raise unsupported(f"hostdev '{name}' of mode '{hostdev.mode}'")
    order = setup.boot.get(name)
    match hostdev.type:
        case "pci" if hostdev.driver_name in (None, "vfio"):
            where = source.address
            host = (f"{where.domain or 0:04x}:{where.bus or 0:02x}:{where.slot or 0:02x}.{where.function or 0:x}"
                    if where is not None else None)
            return [part_device("vfio-pci", name, host=host, bootindex=order, **rom(hostdev), **place(hostdev, setup))]
        case "usb":
            bus, device = (source.address.bus, source.address.device) if source.address else (None, None)
            if bus is None or device is None:
                raise LibvirtError(c.VIR_ERR_OPERATION_FAILED, f"USB device of '{name}' was not found on this node",
                                   domain=c.VIR_FROM_NONE)
            return [part_device("usb-host", name, hostdevice=f"/dev/bus/usb/{bus:03d}/{device:03d}", bootindex=order,
                                guest_reset=None if source.guest_reset is None else source.guest_reset != "off",
                                **place(hostdev, setup))]
        case "mdev" if hostdev.model in (None, "vfio-pci") and source.address is not None:
            return [part_device("vfio-pci", name, sysfsdev=f"/sys/bus/mdev/devices/{source.address.uuid}",
                                display=switch(hostdev.display), ramfb=hostdev.ramfb or None, bootindex=order,
                                **place(hostdev, setup))]
    raise unsupported(f"hostdev '{name}' of type '{hostdev.type}'")
