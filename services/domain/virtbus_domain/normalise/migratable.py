"""A definition as it is sent to another host: without what every machine has anyway and old releases cannot read.

libvirt has added implicit devices to documents over the years; a release that does not know one of them refuses it.
The other side fills them in again when it reads the document.
"""

from __future__ import annotations

from virtbus_domain.normalise.display import default_audio
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.domain import Devices, Domain


def drop_implicit(domain: Domain) -> None:
    """Remove the PS/2 keyboard, the default back end of sound, and a PC's only USB controller and bare PCI root."""
    devices = domain.devices
    if devices is None:
        return
    devices.inputs = [device for device in devices.inputs if (device.type, device.bus) != ("keyboard", "ps2")]
    if devices.audios == [default_audio(devices)]:
        devices.audios = []
    devices.controllers = [controller for controller in devices.controllers
                           if not _is_implicit(controller, devices)]


def _is_implicit(controller: Controller, devices: Devices) -> bool:
    alone = sum(other.type == controller.type for other in devices.controllers) == 1
    if not alone or controller.index or (controller.alias or "").startswith("ua-"):
        return False
    if controller.type == "usb":
        return controller.model == "piix3-uhci"
    return controller.type == "pci" and controller.model == "pci-root" and controller.pcihole64 is None
