"""PCI addresses: what the chipset has in fixed places, what the user chose, and a place for everything else.

libvirt first tries out how many buses it takes to seat all devices, adds controllers for those that are missing, and
then seats everything, controllers first. The trial is not the same as the result: it has new controllers last, keeps a
slot free for a bridge to come (on a conventional machine) or a port for a device to come (on a PCI Express one that is
new), gives each part of a USB 2 controller a slot of its own, and seats a first display twice that is not in its usual
place. All of that shows in the result, and so is done here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from virtbus_domain.normalise.addresses import claiming
from virtbus_domain.normalise.context import Context, qemu_unsupported
from virtbus_domain.normalise.pci_buses import (
    CONTROLLER_KINDS,
    CONVENTIONAL,
    EXPRESS,
    PCI_DEVICE,
    PCIE_DEVICE,
    ROOT_PORT,
    PciBuses,
    address_of,
    is_empty,
    place_of,
    wants_address,
)
from virtbus_domain.normalise.pci_chipset import claim_chipset, is_piix3_part, put
from virtbus_domain.normalise.pci_kinds import given_kind, host_is_express, pci_kind
from virtbus_domain.xml.address import CcwAddress, HostPciAddress, PciAddress, VirtioMmioAddress
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.hostdev import Hostdev
from virtbus_domain.xml.interface import Interface
from virtbus_domain.xml.iommu import Iommu
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

# A device in want of a place, and what it is to be plugged into.
Want = tuple[Any, int]

# What QEMU calls the device behind each model of controller.
_MODEL_NAMES = {
    "pci-bridge": "pci-bridge", "dmi-to-pci-bridge": "i82801b11-bridge", "pcie-to-pci-bridge": "pcie-pci-bridge",
    "pcie-root-port": "pcie-root-port", "pcie-switch-upstream-port": "x3130-upstream",
    "pcie-switch-downstream-port": "xio3130-downstream", "pci-expander-bus": "pxb", "pcie-expander-bus": "pxb-pcie",
}
# The functions of a USB 2 controller, all in one slot: that of fast devices, and its companions for slow ones.
_USB2 = {"ich9-uhci1": 0, "ich9-uhci2": 1, "ich9-uhci3": 2, "ich9-ehci1": 7}


def assign_pci(domain: Domain, context: Context) -> None:
    """Give every PCI device an address and every bus a controller. Raises ``LibvirtError`` when they do not fit."""
    if not context.qemu:
        return
    seating = _Seating(domain)
    if seating.buses.models or (domain.os and domain.os.arch in ("x86_64", "i686")):
        seating.assign()


def pci_buses(domain: Domain) -> PciBuses:
    """The buses of a definition that has all its addresses, for devices that come and go while it runs."""
    seating = _Seating(domain)
    seating.claim()
    return seating.buses


def _usual_kind(device: Controller | Iommu) -> int:
    """What a device of an unusual kind claims a place with; 0 for one that has to be looked at more closely."""
    if type(device) is not Controller or is_piix3_part(device):
        return 0
    return CONTROLLER_KINDS.get(device.model or "", 0) if device.type == "pci" else PCI_DEVICE | PCIE_DEVICE


class _Seating:
    """One domain while its devices are given PCI addresses."""

    def __init__(self, domain: Domain) -> None:
        assert domain.devices
        self.devices: Devices = domain.devices
        self.machine = (domain.os.machine if domain.os else None) or ""
        known = {controller.index or 0: controller for controller in self.devices.controllers
                 if controller.type == "pci"}
        self.given = max(known, default=-1) + 1
        self.root = known[0].model if 0 in known else None
        self.express = self.root == "pcie-root"
        self.complete = len(known) == self.given
        self.buses = PciBuses()
        for index in range(self.given):
            controller = known.get(index)
            if controller is not None:
                self.buses.add(controller.model or "", hotplug=controller.target_hotplug is not False)
            else:
                self.buses.add("pci-root" if index == 0 else "pcie-root-port" if self.express else "pci-bridge")
        # In want of a place: those before any controller, and those after.
        self.early: list[Want] = []
        self.late: list[Want] = []

    def assign(self) -> None:
        """All of it, in libvirt's order."""
        self.buses.growing = bool(self.buses.models)
        self.claim()
        ports = self._ports_in_want()
        self._find_devices_in_want()
        if self._may_lack_buses([*self.early, *ports, *self.late]):
            self._add_missing_buses([*ports, *self.late])
            ports = self._ports_in_want()
        self.buses.settle()
        for device, kind in (*self.early, *ports, *self.late):
            if wants_address(device):
                self._seat(device, kind)
        for device in self.buses.first_of_many():
            address = cast(Any, device).address
            if address.multifunction is None:
                address.multifunction = True
        self._complete_controllers()

    def claim(self) -> None:
        """Reserve the addresses that are given, and those of the chipset."""
        for device in self.buses.claim(claiming(self.devices), _usual_kind):
            self._claim(device)
        self.early = [(video, pci_kind(video, express=self.express) or 0)
                      for video in claim_chipset(self.machine, self.devices, self.buses)]

    def _claim(self, device: Any) -> None:
        if type(device) is Controller and is_piix3_part(device):
            if self.express:
                raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "Bus 0 must be PCI for integrated PIIX3 USB or IDE "
                                   "controllers", domain=c.VIR_FROM_QEMU)
            return  # the chipset's; without a PIIX3 the address means nothing
        self.buses.reserve(device.address, device, given_kind(device, express=self.express))

    # --- what is in want of a place ---------------------------------------------------------------------------------

    def _ports_in_want(self) -> list[Want]:
        return [(controller, CONTROLLER_KINDS[controller.model or ""]) for controller in self.devices.controllers
                if controller.type == "pci" and controller.model in CONTROLLER_KINDS and wants_address(controller)]

    def _find_devices_in_want(self) -> None:
        """Fill ``late``, in libvirt's order."""
        devices = self.devices
        assigned = [interface for interface in devices.interfaces if interface.type == "hostdev"]
        self._want(devices.filesystems)
        self._want(interface for interface in devices.interfaces if interface.type != "hostdev")
        self._want(devices.sounds)
        self._want_controllers()
        self._want_disks()
        self._want_hostdevs([*assigned, *devices.hostdevs])
        self._want((devices.memballoon,))
        self._want(devices.rngs)
        self._want(devices.watchdogs)
        self._want(devices.videos)
        self._want(devices.shmems)
        self._want(devices.inputs)
        self._want(devices.serials)
        self._want((devices.iommu, devices.vsock))
        self._want(devices.memories)
        self._want(devices.cryptos)

    def _want(self, devices: Iterable[Any]) -> None:
        express, late = self.express, self.late
        for device in devices:
            if device is not None and (device.address is None or wants_address(device)):
                kind = pci_kind(device, express=express)
                if kind is not None:
                    late.append((device, kind))

    def _want_controllers(self) -> None:
        for controller in self.devices.controllers:
            if controller.type == "pci" or (controller.type == "ide" and controller.index == 0):
                continue
            if wants_address(controller):
                kind = pci_kind(controller, express=self.express)
                if kind is not None and not (controller.model in _USB2 and self._join_usb2(controller, kind)):
                    self.late.append((controller, kind))

    def _want_disks(self) -> None:
        for disk in self.devices.disks:
            if disk.target_bus != "virtio":
                continue
            if wants_address(disk):
                self.late.append((disk, cast(int, pci_kind(disk, express=self.express))))
            elif not isinstance(disk.address, PciAddress | CcwAddress | VirtioMmioAddress):
                kind = getattr(disk.address, "type", None)
                raise qemu_unsupported(f"virtio disk cannot have an address of type '{kind}'")

    def _want_hostdevs(self, hostdevs: Iterable[Interface | Hostdev]) -> None:
        for hostdev in hostdevs:
            if not wants_address(hostdev):
                continue
            kind: int | None = EXPRESS if self.express else CONVENTIONAL
            host: Any = None
            if type(hostdev) is Hostdev:
                kind = pci_kind(hostdev, express=self.express)
                if hostdev.type == "pci" and hostdev.source:
                    host = hostdev.source.address
            elif type(hostdev) is Interface and hostdev.source:
                host = hostdev.source.device_address
                if not isinstance(host, PciAddress | HostPciAddress):
                    continue
            if kind == EXPRESS and host is not None and not host_is_express(host):
                kind = CONVENTIONAL
            if kind is not None:
                self.late.append((hostdev, kind))

    def _join_usb2(self, controller: Controller, kind: int) -> bool:
        """Put a part of a USB 2 controller beside one that has its place."""
        for other in self.devices.controllers:
            address = other.address
            if (other.type == "usb" and other.index == controller.index and other.model in _USB2
                    and type(address) is PciAddress and not is_empty(address)):
                place = place_of(address) & ~7 | _USB2[controller.model or ""]
                put(controller, place, self.buses, kind).multifunction = (place & 7 == 0) or None
                return True
        return False

    # --- buses ------------------------------------------------------------------------------------------------------

    def _may_lack_buses(self, wants: list[Want]) -> bool:
        """Whether the trial can have another outcome than that nothing lacks: it costs as much as all the rest."""
        buses = self.buses
        if not self.given:
            return False
        if not self.complete or len(buses.models) > self.given:
            return True
        if self.express:
            return bool(wants)
        kinds = {kind for _, kind in wants} | {CONVENTIONAL}
        return bool(wants) and len(wants) >= min(buses.count_free(kind) for kind in kinds)

    def _add_missing_buses(self, wants: list[Want]) -> None:
        """Find out how many buses it takes, and add a controller for each that has none."""
        if self._add_ports_only(wants):
            return
        trial = self.buses.copy()
        for device, kind in self.early:
            self._try(trial, device, kind)
        if self.root == "pci-root" and not trial.is_full():
            trial.seat(None, CONVENTIONAL)
        for device, kind in wants:
            self._try(trial, device, kind)
        if self.express and self.given <= 1 < len(trial.models):
            trial.seat(None, EXPRESS)
        known = {controller.index for controller in self.devices.controllers if controller.type == "pci"}
        index = 1
        while index < len(trial.models):  # a new controller may need a bus in its turn
            model = trial.models[index]
            if index not in known:
                self.devices.controllers.append(Controller(type="pci", index=index, model=model))
                trial.seat(None, CONTROLLER_KINDS[model])
            index += 1
        for model in trial.models[len(self.buses.models):]:
            self.buses.add(model)

    def _add_ports_only(self, wants: list[Want]) -> bool:
        """The outcome of the trial in the usual case, that of modern devices on a machine that has none but ports."""
        if not self.complete or len(self.buses.models) > self.given or self.early or any(
                kind != EXPRESS for _, kind in wants):
            return False
        lacking = len(wants) - self.buses.count_free(EXPRESS)
        if lacking <= 0:
            return True
        lacking += self.given == 1
        if lacking > self.buses.count_free(ROOT_PORT) * 8:
            return False
        self.devices.controllers += [Controller(type="pci", index=index, model="pcie-root-port")
                                     for index in range(self.given, self.given + lacking)]
        for _ in range(lacking):
            self.buses.add("pcie-root-port")
        return True

    @staticmethod
    def _try(trial: PciBuses, device: Any, kind: int) -> None:
        trial.seat(None, kind, _USB2.get(device.model or "", 0) if type(device) is Controller else 0)

    def _seat(self, device: Any, kind: int) -> None:
        if type(device) is Controller and device.model in _USB2:
            if not self._join_usb2(device, kind):
                function = _USB2[device.model]
                device.address = address_of(self.buses.seat(device, kind, function))
                device.address.multifunction = (function == 0) or None
        else:
            device.address = address_of(self.buses.seat(device, kind))

    # --- what a controller's place decides --------------------------------------------------------------------------

    def _complete_controllers(self) -> None:
        """Number what a guest sees of a controller, where its document does not."""
        for controller in self.devices.controllers:
            if controller.type != "pci" or controller.model not in _MODEL_NAMES:
                continue
            model, index = controller.model, controller.index or 0
            place = place_of(controller.address) if type(controller.address) is PciAddress else 0
            if controller.model_name is None:
                controller.model_name = _MODEL_NAMES[model]
            if model in ("pcie-root-port", "pcie-switch-downstream-port"):
                if controller.target_chassis is None:
                    controller.target_chassis = index
                if controller.target_port is None:
                    controller.target_port = place & 255 if model == "pcie-root-port" else place >> 3 & 31
            elif model == "pci-bridge":
                if controller.target_chassis_nr is None:
                    controller.target_chassis_nr = index
                if index <= place >> 8:
                    raise qemu_unsupported(f"PCI controller at index {index} (0x{index:02x}) has "
                                           f"bus='0x{place >> 8:02x}', but index must be larger than bus")
            elif model in ("pci-expander-bus", "pcie-expander-bus") and controller.target_bus_nr is None:
                controller.target_bus_nr = self._next_bus_number(place >> 8)

    def _next_bus_number(self, bus: int) -> int:
        """Two below the lowest: the expander has a bridge inside, which takes a number as well."""
        lowest = min((controller.target_bus_nr for controller in self.devices.controllers
                      if controller.type == "pci" and controller.target_bus_nr is not None), default=256)
        if lowest <= 2:
            raise qemu_unsupported("No free busNr lower than current lowest busNr is available to auto-assign to bus "
                                   f"{bus}. Must be manually assigned")
        return lowest - 2
