"""Devices of the host that a guest gets for itself: PCI functions, USB devices, mediated devices."""

from __future__ import annotations

from virtbus_domain.drivers.qemu.command.arguments import unsupported
from virtbus_domain.drivers.qemu.command.parts import Part, part_device
from virtbus_domain.drivers.qemu.command.place import place, rom, switch
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.address import HostPciAddress
from virtbus_domain.xml.hostdev import Hostdev, HostUsbAddress, MdevAddress
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError


def hostdev_parts(hostdev: Hostdev, setup: Setup) -> list[Part]:
    """One assigned device."""
    name, source = str(hostdev.alias), hostdev.source
    if hostdev.mode != "subsystem" or source is None:
        raise unsupported(f"hostdev '{name}' of mode '{hostdev.mode}'")
    order, address = setup.boot.get(name), source.address
    if hostdev.type == "pci" and isinstance(address, HostPciAddress) and hostdev.driver_name in (None, "vfio"):
        host = f"{address.domain or 0:04x}:{address.bus or 0:02x}:{address.slot or 0:02x}.{address.function or 0:x}"
        return [part_device("vfio-pci", name, host=host, failover_pair_id=hostdev.teaming_persistent, bootindex=order,
                            **rom(hostdev), **place(hostdev, setup))]
    if hostdev.type == "usb":
        if not isinstance(address, HostUsbAddress):
            raise LibvirtError(c.VIR_ERR_OPERATION_FAILED, f"USB device of '{name}' was not found on this node",
                               domain=c.VIR_FROM_NONE)
        node = f"/dev/bus/usb/{address.bus or 0:03d}/{address.device or 0:03d}"
        return [part_device("usb-host", name, hostdevice=node, bootindex=order,
                            guest_reset=None if source.guest_reset is None else source.guest_reset != "off",
                            **place(hostdev, setup))]
    if hostdev.type == "mdev" and isinstance(address, MdevAddress) and hostdev.model in (None, "vfio-pci"):
        return [part_device("vfio-pci", name, sysfsdev=f"/sys/bus/mdev/devices/{address.uuid}",
                            display=switch(hostdev.display), ramfb=hostdev.ramfb or None, bootindex=order,
                            **place(hostdev, setup))]
    raise unsupported(f"hostdev '{name}' of type '{hostdev.type}'")
