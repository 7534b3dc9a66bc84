"""Where a device of a command line sits, what it is called, and what all devices of one command share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from virtbus_domain.drivers.qemu.native.values import Command, Values
from virtbus_domain.xml.address import (
    CcidAddress,
    DimmAddress,
    IsaAddress,
    PciAddress,
    UsbAddress,
    VirtioSerialAddress,
)
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_shared.service.xml_lines import Element

D = TypeVar("D", bound=Element)
_TRANSPORT = {"iommu": "iommu_platform", "ats": "ats", "packed": "packed", "page_per_vq": "page-per-vq"}


class Reader:
    """What reading one device needs to know of the others.

    ``controllers`` have kind and number of each controller by name, ``scsi_models`` the model of the SCSI ones by
    number; ``names`` has what the devices read so far are called.
    """

    def __init__(self, command: Command, domain: Domain, controllers: Mapping[str, tuple[str, int]],
                 scsi_models: Mapping[int, str]) -> None:
        assert domain.devices is not None
        self.command = command
        self.domain = domain
        self.devices: Devices = domain.devices
        self.controllers = controllers
        self.scsi_models = scsi_models
        self.names: dict[int, str] = {}

    def name(self, device: D, item: Values) -> D:
        """Give a device its name if a user chose it, and its place in the boot order."""
        self.names[id(device)] = item.id
        if item.id.startswith("ua-"):
            device.alias = item.id  # type: ignore[attr-defined]  # every device has these lines
        if hasattr(device, "boot_order"):
            device.boot_order = item.number("bootindex")
        return device

    def sit(self, device: D, item: Values) -> D:
        """As ``name``, with where the device sits."""
        self.name(device, item).address = self._place(item)  # type: ignore[attr-defined]
        if hasattr(device, "acpi_index"):
            device.acpi_index = item.number("acpi-index")
        return device

    def branch(self, item: Values) -> tuple[str, int, int]:
        """The kind and number of the controller whose bus a device is on, and which of its buses."""
        name, _, branch = item.required_text("bus").rpartition(".")
        if name not in self.controllers or not branch.isdecimal() or len(branch) > len("1000"):
            raise item.wrong("bus")
        return (*self.controllers[name], int(branch))

    def _place(self, item: Values) -> Element | None:
        if not item.has("bus"):
            if item.has("iobase"):
                return IsaAddress(iobase=item.number("iobase"), irq=item.number("irq"))
            return DimmAddress(slot=item.number("slot"), base=item.number("addr")) if item.has("slot") else None
        bus = item.required_text("bus")
        kind, number = self.controllers.get(bus, ("", 0))
        if kind == "pci":
            return self._function(number, item)
        kind, number, branch = self.branch(item)
        match kind:
            case "usb":
                return UsbAddress(bus=number, port=item.required_text("port"))
            case "virtio-serial":
                return VirtioSerialAddress(controller=number, bus=branch, port=item.required_number("nr"))
            case "ccid":
                return CcidAddress(controller=number, slot=branch)
        raise item.wrong("bus")

    def _function(self, bus: int, item: Values) -> PciAddress:
        slot, _, function = item.required_text("addr").partition(".")
        try:
            place = int(slot, 16), int(function or "0", 16)
        except ValueError:
            raise item.wrong("addr") from None
        return PciAddress(domain=0, bus=bus, slot=place[0], function=place[1], multifunction=item.flag("multifunction"))


def encrypted(reader: Reader, end: Values, *, server: bool) -> bool | None:
    """Whether one end of a connection is encrypted. With which certificates is the node's business."""
    name = end.text("tls-creds")
    if name is None:
        return None
    credentials = reader.command.named("-object", name)
    credentials.expect("endpoint", "server" if server else "client")
    credentials.expect("verify-peer", True)
    credentials.skip("dir")
    return True


def transport(item: Values, prefix: str = "") -> dict[str, Any]:
    """What every virtio device can be told about its transport, by our names of it."""
    return {f"{prefix}{ours}": item.flag(theirs) for ours, theirs in _TRANSPORT.items()}
