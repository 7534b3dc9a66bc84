"""Controllers read back: which driver is which model, and the number that others know each by."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from virtbus_domain.drivers.qemu.native.options import refusal
from virtbus_domain.drivers.qemu.native.reader import Reader, transport
from virtbus_domain.drivers.qemu.native.values import Command, Values
from virtbus_domain.xml.controller import Controller, ControllerDriver

_PCI = {
    "pcie-root-port": "pcie-root-port", "ioh3420": "pcie-root-port", "pcie-pci-bridge": "pcie-to-pci-bridge",
    "pci-bridge": "pci-bridge", "i82801b11-bridge": "dmi-to-pci-bridge", "pxb": "pci-expander-bus",
    "pxb-pcie": "pcie-expander-bus", "x3130-upstream": "pcie-switch-upstream-port",
    "xio3130-downstream": "pcie-switch-downstream-port"}
_USB = {
    "piix3-usb-uhci": "piix3-uhci", "piix4-usb-uhci": "piix4-uhci", "usb-ehci": "ehci",
    "ich9-usb-ehci1": "ich9-ehci1", "ich9-usb-uhci1": "ich9-uhci1", "ich9-usb-uhci2": "ich9-uhci2",
    "ich9-usb-uhci3": "ich9-uhci3", "vt82c686b-usb-uhci": "vt82c686b-uhci", "pci-ohci": "pci-ohci",
    "nec-usb-xhci": "nec-xhci", "qemu-xhci": "qemu-xhci"}
_SCSI = {
    "lsi": "lsilogic", "mptsas1068": "lsisas1068", "megasas": "lsisas1078", "pvscsi": "vmpvscsi",
    "am53c974": "am53c974", "dc-390": "dc390", "virtio-scsi-pci": "virtio-scsi",
    "virtio-scsi-pci-transitional": "virtio-transitional",
    "virtio-scsi-pci-non-transitional": "virtio-non-transitional"}
_SERIAL = {
    "virtio-serial-pci": None, "virtio-serial-pci-transitional": "virtio-transitional",
    "virtio-serial-pci-non-transitional": "virtio-non-transitional"}
_PLAIN = {"ahci": "sata", "usb-ccid": "ccid", "isa-fdc": "fdc"}
_KINDS: dict[str, str] = {
    **dict.fromkeys(_PCI, "pci"), **dict.fromkeys(_USB, "usb"), **dict.fromkeys(_SCSI, "scsi"),
    **dict.fromkeys(_SERIAL, "virtio-serial"), **_PLAIN}
_PREFIX = {"pci": r"pci\."}


def numbers_of(command: Command, *, q35: bool) -> dict[str, tuple[str, int]]:
    """Kind and number of every controller, by the name that devices know it by.

    Where a user chose the name, the number is the first that is free, which is how a document without numbers counts.
    """
    known = {"pcie.0": ("pci", 0), "pci.0": ("pci", 0), "ide": ("sata" if q35 else "ide", 0)}
    nameless = []
    for item in command.all("-device"):
        kind = _KINDS.get(item.kind)
        if kind is None or not item.id:
            continue
        found = re.fullmatch(rf"{_PREFIX.get(kind, kind)}([0-9]{{0,9}})", item.id, re.ASCII)
        if found:
            known[item.id] = (kind, int(found[1] or 0))
        else:
            nameless.append((kind, item.id))
    taken = set(known.values())
    following = dict.fromkeys(_KINDS.values(), 0)
    for kind, name in nameless:
        while (kind, following[kind]) in taken or (kind == "sata" and q35 and following[kind] == 0):
            following[kind] += 1
        known[name] = (kind, following[kind])
        taken.add(known[name])
    return known


def _new(reader: Reader, item: Values, **values: Any) -> Controller:
    kind = _KINDS[item.kind]
    index = reader.controllers[item.id][1] if item.id else 0
    return reader.sit(Controller(type=kind, index=index, **values), item)


def _pci(reader: Reader, item: Values) -> Controller:
    port, chassis = item.number("port"), item.number("chassis")
    return _new(reader, item, model=_PCI[item.kind], model_name=item.kind, target_port=port, target_chassis=chassis,
                target_hotplug=item.flag("hotplug"), target_chassis_nr=item.number("chassis_nr"),
                target_bus_nr=item.number("bus_nr"), target_node=item.number("numa_node"))


def _usb(reader: Reader, item: Values) -> Controller:
    master, ports = item.text("masterbus"), item.number("p2")
    if item.number("p3") != ports:
        raise item.wrong("p3")
    controller = _new(reader, item, model=_USB[item.kind], ports=ports, master_startport=item.number("firstport"))
    if master is not None:
        owner, index = reader.controllers.get(master.removesuffix(".0"), ("", 0))
        if owner != "usb":
            raise item.wrong("masterbus")
        controller.index = index
    return controller


def _driver(**values: Any) -> ControllerDriver | None:
    driver = ControllerDriver(**values)
    return None if driver == ControllerDriver() else driver


def _scsi(reader: Reader, item: Values) -> Controller:
    driver = _driver(
        queues=item.number("num_queues"), cmd_per_lun=item.number("cmd_per_lun"),
        max_sectors=item.number("max_sectors"), ioeventfd=item.flag("ioeventfd"),
        iothread=item.affixed("iothread", "iothread"), **transport(item))
    return _new(reader, item, model=_SCSI[item.kind], driver=driver)


def _virtio_serial(reader: Reader, item: Values) -> Controller:
    return _new(reader, item, model=_SERIAL[item.kind], ports=item.number("max_ports"), vectors=item.number("vectors"),
                driver=_driver(**transport(item)))


def _plain(reader: Reader, item: Values) -> Controller:
    item.skip("bootindexA", "bootindexB")  # of the drives
    return _new(reader, item)


_FAMILIES: dict[str, Callable[[Reader, Values], Controller]] = {
    **dict.fromkeys(_PCI, _pci), **dict.fromkeys(_USB, _usb), **dict.fromkeys(_SCSI, _scsi),
    **dict.fromkeys(_SERIAL, _virtio_serial), **dict.fromkeys(_PLAIN, _plain)}


def _read(reader: Reader, item: Values) -> None:
    if not item.id and not item.has("masterbus"):
        raise refusal(f"{item.what}, without a name")
    reader.devices.controllers.append(_FAMILIES[item.kind](reader, item))


CONTROLLERS: Mapping[str, Callable[[Reader, Values], None]] = dict.fromkeys(_FAMILIES, _read)


def scsi_models(command: Command, numbers: Mapping[str, tuple[str, int]]) -> dict[int, str]:
    """Model of each SCSI controller by number, which decides what places its disks have."""
    return {numbers[item.id][1]: _SCSI[item.kind] for item in command.all("-device")
            if item.kind in _SCSI and item.id in numbers}
