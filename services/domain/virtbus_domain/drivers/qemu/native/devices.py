"""The devices of a command line: one function from each QEMU driver back to the model it was built from.

Aliases that begin with "ua-" are the user's and come back; all others were generated. What a PC has without being
asked (a USB controller, PS/2 input, root ports) is there again when the document is completed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from virtbus_domain.drivers.qemu.native.characters import read_character
from virtbus_domain.drivers.qemu.native.options import CommandWords, mapping, refusal
from virtbus_domain.drivers.qemu.native.screens import (
    INPUT_DRIVERS,
    SOUND_DRIVERS,
    VIDEO_DRIVERS,
    read_audio,
    read_graphics,
    read_input,
    read_sound,
    read_video,
)
from virtbus_domain.drivers.qemu.native.storage import DISK_DRIVERS, Disks
from virtbus_domain.xml.address import CcidAddress, DimmAddress, IsaAddress, PciAddress, UsbAddress
from virtbus_domain.xml.controller import Controller, ControllerDriver
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.features import Switch
from virtbus_domain.xml.filesystem import Filesystem
from virtbus_domain.xml.hub import Hub
from virtbus_domain.xml.interface import Interface, InterfaceDriver, InterfaceSource
from virtbus_domain.xml.iommu import Iommu
from virtbus_domain.xml.memballoon import Memballoon
from virtbus_domain.xml.memory_device import MemoryDevice
from virtbus_domain.xml.network_port import IpAddress
from virtbus_domain.xml.panic import Panic
from virtbus_domain.xml.rng import BuiltinBackend, RandomBackend, Rng
from virtbus_domain.xml.tpm import Tpm, TpmBackend
from virtbus_domain.xml.watchdog import Watchdog
from virtbus_shared.service.xml_lines import Element

Item = Mapping[str, Any]

_PCI_CONTROLLERS = {
    "pcie-root-port": "pcie-root-port", "pcie-pci-bridge": "pcie-to-pci-bridge", "pci-bridge": "pci-bridge",
    "i82801b11-bridge": "dmi-to-pci-bridge", "pxb": "pci-expander-bus", "pxb-pcie": "pcie-expander-bus",
    "x3130-upstream": "pcie-switch-upstream-port", "xio3130-downstream": "pcie-switch-downstream-port"}
_USB_CONTROLLERS = {
    "piix3-usb-uhci": "piix3-uhci", "piix4-usb-uhci": "piix4-uhci", "usb-ehci": "ehci",
    "ich9-usb-ehci1": "ich9-ehci1", "ich9-usb-uhci1": "ich9-uhci1", "ich9-usb-uhci2": "ich9-uhci2",
    "ich9-usb-uhci3": "ich9-uhci3", "vt82c686b-usb-uhci": "vt82c686b-uhci", "pci-ohci": "pci-ohci",
    "nec-usb-xhci": "nec-xhci", "qemu-xhci": "qemu-xhci"}
_SCSI_CONTROLLERS = {
    "lsi": "lsilogic", "mptsas1068": "lsisas1068", "megasas": "lsisas1078", "pvscsi": "vmpvscsi",
    "am53c974": "am53c974", "dc-390": "dc390", "virtio-scsi-pci": "virtio-scsi",
    "virtio-scsi-pci-transitional": "virtio-transitional",
    "virtio-scsi-pci-non-transitional": "virtio-non-transitional"}
_CARDS = frozenset((
    "e1000", "e1000-82544gc", "e1000-82545em", "e1000e", "i82551", "i82557b", "i82559er", "ne2k_pci", "ne2k_isa",
    "pcnet", "rtl8139", "tulip", "vmxnet3", "usb-net"))


class Reader:
    """What reading one command needs to know of its other parts."""

    def __init__(self, words: CommandWords, domain: Domain) -> None:
        self.words = words
        self.domain = domain
        self.devices = Devices()
        self.items = list(words.objects("-device"))
        self.objects = {item["id"]: item for item in words.objects("-object")}
        self.netdevs = {item["id"]: item for item in words.objects("-netdev")}
        self.chardevs = {values["id"]: values for values in (
            mapping(text, "backend") for text in words.all("-chardev"))}
        self.fsdevs = {values["id"]: values for values in (
            mapping(text, "driver") for text in words.all("-fsdev"))}
        machine = (domain.os.machine if domain.os else None) or ""
        self.q35 = machine.startswith(("pc-q35", "q35"))
        self.buses = {"pcie.0": 0, "pci.0": 0}
        for item in self.items:
            if item["driver"] in _PCI_CONTROLLERS:
                found = re.fullmatch(r"pci\.(\d+)", item["id"])
                self.buses[item["id"]] = int(found[1]) if found else max(self.buses.values()) + 1
        self.disks = Disks(words, q35=self.q35)
        self.scsi: dict[int, str | None] = {}

    def alias(self, item: Item) -> str | None:
        """A name of the user's choice."""
        name = item.get("id") or ""
        return name if name.startswith("ua-") else None

    def place(self, item: Item) -> Element | None:
        """Where a device sits, apart from drives and character devices, whose places say more."""
        bus = item.get("bus", "")
        if "addr" in item and bus in self.buses:
            slot, _, function = str(item["addr"]).partition(".")
            return PciAddress(domain=0, bus=self.buses[bus], slot=int(slot, 0), function=int(function or "0", 0),
                              multifunction=item.get("multifunction"))
        if "port" in item and isinstance(item["port"], str):
            found = re.fullmatch(r"usb(\d*)\.0", bus)
            return UsbAddress(bus=int(found[1] or 0) if found else 0, port=item["port"])
        if "iobase" in item:
            return IsaAddress(iobase=item["iobase"], irq=item.get("irq"))
        if bus.startswith("ccid"):
            return CcidAddress(controller=int(bus[4:].partition(".")[0] or 0), slot=int(bus.partition(".")[2]))
        return None


