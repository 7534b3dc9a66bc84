"""Each device of a domain as QEMU arguments: one function per family, from the model to ``-device`` and its back end.

QEMU gives PCI addresses where the document has none; q35's root bus takes what we build. Names (``id``) are libvirt's
aliases, by which later commands and events find the device again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from virtbus_domain.drivers.qemu.command.arguments import Arguments, Json, Null, unsupported
from virtbus_domain.drivers.qemu.names import controller_name, disk_name, numbered
from virtbus_domain.drivers.qemu.supported import raw_address, raw_attributes
from virtbus_domain.xml.address import DriveAddress, PciAddress
from virtbus_domain.xml.chardev import Chardev
from virtbus_domain.xml.controller import Controller
from virtbus_domain.xml.disk import Disk, DiskDriver
from virtbus_domain.xml.domain import Devices
from virtbus_domain.xml.interface import Interface
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError
from virtbus_shared.service.xml_lines import Element, Raw

_PATH = "/domain/devices"
_FORMATS = ("raw", "qcow2")
_ROOT_PORT = "pcie-root-port"
# cache mode: (direct, no-flush) of the block nodes and the device's write cache. qemu(1), "-drive cache=".
_CACHE = {
    "none": (True, False, "on"), "writeback": (False, False, "on"), "writethrough": (False, False, "off"),
    "directsync": (True, False, "off"), "unsafe": (False, True, "on")}
_NETWORK_CARDS = {"virtio": "virtio-net-pci"} | {
    name: name for name in ("e1000", "e1000-82544gc", "e1000-82545em", "e1000e", "i82551", "i82557b", "i82559er",
                            "ne2k_pci", "pcnet", "rtl8139", "tulip", "vmxnet3")}
_SCSI_CONTROLLERS = {"virtio-scsi": "virtio-scsi-pci", "lsilogic": "lsi53c895a"}
_USB_CONTROLLERS = {"qemu-xhci": "qemu-xhci", "nec-xhci": "nec-usb-xhci", "piix3-uhci": "piix3-usb-uhci",
                    "ehci": "usb-ehci"}


@dataclass(frozen=True)
class Platform:
    """What the machine brings with it: its root bus, and the disk controller that is part of its chipset."""

    root_bus: str
    built_in_disks: str  # "sata" or "ide": controller 0 of that kind, whose buses are named ide.0, ide.1 and so on


Q35 = Platform("pcie.0", "sata")
I440FX = Platform("pci.0", "ide")


class DeviceBuilder:
    """Appends the devices of one domain to an argument list. ``taps``: descriptor of an interface's tap by position."""

    def __init__(self, arguments: Arguments, platform: Platform, devices: Devices, boot: Mapping[int, int],
                 taps: Mapping[int, int]) -> None:
        self._arguments = arguments
        self._platform = platform
        self._devices = devices
        self._boot = boot  # id() of a device -> its place in the boot order
        self._taps = taps
        self._placed: list[tuple[int, dict[str, Json]]] = []  # rank and properties of each -device

    def build(self) -> None:
        """All devices, in an order in which each finds its bus and its address free."""
        devices = self._devices
        for number, controller in enumerate(devices.controllers, 1):
            self._controller(controller, f"{_PATH}/controller[{number}]")
        for number, disk in enumerate(devices.disks, 1):
            self._disk(disk, number, f"{_PATH}/disk[{number}]")
        for number, interface in enumerate(devices.interfaces):
            self._interface(interface, number, f"{_PATH}/interface[{number + 1}]")
        for number, serial in enumerate(devices.serials):
            self._serial(serial, number, f"{_PATH}/serial[{number + 1}]")
        for number, console in enumerate(devices.consoles):
            # The first console is the first serial port under another name.
            if number or not devices.serials or console.target is None or console.target.type != "serial":
                raise unsupported(f"{_PATH}/console[{number + 1}]")
        for number, item in enumerate(devices.inputs, 1):
            self._input(item, f"{_PATH}/input[{number}]")
        for number, item in enumerate(devices.audios, 1):
            if dict(item.attrs).get("type") != "none":
                raise unsupported(f"{_PATH}/audio[{number}]")
        for item in devices.memballoon:
            self._balloon(item, f"{_PATH}/memballoon")
        for number, item in enumerate(devices.rngs):
            self._rng(item, number, f"{_PATH}/rng[{number + 1}]")
        for _, properties in sorted(self._placed, key=lambda placed: placed[0]):
            self._arguments.json("-device", **properties)

    def _device(self, driver: str, name: str, address: Element | None, path: str, **properties: Json) -> None:
        rank = 4
        is_bus = driver == _ROOT_PORT
        if isinstance(address, PciAddress):
            properties = self._pci(address, path) | properties
            # QEMU gives free slots in the order of the devices, and would give away one that a later device names.
            rank = 0 if is_bus else 3 if address.bus else 1
        elif is_bus:
            rank = 2
        elif address is not None and not isinstance(address, DriveAddress):
            raise unsupported(f"{path}/address")
        self._placed.append((rank, {"driver": driver, "id": name, **properties}))

    def _pci(self, address: PciAddress, path: str) -> dict[str, Json]:
        if address.domain:
            raise unsupported(f"{path}/address/@domain")
        bus = self._name_of("pci", address.bus) if address.bus else self._platform.root_bus
        return {"bus": bus, "addr": f"{address.slot or 0:#x}.{address.function or 0:#x}",
                "multifunction": address.multifunction}

    def _controller(self, controller: Controller, path: str) -> None:
        kind, index, model = controller.type, controller.index or 0, controller.model
        name = controller_name(controller)
        driver: str | None = None
        properties: dict[str, Json] = {}
        if kind == "pci" and model == _ROOT_PORT:
            driver, properties = _ROOT_PORT, self._root_port(controller, path)
        elif kind == "usb":
            driver = _USB_CONTROLLERS.get(model or ("qemu-xhci" if self._platform is Q35 else "piix3-uhci"))
        elif kind == "scsi":
            driver = _SCSI_CONTROLLERS.get(model or "lsilogic")
        elif kind == "virtio-serial" and model in (None, "virtio"):
            driver = "virtio-serial-pci"
        elif kind == "sata" and model is None:
            driver = "ich9-ahci"
        if self._is_built_in(kind, index, model) or (kind == "usb" and model == "none"):
            return
        if driver is None:
            raise unsupported(path)
        self._device(driver, name, controller.address, path, **properties)

    def _is_built_in(self, kind: str | None, index: int, model: str | None) -> bool:
        root = "pcie-root" if self._platform is Q35 else "pci-root"
        return index == 0 and ((kind == "pci" and model == root) or kind == self._platform.built_in_disks)

    def _name_of(self, kind: str, index: int) -> str:
        """The name of a controller that others refer to by number."""
        for controller in self._devices.controllers:
            if (controller.type, controller.index) == (kind, index):
                return controller_name(controller)
        return f"{kind}{index}"

    def _root_port(self, controller: Controller, path: str) -> dict[str, Json]:
        for item in controller.hardware_model:
            if raw_attributes(item, f"{path}/model", "name").get("name") not in (None, _ROOT_PORT):
                raise unsupported(f"{path}/model")
        target: dict[str, str] = {}
        for item in controller.target:
            target |= raw_attributes(item, f"{path}/target", "chassis", "port")
        chassis, port = (_integer(target.get(name), f"{path}/target/@{name}") for name in ("chassis", "port"))
        return {"chassis": controller.index if chassis is None else chassis, "port": port}

    def _disk(self, disk: Disk, number: int, path: str) -> None:
        options = disk.driver or DiskDriver()
        if disk.device not in ("disk", "cdrom"):
            raise unsupported(f"{path}/@device")
        drive = self._block_nodes(disk, options, number, path) if disk.source else None
        driver, properties = self._disk_place(disk, path)
        self._device(
            driver, disk_name(disk), disk.address, path, **properties, drive=drive,
            bootindex=self._boot.get(id(disk)), serial=disk.serial, share_rw=True if disk.shareable else None,
            write_cache=_CACHE[options.cache][2] if options.cache in _CACHE else None,
            werror=_policy(options.error_policy), rerror=_policy(options.rerror_policy or options.error_policy))

    def _disk_place(self, disk: Disk, path: str) -> tuple[str, dict[str, Json]]:
        bus, cdrom = disk.target_bus, disk.device == "cdrom"
        if bus == "virtio" and not cdrom:
            if disk.wwn or disk.vendor or disk.product:
                raise unsupported(f"{path}/{'wwn' if disk.wwn else 'vendor' if disk.vendor else 'product'}")
            return "virtio-blk-pci", {}
        address = disk.address
        if not isinstance(address, DriveAddress):
            raise unsupported(f"{path}/address" if address else f"{path}/target/@bus")
        controller, unit = address.controller or 0, address.unit or 0
        wwn = _integer(f"0x{disk.wwn}" if disk.wwn else None, f"{path}/wwn")
        if bus in ("ide", "sata"):
            if disk.vendor or disk.product:
                raise unsupported(f"{path}/{'vendor' if disk.vendor else 'product'}")
            built_in = self._is_built_in(bus, controller, None)
            if bus == "ide" and not built_in:
                raise unsupported(f"{path}/target/@bus")
            base = "ide" if built_in else self._name_of("sata", controller)
            sata: dict[str, Json] = {"bus": f"{base}.{unit}"}
            ide: dict[str, Json] = {"bus": f"{base}.{address.bus or 0}", "unit": unit}
            return "ide-cd" if cdrom else "ide-hd", (sata if bus == "sata" else ide) | {"wwn": wwn}
        if bus == "scsi":
            common: dict[str, Json] = {
                "bus": f"{self._name_of('scsi', controller)}.0", "wwn": wwn, "vendor": disk.vendor,
                "product": disk.product}
            wide = any(other.type == "scsi" and other.index == controller and other.model == "virtio-scsi"
                       for other in self._devices.controllers)
            wide_place: dict[str, Json] = {"channel": 0, "scsi-id": address.target or 0, "lun": unit}
            return "scsi-cd" if cdrom else "scsi-hd", common | (wide_place if wide else {"scsi-id": unit})
        raise unsupported(f"{path}/target/@bus")

    def _block_nodes(self, disk: Disk, options: DiskDriver, number: int, path: str) -> str:
        """The two nodes under a disk, protocol and format, named as libvirt names them; the upper one's name."""
        source, cdrom = disk.source, disk.device == "cdrom"
        assert source is not None
        if options.name not in (None, "qemu"):
            raise unsupported(f"{path}/driver/@name")
        if options.type not in _FORMATS:
            raise unsupported(f"{path}/driver/@type")
        if disk.type == "file" and source.file:
            protocol = "file"
        elif disk.type == "block" and source.dev:
            protocol = "host_cdrom" if cdrom else "host_device"
        else:
            raise unsupported(f"{path}/source" if disk.type in ("file", "block") else f"{path}/@type")
        direct, no_flush, _ = _CACHE.get(options.cache or "", (None, None, None))
        cache: Json = None if direct is None else {"direct": direct, "no-flush": no_flush}
        storage, formatted = f"libvirt-{number}-storage", f"libvirt-{number}-format"
        self._arguments.json(
            "-blockdev", driver=protocol, filename=source.path, node_name=storage, auto_read_only=True,
            discard="unmap", aio=options.io, cache=cache)
        self._arguments.json(
            "-blockdev", node_name=formatted, read_only=disk.readonly, driver=options.type, file=storage,
            discard=options.discard, detect_zeroes=options.detect_zeroes, cache=cache,
            backing=_end_of_chain(disk, f"{path}/backingStore"))
        return formatted

    def _interface(self, interface: Interface, number: int, path: str) -> None:
        driver = _NETWORK_CARDS.get(interface.model or "rtl8139")
        if driver is None:
            raise unsupported(f"{path}/model/@type")
        back_end = f"hostnet{number}"
        if number in self._taps:
            self._arguments.json("-netdev", type="tap", fd=str(self._taps[number]), id=back_end)
        elif interface.type == "user":
            self._arguments.json("-netdev", type="user", id=back_end)
        else:
            raise unsupported(f"{path}/@type")
        self._device(driver, numbered("net", number, interface.alias), interface.address, path, netdev=back_end,
                     mac=interface.mac, bootindex=self._boot.get(id(interface)))

    def _serial(self, serial: Chardev, number: int, path: str) -> None:
        if serial.target is None or serial.target.type != "isa-serial" or (
                serial.target.model not in (None, "isa-serial")):
            raise unsupported(f"{path}/target/@type")
        name = numbered("serial", number, serial.alias)
        self._host_end(serial, f"char{name}", path)
        self._device("isa-serial", name, serial.address, path, chardev=f"char{name}", index=serial.target.port)

    def _host_end(self, device: Chardev, name: str, path: str) -> None:
        source = device.source[0] if device.source else None
        if len(device.source) > 1:
            raise unsupported(f"{path}/source[2]")
        file = source.path if source else None
        if device.type in ("null", "pty"):
            self._arguments.keyed("-chardev", device.type, id=name)
        elif device.type == "file" and source and file:
            self._arguments.keyed("-chardev", "file", id=name, path=file, append=source.append)
        elif device.type == "unix" and source and file:
            listens = source.mode != "connect"
            self._arguments.keyed("-chardev", "socket", id=name, path=file, server=True if listens else None,
                                  wait=False if listens else None)
        else:
            raise unsupported(f"{path}/source" if device.type in ("file", "unix") else f"{path}/@type")

    def _input(self, item: Raw, path: str) -> None:
        # Every PC has a PS/2 keyboard and mouse, and libvirt lists them.
        if raw_attributes(item, path, "type", "bus") not in (
                {"type": "mouse", "bus": "ps2"}, {"type": "keyboard", "bus": "ps2"}):
            raise unsupported(path)

    def _balloon(self, item: Raw, path: str) -> None:
        model = raw_attributes(item, path, "model").get("model")
        if model == "virtio":
            self._device("virtio-balloon-pci", "balloon0", raw_address(item, path), path)
        elif model != "none":
            raise unsupported(f"{path}/@model")

    def _rng(self, item: Raw, number: int, path: str) -> None:
        if raw_attributes(item, path, "model", children=("backend",)) != {"model": "virtio"}:
            raise unsupported(f"{path}/@model")
        [backend] = [child for child in item.children if child.tag == "backend"] or [Raw("backend")]
        model = raw_attributes(backend, f"{path}/backend", "model").get("model")
        name = f"rng{number}"
        if model == "random":
            self._arguments.json("-object", qom_type="rng-random", id=f"obj{name}",
                                 filename=backend.text.strip() or "/dev/random")
        elif model == "builtin":
            self._arguments.json("-object", qom_type="rng-builtin", id=f"obj{name}")
        else:
            raise unsupported(f"{path}/backend/@model")
        self._device("virtio-rng-pci", name, raw_address(item, path), path, rng=f"obj{name}")


def _integer(text: str | None, path: str) -> int | None:
    """A number as libvirt reads those that may be hexadecimal."""
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        raise LibvirtError(c.VIR_ERR_XML_ERROR, f"Invalid value '{text}' (at {path})",
                           domain=c.VIR_FROM_QEMU) from None


def _end_of_chain(disk: Disk, path: str) -> Null | None:
    """An empty backingStore says that the image has none, whatever it says itself; without one QEMU looks."""
    if any(item.attrs or item.children for item in disk.backing_store):
        raise unsupported(path)
    return Null.NULL if disk.backing_store and disk.driver and disk.driver.type != "raw" else None


def _policy(word: str | None) -> str | None:
    """libvirt's error policy in QEMU's word."""
    return {"enospace": "enospc", "default": None}.get(word, word) if word else None
