"""Controllers: the buses that other devices sit on. Those that are part of the machine need nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from virtbus_domain.drivers.qemu.command.arguments import Json, unsupported
from virtbus_domain.drivers.qemu.command.parts import Part, part_device
from virtbus_domain.drivers.qemu.command.place import Properties, place, transitional, virtio_options
from virtbus_domain.drivers.qemu.command.setup import Setup
from virtbus_domain.xml.address import DriveAddress
from virtbus_domain.xml.controller import Controller

_USB = {"piix3-uhci": "piix3-usb-uhci", "piix4-uhci": "piix4-usb-uhci", "ehci": "usb-ehci",
        "ich9-ehci1": "ich9-usb-ehci1", "ich9-uhci1": "ich9-usb-uhci1", "ich9-uhci2": "ich9-usb-uhci2",
        "ich9-uhci3": "ich9-usb-uhci3", "vt82c686b-uhci": "vt82c686b-usb-uhci", "pci-ohci": "pci-ohci",
        "nec-xhci": "nec-usb-xhci", "qemu-xhci": "qemu-xhci"}
_SCSI = {"lsilogic": "lsi", "lsisas1068": "mptsas1068", "lsisas1078": "megasas", "vmpvscsi": "pvscsi",
         "am53c974": "am53c974", "dc390": "dc-390"}
_VIRTIO_SCSI = ("virtio-scsi", "virtio-transitional", "virtio-non-transitional")
_PCI_DRIVERS = {"pci-bridge": "pci-bridge", "dmi-to-pci-bridge": "i82801b11-bridge",
                "pcie-root-port": "pcie-root-port", "pcie-to-pci-bridge": "pcie-pci-bridge",
                "pci-expander-bus": "pxb", "pcie-expander-bus": "pxb-pcie",
                "pcie-switch-upstream-port": "x3130-upstream", "pcie-switch-downstream-port": "xio3130-downstream"}


def controller_parts(controller: Controller, setup: Setup) -> list[Part]:
    """One controller."""
    kind = controller.type or ""
    if _is_built_in(controller, setup):
        return []
    build = _FAMILIES.get(kind)
    if build is None:
        raise unsupported(f"controller of type '{kind}'")
    driver, properties = build(controller, setup)
    part = part_device(driver, str(controller.alias), **properties, **place(controller, setup))
    if controller.master_startport is None:
        return [part]
    # A companion has the name of the controller that it serves, and only one device can be called so.
    return [part._replace(properties={key: value for key, value in part.properties.items() if key != "id"})]


def _is_built_in(controller: Controller, setup: Setup) -> bool:
    kind, model = controller.type, controller.model
    if kind == "usb" and model == "none":
        return True
    if controller.index:
        return False
    if kind == "pci":
        return model in ("pci-root", "pcie-root")
    if kind == "sata":
        return setup.is_q35
    return (kind in ("ide", "isa") and setup.is_i440fx) or (kind == "fdc" and not setup.is_q35)


def _usb(controller: Controller, setup: Setup) -> tuple[str, Properties]:
    del setup
    driver = _USB.get(controller.model or "")
    if driver is None:
        raise unsupported(f"USB controller '{controller.model}'")
    ports = controller.ports if driver in ("qemu-xhci", "nec-usb-xhci") else None
    master = f"usb{controller.index or ''}.0" if controller.master_startport is not None else None
    return driver, {"p2": ports, "p3": ports, "masterbus": master, "firstport": controller.master_startport}


def _scsi(controller: Controller, setup: Setup) -> tuple[str, Properties]:
    del setup
    model = controller.model or "lsilogic"
    if model in _VIRTIO_SCSI:
        options = controller.driver
        driver = "virtio-scsi-pci" if model == "virtio-scsi" else transitional("virtio-scsi-pci", model)
        if options is None:
            return driver, {}
        return driver, {
            "iothread": f"iothread{options.iothread}" if options.iothread else None, "num_queues": options.queues,
            "cmd_per_lun": options.cmd_per_lun, "max_sectors": options.max_sectors, "ioeventfd": options.ioeventfd,
            **virtio_options(iommu=options.iommu, ats=options.ats, packed=options.packed,
                             page_per_vq=options.page_per_vq)}
    if model not in _SCSI:
        raise unsupported(f"SCSI controller '{model}'")
    return _SCSI[model], {}


def _virtio_serial(controller: Controller, setup: Setup) -> tuple[str, Properties]:
    del setup
    options = controller.driver
    transport = {} if options is None else virtio_options(
        iommu=options.iommu, ats=options.ats, packed=options.packed, page_per_vq=options.page_per_vq)
    return transitional("virtio-serial-pci", controller.model), {
        "max_ports": controller.ports, "vectors": controller.vectors, **transport}


def _pci(controller: Controller, setup: Setup) -> tuple[str, Properties]:
    del setup
    model = controller.model or ""
    if model not in _PCI_DRIVERS:
        raise unsupported(f"PCI controller '{model}'")
    properties: dict[str, Json]
    match model:
        case "pcie-root-port":
            properties = {"port": controller.target_port, "chassis": controller.target_chassis,
                          "hotplug": controller.target_hotplug}
            return controller.model_name if controller.model_name == "ioh3420" else _PCI_DRIVERS[model], properties
        case "pci-bridge":
            properties = {"chassis_nr": controller.target_chassis_nr}
        case "pcie-switch-downstream-port":
            properties = {"port": controller.target_port, "chassis": controller.target_chassis,
                          "hotplug": controller.target_hotplug}
        case "pci-expander-bus" | "pcie-expander-bus":
            properties = {"bus_nr": controller.target_bus_nr, "numa_node": controller.target_node}
        case _:
            properties = {}
    return _PCI_DRIVERS[model], properties


def _sata(controller: Controller, setup: Setup) -> tuple[str, Properties]:
    del controller, setup
    return "ahci", {}


def _ccid(controller: Controller, setup: Setup) -> tuple[str, Properties]:
    del controller, setup
    return "usb-ccid", {}


def _fdc(controller: Controller, setup: Setup) -> tuple[str, Properties]:
    del controller
    return "isa-fdc", dict(floppy_boot_order(setup))


def floppy_boot_order(setup: Setup) -> Iterator[tuple[str, int]]:
    """Floppy drives have their places in the boot order as properties of their controller."""
    for disk in setup.devices.disks:
        place_in_order = setup.boot.get(str(disk.alias))
        if disk.target_bus == "fdc" and place_in_order is not None and isinstance(disk.address, DriveAddress):
            yield f"bootindex{'AB'[(disk.address.unit or 0) % 2]}", place_in_order


# In libvirt's order: what buses other controllers sit on comes first.
ORDER = {kind: rank for rank, kind in enumerate(("pci", "usb", "scsi", "sata", "virtio-serial", "ccid", "fdc"))}
_FAMILIES: dict[str, Callable[[Controller, Setup], tuple[str, Properties]]] = {
    "usb": _usb, "scsi": _scsi, "virtio-serial": _virtio_serial, "pci": _pci, "sata": _sata, "ccid": _ccid,
    "fdc": _fdc}