def read_devices(words: CommandWords, domain: Domain) -> Devices:
    """All devices of a command."""
    reader = Reader(words, domain)
    for item in reader.items:
        if item["driver"] in DISK_DRIVERS:
            reader.devices.disks.append(reader.disks.read(item, reader.scsi))
            continue
        read = _DRIVERS.get(item["driver"])
        if read is None and not read_character(reader, item):
            raise refusal(f"-device {item['driver']}")
        if read is not None:
            read(reader, item)
    devices = reader.devices
    read_graphics(reader)
    read_audio(reader)
    for watchdog in devices.watchdogs:
        for text in words.all("-action"):
            watchdog.action = mapping(text).get("watchdog", watchdog.action)
    if not any(controller.type == "usb" for controller in devices.controllers):
        devices.controllers.append(Controller(type="usb", index=0, model="none"))
    devices.memballoon = devices.memballoon or Memballoon(model="none")
    _boot_order(reader)
    return devices


def _boot_order(reader: Reader) -> None:
    """Every place in the boot order is a device's own."""
    orders = {item["id"]: item["bootindex"] for item in reader.items if "bootindex" in item}
    disks = iter(item for item in reader.items if item["driver"] in DISK_DRIVERS)
    for disk, item in zip(reader.devices.disks, disks, strict=True):
        disk.boot_order = orders.get(item["id"])
    floppies = {text.split(".")[1].partition("=")[0]: int(text.partition("=")[2])
                for text in reader.words.all("-global") if text.startswith("isa-fdc.")}
    floppies |= {name: value for item in reader.items if item["driver"] == "isa-fdc"
                 for name, value in item.items() if name.startswith("bootindex")}
    for disk in reader.devices.disks:
        if disk.target_bus == "fdc":
            disk.boot_order = floppies.get(f"bootindex{'AB'[getattr(disk.address, 'unit', 0) or 0]}")


# --- controllers ----------------------------------------------------------------------------------------------------


def _index(item: Item, prefix: str) -> int:
    found = re.fullmatch(rf"{prefix}(\d*)", item.get("id") or "")
    return int(found[1] or 0) if found else 0


def _pci_controller(reader: Reader, item: Item) -> None:
    controller = Controller(type="pci", index=reader.buses[item["id"]], model=_PCI_CONTROLLERS[item["driver"]],
                            alias=reader.alias(item), address=reader.place(item))
    controller.model_name = item["driver"]
    controller.target_port, controller.target_chassis = item.get("port"), item.get("chassis")
    controller.target_hotplug, controller.target_chassis_nr = item.get("hotplug"), item.get("chassis_nr")
    controller.target_bus_nr, controller.target_node = item.get("bus_nr"), item.get("numa_node")
    reader.devices.controllers.append(controller)


