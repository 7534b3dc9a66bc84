"""Devices of the host that a guest is to get: which one is meant, and whether it can be handed over at all.

A USB device may be meant by its product; which port it is in changes, so it is looked for when the guest starts. PCI
functions and mediated devices go through VFIO, and a function must be bound to VFIO's driver by then: taking it from
its own driver and giving it back is for whoever manages the node's devices.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from virtbus_domain.drivers.qemu.command.hostdev import pci_name
from virtbus_domain.xml.address import HostPciAddress, PciAddress
from virtbus_domain.xml.domain import Devices
from virtbus_domain.xml.hostdev import HostdevSource, HostUsbAddress
from virtbus_domain.xml.interface import Interface
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

SYSFS = Path("/sys")
_VFIO = Path("/dev/vfio/vfio")
_VFIO_DRIVER = "vfio-pci"


class UsbDevice(NamedTuple):
    """A USB device of the host."""

    bus: int
    device: int
    vendor: int
    product: int


def find_host_devices(devices: Devices, sysfs: Path = SYSFS) -> None:
    """Complete the host devices of a domain with what is meant; it blocks. Raises ``LibvirtError``."""
    for hostdev in devices.hostdevs:
        if hostdev.type == "usb" and hostdev.source is not None:
            _find_usb(hostdev.source, sysfs)
        elif hostdev.type == "pci" and hostdev.source is not None and isinstance(
                hostdev.source.address, HostPciAddress):
            _check_pci(hostdev.source.address, sysfs, managed=bool(hostdev.managed))
        elif hostdev.type == "mdev":
            _require_vfio("Mediated host device assignment requires VFIO support", sysfs)
    for interface in devices.interfaces:
        if interface.type == "hostdev":
            _check_network_function(interface, sysfs)


# --- USB ------------------------------------------------------------------------------------------------------------


def usb_devices(sysfs: Path = SYSFS) -> Iterator[UsbDevice]:
    """The USB devices of the host. Raises ``LibvirtError`` where there is no USB."""
    directory = sysfs / "bus/usb/devices"
    try:
        entries = sorted(os.listdir(directory))
    except OSError as error:
        raise LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"cannot open directory '{directory}': {error.strerror}",
                           domain=c.VIR_FROM_NONE, int1=error.errno or -1) from error
    for name in entries:
        if ":" in name:  # an interface of a device
            continue
        try:
            numbers = [int((directory / name / file).read_text(), base) for file, base in (
                ("busnum", 10), ("devnum", 10), ("idVendor", 16), ("idProduct", 16))]
        except (OSError, ValueError):  # it was pulled out meanwhile
            continue
        yield UsbDevice(*numbers)


def _find_usb(source: HostdevSource, sysfs: Path) -> None:
    address = source.address if isinstance(source.address, HostUsbAddress) else None
    found = [device for device in usb_devices(sysfs) if _is_meant(device, source, address)]
    if not found:
        if source.startup_policy == "optional":
            source.missing = True
            return
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, f"Did not find USB device {_called(source, address)}",
                           domain=c.VIR_FROM_NONE)
    if len(found) > 1:
        raise LibvirtError(
            c.VIR_ERR_OPERATION_FAILED,
            f"Multiple USB devices for {_called(source, None)}, use <address> to specify one", domain=c.VIR_FROM_NONE)
    source.address = HostUsbAddress(bus=found[0].bus, device=found[0].device)


def _is_meant(device: UsbDevice, source: HostdevSource, address: HostUsbAddress | None) -> bool:
    wanted = ((source.vendor_id, device.vendor), (source.product_id, device.product),
              (address.bus if address else None, device.bus), (address.device if address else None, device.device))
    return all(want is None or want == has for want, has in wanted)


def _called(source: HostdevSource, address: HostUsbAddress | None) -> str:
    product = "" if source.vendor_id is None else f"{source.vendor_id:04x}:{source.product_id or 0:04x}"
    place = "" if address is None else f"bus:{address.bus} device:{address.device}"
    return " ".join(part for part in (product, place) if part)


# --- PCI ------------------------------------------------------------------------------------------------------------


def _check_network_function(interface: Interface, sysfs: Path) -> None:
    address = interface.source.device_address if interface.source else None
    if isinstance(address, PciAddress):
        _check_pci(address, sysfs, managed=bool(interface.managed))
    # The guest would come up with an address that is not its own.
    raise LibvirtError(
        c.VIR_ERR_CONFIG_UNSUPPORTED,
        f"the address '{interface.mac}' of '{interface.alias}' cannot be given to a function of the host's card yet",
        domain=c.VIR_FROM_QEMU)


def _check_pci(address: HostPciAddress | PciAddress, sysfs: Path, *, managed: bool) -> None:
    _require_vfio("host doesn't support passthrough of host PCI devices", sysfs)
    name = pci_name(address)
    device = sysfs / "bus/pci/devices" / name
    if not device.exists():
        raise LibvirtError(
            c.VIR_ERR_SYSTEM_ERROR,
            f"Device {name} not found: could not access {device}/config: No such file or directory",
            domain=c.VIR_FROM_NONE, int1=2)
    driver = device / "driver"
    bound = driver.resolve().name if driver.exists() else None
    if bound == _VFIO_DRIVER:
        return
    if managed:
        raise LibvirtError(
            c.VIR_ERR_CONFIG_UNSUPPORTED,
            f"PCI device {name} is with driver '{bound}' and cannot be taken from it yet: bind it to {_VFIO_DRIVER}",
            domain=c.VIR_FROM_QEMU)
    raise LibvirtError(c.VIR_ERR_OPERATION_INVALID,
                       f"Unmanaged PCI device {name} must be manually detached from the host",
                       domain=c.VIR_FROM_NONE)


def _require_vfio(detail: str, sysfs: Path) -> None:
    """Refuse where the kernel has no VFIO, or no IOMMU to keep devices apart with."""
    try:
        groups = os.listdir(sysfs / "kernel/iommu_groups")
    except OSError:
        groups = []
    if not groups or not _VFIO.exists():
        raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED, detail, domain=c.VIR_FROM_QEMU)
