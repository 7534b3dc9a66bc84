"""Devices of the host that a guest gets for itself: PCI functions, USB devices, mediated devices."""

from __future__ import annotations

from virtbus_domain.drivers.qemu.command.arguments import unsupported
from virtbus_domain.drivers.qemu.command.parts import Part, part_device
from virtbus_domain.drivers.qemu.command.place import Properties, place, rom, switch
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.address import HostPciAddress, PciAddress
from virtbus_domain.xml.hostdev import Hostdev, HostdevSource, HostUsbAddress, MdevAddress
from virtbus_domain.xml.interface import Interface

# When the guest may reset a device of the host: each time, before it has set it up only, or never.
_GUEST_RESETS: dict[str | None, Properties] = {
    None: {}, "on": {"guest_reset": True, "guest_resets_all": True},
    "uninitialized": {"guest_reset": True, "guest_resets_all": False}, "off": {"guest_reset": False}}


def hostdev_parts(hostdev: Hostdev, setup: Setup) -> list[Part]:
    """One assigned device."""
    name, source = str(hostdev.alias), hostdev.source
    if hostdev.mode != "subsystem" or source is None:
        raise unsupported(f"hostdev '{name}' of mode '{hostdev.mode}'")
    order, address = setup.boot.get(name), source.address
    if hostdev.type == "pci" and isinstance(address, HostPciAddress) and hostdev.driver_name in (None, "vfio"):
        return [assigned_function(hostdev, address, setup)]
    if hostdev.type == "usb":
        if source.missing:  # and may be: there is nothing to hand over
            return []
        return [part_device("usb-host", name, **_usb(source), bootindex=order, **_GUEST_RESETS[source.guest_reset],
                            **place(hostdev, setup))]
    if hostdev.type == "mdev" and isinstance(address, MdevAddress) and hostdev.model in (None, "vfio-pci"):
        return [part_device("vfio-pci", name, sysfsdev=f"/sys/bus/mdev/devices/{address.uuid}",
                            display=switch(hostdev.display), ramfb=hostdev.ramfb or None, bootindex=order,
                            **place(hostdev, setup))]
    raise unsupported(f"hostdev '{name}' of type '{hostdev.type}'")


def assigned_function(device: Hostdev | Interface, address: HostPciAddress | PciAddress, setup: Setup) -> Part:
    """The guest's end of a PCI function of the host; ``device`` is what the document calls it."""
    name = str(device.alias)
    return part_device("vfio-pci", name, host=pci_name(address), failover_pair_id=device.teaming_persistent,
                       bootindex=setup.boot.get(name), **rom(device), **place(device, setup))


def pci_name(address: HostPciAddress | PciAddress) -> str:
    """What the host calls a PCI function."""
    return (f"{address.domain or 0:04x}:{address.bus or 0:02x}:{address.slot or 0:02x}"
            f".{address.function or 0:x}")


def _usb(source: HostdevSource) -> Properties:
    """Which device: where it is plugged in, once somebody has looked, or else what it is."""
    address = source.address
    if isinstance(address, HostUsbAddress):
        return {"hostdevice": f"/dev/bus/usb/{address.bus or 0:03d}/{address.device or 0:03d}"}
    return {"vendorid": source.vendor_id, "productid": source.product_id}