def _usb_controller(reader: Reader, item: Item) -> None:
    master = re.fullmatch(r"usb(\d*)\.0", item.get("masterbus", ""))
    index = int(master[1] or 0) if master else _index(item, "usb")
    reader.devices.controllers.append(Controller(
        type="usb", index=index, model=_USB_CONTROLLERS[item["driver"]], ports=item.get("p2"),
        master_startport=item.get("firstport"), alias=reader.alias(item), address=reader.place(item)))


def _virtio_driver(item: Item) -> dict[str, Any]:
    return {"iommu": item.get("iommu_platform"), "ats": item.get("ats"), "packed": item.get("packed"),
            "page_per_vq": item.get("page-per-vq")}


def _prefixed(item: Item) -> dict[str, Any]:
    return {f"driver_{name}": value for name, value in _virtio_driver(item).items()}


def _scsi_controller(reader: Reader, item: Item) -> None:
    index = _index(item, "scsi")
    driver = ControllerDriver(
        queues=item.get("num_queues"), cmd_per_lun=item.get("cmd_per_lun"), max_sectors=item.get("max_sectors"),
        ioeventfd=item.get("ioeventfd"), **_virtio_driver(item),
        iothread=int(item["iothread"].removeprefix("iothread")) if "iothread" in item else None)
    model = reader.scsi[index] = _SCSI_CONTROLLERS[item["driver"]]
    reader.devices.controllers.append(Controller(
        type="scsi", index=index, model=model, driver=None if driver == ControllerDriver() else driver,
        alias=reader.alias(item), address=reader.place(item)))


def _virtio_serial(reader: Reader, item: Item) -> None:
    driver = ControllerDriver(**_virtio_driver(item))
    flavour = item["driver"].removeprefix("virtio-serial-pci")
    reader.devices.controllers.append(Controller(
        type="virtio-serial", index=_index(item, "virtio-serial"), ports=item.get("max_ports"),
        model=f"virtio{flavour}" if flavour else None, vectors=item.get("vectors"),
        driver=None if driver == ControllerDriver() else driver, alias=reader.alias(item),
        address=reader.place(item)))


def _plain_controller(kind: str) -> Callable[[Reader, Item], None]:
    def read(reader: Reader, item: Item) -> None:
        reader.devices.controllers.append(Controller(type=kind, index=_index(item, kind), alias=reader.alias(item),
                                                     address=reader.place(item)))

    return read


# --- network --------------------------------------------------------------------------------------------------------


def _card(reader: Reader, item: Item) -> None:
    interface = Interface(mac=item.get("mac"), alias=reader.alias(item), address=reader.place(item),
                          boot_order=item.get("bootindex"), acpi_index=item.get("acpi-index"))
    driver = item["driver"]
    if driver.startswith("virtio-net-pci"):
        interface.model = "virtio" + driver.removeprefix("virtio-net-pci")
        interface.mtu = item.get("host_mtu")
        options = _card_options(item)
        interface.driver = None if options == InterfaceDriver() else options
    else:
        interface.model = driver
    if "rombar" in item:
        interface.rom_bar = bool(item["rombar"])
    if "romfile" in item:
        interface.rom_file = item["romfile"] or None
        interface.rom_enabled = None if item["romfile"] else False
    _back_end(reader, reader.netdevs[item["netdev"]], interface)
    reader.devices.interfaces.append(interface)


def _card_options(item: Item) -> InterfaceDriver:
    return InterfaceDriver(
        txmode={"bh": "iothread", "timer": "timer"}.get(item.get("tx", "")), ioeventfd=item.get("ioeventfd"),
        event_idx=item.get("event_idx"), queues=(item["vectors"] - 2) // 2 if "vectors" in item else None,
        rx_queue_size=item.get("rx_queue_size"), tx_queue_size=item.get("tx_queue_size"), rss=item.get("rss"),
        rss_hash_report=item.get("hash"), host_csum=item.get("csum"), host_gso=item.get("gso"),
        host_tso4=item.get("host_tso4"), host_tso6=item.get("host_tso6"), host_ecn=item.get("host_ecn"),
        host_ufo=item.get("host_ufo"), host_mrg_rxbuf=item.get("mrg_rxbuf"), guest_csum=item.get("guest_csum"),
        guest_tso4=item.get("guest_tso4"), guest_tso6=item.get("guest_tso6"), guest_ecn=item.get("guest_ecn"),
        guest_ufo=item.get("guest_ufo"), **_virtio_driver(item))


