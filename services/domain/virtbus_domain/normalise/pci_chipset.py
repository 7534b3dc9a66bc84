"""The parts of a machine that sit on its root bus in fixed places, whether a document shows them or not.

An i440fx machine has a PIIX3 in slot 1, a q35 machine an ICH9 in slot 0x1f. QEMU adds the first display next, which so
always was in the first slot after; it stays there. A real ICH9 has more parts, at places which their like get on q35
too when they are free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from virtbus_domain.normalise.pci_buses import (
    CONVENTIONAL,
    PCIE_DEVICE,
    PciBuses,
    address_of,
    is_empty,
    place_of,
    wants_address,
)
from virtbus_domain.xml.address import PciAddress
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.domain import Devices
from virtbus_domain.xml.video import Video
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_PIIX3_ISA, _PIIX3_IDE, _PIIX3_USB, _PIIX3_PM, _I440FX_VIDEO = 1 << 3, 1 << 3 | 1, 1 << 3 | 2, 1 << 3 | 3, 2 << 3
_ICH9_ISA, _ICH9_SATA, _ICH9_SMBUS, _Q35_VIDEO = 0x1F << 3, 0x1F << 3 | 2, 0x1F << 3 | 3, 1 << 3
_ICH9_USB, _ICH9_BRIDGE, _ICH9_SOUND = (0x1D << 3, 0x1A << 3), 0x1E << 3, 0x1B << 3


def is_i440fx(machine: str) -> bool:
    """Whether it is QEMU's "pc", of any age."""
    return machine == "pc" or machine.startswith(("pc-i440", "pc-0.", "pc-1.", "rhel"))


def is_q35(machine: str) -> bool:
    """Whether it is QEMU's "q35", of any age."""
    return machine == "q35" or machine.startswith("pc-q35")


def is_piix3_part(controller: Controller) -> bool:
    """Whether a controller is the PIIX3's own by its kind and its address."""
    if controller.index != 0 or controller.type not in ("ide", "usb"):
        return False
    address = controller.address
    if type(address) is not PciAddress or address.domain:
        return False
    place = place_of(address)
    return (controller.type == "ide" and place == _PIIX3_IDE) or (_is_piix3_usb(controller) and place == _PIIX3_USB)


def claim_chipset(machine: str, devices: Devices, buses: PciBuses) -> Sequence[Video]:
    """Reserve what belongs to the machine, and address the devices that are parts of it.

    Returns the first display if something else has its slot: then it is the first to be given another.
    """
    if is_i440fx(machine):
        return _claim_piix3(devices, buses)
    if is_q35(machine):
        return _claim_ich9(devices, buses)
    return ()


def _is_piix3_usb(controller: Controller) -> bool:
    return controller.type == "usb" and controller.model in (None, "piix3-uhci")


def _claim_piix3(devices: Devices, buses: PciBuses) -> Sequence[Video]:
    for controller in devices.controllers:
        if controller.index != 0:
            continue
        if controller.type == "ide":
            _integrate(controller, _PIIX3_IDE, "Primary IDE controller", buses, CONVENTIONAL)
        elif _is_piix3_usb(controller):
            _integrate(controller, _PIIX3_USB, "PIIX3 USB controller at index 0", buses, CONVENTIONAL)
    if not buses.models:
        return ()
    _reserve(_PIIX3_ISA, buses)
    _reserve(_PIIX3_PM, buses)
    return _place_first_video(devices.videos, _I440FX_VIDEO, buses, CONVENTIONAL)


def _claim_ich9(devices: Devices, buses: PciBuses) -> Sequence[Video]:
    for controller in devices.controllers:
        if controller.type == "sata":
            if controller.index == 0:
                _integrate(controller, _ICH9_SATA, "Primary SATA controller", buses, PCIE_DEVICE)
        elif controller.address is not None:
            continue
        elif controller.type == "usb" and controller.model == "ich9-uhci1":
            place = next((place for place in _ICH9_USB if not buses.in_use(place)), None)
            if place is not None:
                put(controller, place, buses, PCIE_DEVICE).multifunction = True
        elif controller.model == "dmi-to-pci-bridge" and not buses.in_use(_ICH9_BRIDGE):
            put(controller, _ICH9_BRIDGE, buses, PCIE_DEVICE)
    early: Sequence[Video] = ()
    if buses.models:
        _reserve(_ICH9_ISA, buses)
        _reserve(_ICH9_SMBUS, buses)
        early = _place_first_video(devices.videos, _Q35_VIDEO, buses, PCIE_DEVICE)
    if devices.sounds and not buses.in_use(_ICH9_SOUND):
        sound = next((sound for sound in devices.sounds if sound.model == "ich9" and wants_address(sound)), None)
        if sound is not None:
            put(sound, _ICH9_SOUND, buses, PCIE_DEVICE)
    return early


def put(device: Any, place: int, buses: PciBuses, kind: int) -> PciAddress:
    """Give a device a place that is known to exist, as if its document had asked for it."""
    buses.take(place, device, kind)
    address: PciAddress = address_of(place)
    device.address = address
    return address


def _reserve(place: int, buses: PciBuses) -> None:
    """Keep a place for a part of the chipset that no document shows."""
    buses.take(place, None, 0)


def _integrate(controller: Controller, place: int, name: str, buses: PciBuses, kind: int) -> None:
    """A part of the chipset is where it is; a document may say so, but nothing else."""
    address = controller.address
    if type(address) is not PciAddress or is_empty(address):
        address = controller.address = address_of(place)
    elif address.domain or place_of(address) != place:
        detail = f"{name} must have PCI address 0:0:{place >> 3:x}.{place & 7}"
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, detail, domain=c.VIR_FROM_QEMU)
    if buses.models and buses.holder(address) is not controller:
        buses.take(place, controller, kind)


def _place_first_video(videos: Sequence[Video], place: int, buses: PciBuses, kind: int) -> Sequence[Video]:
    first = videos[:1]
    if not first or first[0].model in ("none", "ramfb") or not wants_address(first[0]):
        return ()
    if buses.in_use(place):
        return first
    put(first[0], place, buses, kind)
    return ()
