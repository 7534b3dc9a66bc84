"""What each device has to be plugged into when it sits on PCI: a conventional slot, or a port of PCI Express.

A machine with a PCI Express root has both; there modern devices get a port each, and old ones share the slots behind a
bridge. On a conventional machine everything is a conventional device. The numbers are those of ``pci_buses.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from virtbus_domain.normalise.pci_buses import CONTROLLER_KINDS, CONVENTIONAL, EXPRESS, INTEGRATED, PCI_DEVICE
from virtbus_domain.xml.address import HostPciAddress, PciAddress
from virtbus_domain.xml.chardev import Chardev
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.crypto import Crypto
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.filesystem import Filesystem
from virtbus_domain.xml.hostdev import Hostdev
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.interface import Interface
from virtbus_domain.xml.iommu import Iommu
from virtbus_domain.xml.memballoon import Memballoon
from virtbus_domain.xml.memory_device import MemoryDevice
from virtbus_domain.xml.rng import Rng
from virtbus_domain.xml.shmem import Shmem
from virtbus_domain.xml.sound import Sound
from virtbus_domain.xml.video import Video
from virtbus_domain.xml.vsock import Vsock
from virtbus_domain.xml.watchdog import Watchdog
from virtbus_shared.service.xml_lines import Element

# In the tables below: a modern device, which is an express one where the machine has PCI Express at all; a device that
# is none of PCI; and one that libvirt looks a place for although there is none for its like, and so refuses.
_MODERN, _ELSEWHERE, _NOWHERE = -1, None, 0

_SYSFS = Path("/sys/bus/pci/devices")
_EXPRESS_CAPABILITY = 0x10

_VIRTIO = {"virtio-transitional": CONVENTIONAL}
_USB = {"nec-xhci": _MODERN, "qemu-xhci": _MODERN, "none": _ELSEWHERE, "qusb1": _NOWHERE, "qusb2": _NOWHERE}
_SCSI = {"virtio-scsi": _MODERN, "virtio-non-transitional": _MODERN, "ncr53c90": _ELSEWHERE, None: _NOWHERE}
# By type of controller, the kinds of models, and of all others.
_CONTROLLERS: dict[str | None, tuple[Mapping[Any, int | None], int | None]] = {
    "pci": (CONTROLLER_KINDS, _ELSEWHERE), "usb": (_USB, CONVENTIONAL), "scsi": (_SCSI, CONVENTIONAL),
    "virtio-serial": (_VIRTIO, _MODERN), "sata": ({}, CONVENTIONAL), "ide": ({}, CONVENTIONAL),
    "fdc": ({}, _ELSEWHERE), "ccid": ({}, _ELSEWHERE),
}
# Cards that libvirt knows and that are conventional; what it does not know is taken for a host's, which are express.
_CONVENTIONAL_CARDS = dict.fromkeys(
    ("rtl8139", "e1000", "virtio-transitional", "netfront", "vmxnet", "vmxnet2", "vmxnet3", "vlance", "Am79C970A",
     "Am79C973", "82540EM", "82545EM", "82543GC", "lan9118", "spapr-vlan"), CONVENTIONAL) | {"usb-net": _NOWHERE}
_SOUNDS = {"sb16": _ELSEWHERE, "pcspk": _ELSEWHERE, "usb": _ELSEWHERE, "ich7": _NOWHERE}
_VIDEOS = {"none": _ELSEWHERE, "ramfb": _ELSEWHERE, "virtio": _MODERN, "bochs": _MODERN, "gop": _NOWHERE}
_BALLOONS = _VIRTIO | {"none": _ELSEWHERE, "xen": _ELSEWHERE}


def host_is_express(address: HostPciAddress | PciAddress, sysfs: Path = _SYSFS) -> bool:
    """Whether a PCI device of the host is an express one; one that is not there probably will be."""
    name = f"{address.domain or 0:04x}:{address.bus or 0:02x}:{address.slot or 0:02x}.{address.function or 0:x}"
    try:
        config = (sysfs / name / "config").read_bytes()
    except OSError:
        return True
    # The list of capabilities begins at 0x34 if the status register says that there is one.
    position = config[0x34] & ~3 if len(config) >= 64 and config[6] & 0x10 else 0
    for _ in range(48):  # as many as there is room for, should the list be a circle
        if not position or position + 1 >= len(config):
            return False
        if config[position] == _EXPRESS_CAPABILITY:
            return True
        position = config[position + 1] & ~3
    return False


def _controller(controller: Controller) -> int | None:
    models, others = _CONTROLLERS.get(controller.type, ({}, _NOWHERE))
    return models.get(controller.model, others)


def _disk(disk: Disk) -> int | None:
    return _VIRTIO.get(disk.model or "", _MODERN) if disk.target_bus == "virtio" else _ELSEWHERE


def _filesystem(filesystem: Filesystem) -> int | None:
    if filesystem.driver_type in (None, "path", "handle"):
        return _VIRTIO.get(filesystem.model or "", _MODERN)
    return _MODERN if filesystem.driver_type == "virtiofs" else _NOWHERE


def _interface(interface: Interface) -> int | None:
    return _CONVENTIONAL_CARDS.get(interface.model or "", _MODERN)


def _hostdev(hostdev: Hostdev) -> int | None:
    if hostdev.mode != "subsystem":
        return _ELSEWHERE
    if hostdev.type == "mdev":
        return _MODERN if hostdev.model == "vfio-pci" else _ELSEWHERE
    if hostdev.type == "scsi_host":
        return _VIRTIO.get(hostdev.model or "", _MODERN)
    return _MODERN if hostdev.type == "pci" else _ELSEWHERE


def _input(device: Input) -> int | None:
    return _VIRTIO.get(device.model or "", _MODERN) if device.bus == "virtio" else _ELSEWHERE


def _chardev(chardev: Chardev) -> int | None:
    return CONVENTIONAL if chardev.target and chardev.target.type == "pci-serial" else _ELSEWHERE


def _virtio(device: Any) -> int | None:
    return _VIRTIO.get(device.model or "", _MODERN)


def _iommu(iommu: Iommu) -> int | None:
    return _MODERN if iommu.model == "virtio" else _ELSEWHERE


def _memory(memory: MemoryDevice) -> int | None:
    return _MODERN if memory.model in ("virtio-mem", "virtio-pmem") else _ELSEWHERE


_KINDS: dict[type[Element], Callable[[Any], int | None]] = {
    Controller: _controller, Disk: _disk, Filesystem: _filesystem, Interface: _interface, Hostdev: _hostdev,
    Input: _input, Chardev: _chardev, Rng: _virtio, Vsock: _virtio, Iommu: _iommu, MemoryDevice: _memory,
    Memballoon: lambda balloon: _BALLOONS.get(balloon.model, _MODERN),
    Sound: lambda sound: _SOUNDS.get(sound.model, CONVENTIONAL),
    Video: lambda video: _VIDEOS.get(video.model, CONVENTIONAL),
    Watchdog: lambda watchdog: CONVENTIONAL if watchdog.model == "i6300esb" else _ELSEWHERE,
    Shmem: lambda shmem: CONVENTIONAL,
    Crypto: lambda crypto: CONVENTIONAL,
}


def pci_kind(device: Element, *, express: bool) -> int | None:
    """What a device has to be plugged into, in a machine with PCI Express or without.

    None for a device that does not sit on PCI; 0 where libvirt looks for a place and finds that there is none. Of a
    device of the host, all that is seen here is that it is one: ``host_is_express`` tells more.
    """
    of_device = _KINDS.get(type(device))
    kind = of_device(device) if of_device else _ELSEWHERE
    if kind != _MODERN:
        return kind
    kind = EXPRESS if express else CONVENTIONAL
    return kind | INTEGRATED if type(device) is Iommu else kind


def given_kind(device: Element, *, express: bool) -> int:
    """As ``pci_kind``, for a device whose document gives it a PCI address, be it right or not.

    One of the host is taken for an express one then, even if its model says otherwise.
    """
    kind = pci_kind(device, express=express)
    return EXPRESS if express and kind and type(device) is Hostdev else kind or PCI_DEVICE