def _back_end(reader: Reader, netdev: Item, interface: Interface) -> None:
    match netdev["type"]:
        case "tap":
            interface.type = "ethernet"  # what is at the other end of a descriptor, no command tells
            interface.sndbuf = netdev.get("sndbuf")
        case "user":
            interface.type = "user"
            if "net" in netdev:
                address, _, prefix = netdev["net"].partition("/")
                interface.ips.append(IpAddress(family="ipv4", address=address, prefix=int(prefix) if prefix else None))
            if "ipv6-prefix" in netdev:
                interface.ips.append(IpAddress(family="ipv6", address=netdev["ipv6-prefix"],
                                               prefix=netdev.get("ipv6-prefixlen")))
        case "vhost-user":
            socket = reader.chardevs[netdev["chardev"]]
            interface.type = "vhostuser"
            interface.source = InterfaceSource(type="unix", path=socket["path"],
                                               mode="server" if socket.get("server") == "on" else "client")
            if "reconnect" in socket:
                interface.source.reconnect_enabled = True
                interface.source.reconnect_timeout = int(socket["reconnect"])
        case "vhost-vdpa":
            interface.type, interface.source = "vdpa", InterfaceSource(dev=netdev["vhostdev"])
        case "socket":
            _socket(netdev, interface)
        case kind:
            raise refusal(f"-netdev {kind}")


def _socket(netdev: Item, interface: Interface) -> None:
    kind = {"listen": "server", "connect": "client"}
    for name in ("listen", "connect", "mcast", "udp"):
        if name in netdev:
            address, _, port = netdev[name].rpartition(":")
            interface.type = kind.get(name, name)
            interface.source = InterfaceSource(address=address or None, port=int(port))
    if "localaddr" in netdev and interface.source is not None:
        address, _, port = netdev["localaddr"].rpartition(":")
        interface.source.local_address, interface.source.local_port = address, int(port)


# --- the rest -------------------------------------------------------------------------------------------------------


def _memballoon(reader: Reader, item: Item) -> None:
    reader.devices.memballoon = Memballoon(
        model="virtio" + item["driver"].removeprefix("virtio-balloon-pci"), autodeflate=item.get("deflate-on-oom"),
        free_page_reporting=item.get("free-page-reporting"), alias=reader.alias(item), address=reader.place(item),
        **_prefixed(item))


def _rng(reader: Reader, item: Item) -> None:
    source = reader.objects[item["rng"]]
    backend: RandomBackend | BuiltinBackend
    if source["qom-type"] == "rng-random":
        backend = RandomBackend(path=source["filename"])
    elif source["qom-type"] == "rng-builtin":
        backend = BuiltinBackend()
    else:
        raise refusal(f"-object {source['qom-type']}")
    reader.devices.rngs.append(Rng(
        model="virtio" + item["driver"].removeprefix("virtio-rng-pci"), backend=backend,
        rate_bytes=item.get("max-bytes"), rate_period=item.get("period"), alias=reader.alias(item),
        address=reader.place(item), **_prefixed(item)))


def _tpm(reader: Reader, item: Item) -> None:
    version = "2.0" if item["driver"] == "tpm-crb" else None
    reader.devices.tpms.append(Tpm(model=item["driver"], alias=reader.alias(item),
                                   backend=TpmBackend(type="emulator", version=version)))


def _watchdog(reader: Reader, item: Item) -> None:
    reader.devices.watchdogs.append(Watchdog(model=item["driver"], alias=reader.alias(item),
                                             address=reader.place(item)))


def _panic(reader: Reader, item: Item) -> None:
    address = IsaAddress(iobase=item["ioport"]) if "ioport" in item else None
    reader.devices.panics.append(Panic(model="isa", alias=reader.alias(item), address=address))


def _hub(reader: Reader, item: Item) -> None:
    reader.devices.hubs.append(Hub(type="usb", alias=reader.alias(item), address=reader.place(item)))


def _iommu(reader: Reader, item: Item) -> None:
    switches = {"on": True, "off": False}
    if item["driver"] == "virtio-iommu":
        reader.devices.iommu = Iommu(model="virtio", alias=reader.alias(item), address=reader.place(item))
        return
    reader.devices.iommu = Iommu(
        model="intel", alias=reader.alias(item), driver_intremap=switches.get(item.get("intremap", "")),
        driver_eim=switches.get(item.get("eim", "")), driver_caching_mode=item.get("caching-mode"),
        driver_iotlb=item.get("device-iotlb"), driver_aw_bits=item.get("aw-bits"))


def _filesystem(reader: Reader, item: Item) -> None:
    if item["driver"] == "vhost-user-fs-pci":
        raise refusal("a directory that a helper serves: its command does not say which one")
    back_end = reader.fsdevs[item["fsdev"]]
    modes = {"none": "squash"}
    reader.devices.filesystems.append(Filesystem(
        type="mount", accessmode=modes.get(back_end["security_model"], back_end["security_model"]),
        multidevs=back_end.get("multidevs"), driver_wrpolicy=back_end.get("writeout"), driver_type="path",
        fmode=int(back_end["fmode"], 8) if "fmode" in back_end else None,
        dmode=int(back_end["dmode"], 8) if "dmode" in back_end else None, source_dir=back_end["path"],
        target_dir=item["mount_tag"], readonly=back_end.get("readonly") == "on", alias=reader.alias(item),
        address=reader.place(item), **_prefixed(item)))


def _memory(reader: Reader, item: Item) -> None:
    back_end = reader.objects[item["memdev"]]
    if item["driver"] != "pc-dimm":
        raise refusal(f"-device {item['driver']}")
    access = {True: "shared", False: "private"}.get(back_end.get("share", ""))
    reader.devices.memories.append(MemoryDevice(
        model="dimm", size=back_end["size"] // 1024, node=item.get("node"), access=access, alias=reader.alias(item),
        address=DimmAddress(slot=item["slot"], base=item.get("addr"))))
    reader.domain.memory = (reader.domain.memory or 0) + back_end["size"] // 1024


def _vmcoreinfo(reader: Reader, item: Item) -> None:
    del item
    assert reader.domain.features is not None
    reader.domain.features.vmcoreinfo = Switch(state=True)


def _genid(reader: Reader, item: Item) -> None:
    reader.domain.genid = item["guid"]


def _flavours(driver: str, read: Callable[[Reader, Item], None]) -> dict[str, Callable[[Reader, Item], None]]:
    return {f"{driver}{flavour}": read for flavour in ("", "-transitional", "-non-transitional")}


_DRIVERS: dict[str, Callable[[Reader, Item], None]] = {
    "ahci": _plain_controller("sata"), "usb-ccid": _plain_controller("ccid"), "isa-fdc": _plain_controller("fdc"),
    "tpm-tis": _tpm, "tpm-crb": _tpm, "i6300esb": _watchdog, "ib700": _watchdog, "pvpanic": _panic, "usb-hub": _hub,
    "intel-iommu": _iommu, "virtio-iommu": _iommu, "pc-dimm": _memory, "vmcoreinfo": _vmcoreinfo, "vmgenid": _genid,
    "vhost-user-fs-pci": _filesystem, **_flavours("virtio-9p-pci", _filesystem),
    **_flavours("virtio-net-pci", _card), **_flavours("virtio-balloon-pci", _memballoon),
    **_flavours("virtio-rng-pci", _rng), **_flavours("virtio-serial-pci", _virtio_serial),
    **dict.fromkeys(_CARDS, _card), **dict.fromkeys(_PCI_CONTROLLERS, _pci_controller),
    **dict.fromkeys(_USB_CONTROLLERS, _usb_controller), **dict.fromkeys(_SCSI_CONTROLLERS, _scsi_controller),
    **dict.fromkeys(VIDEO_DRIVERS, read_video), **dict.fromkeys(INPUT_DRIVERS, read_input),
    **dict.fromkeys(SOUND_DRIVERS, read_sound),
}
