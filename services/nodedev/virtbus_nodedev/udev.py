"""Node devices as libvirt's udev driver names and describes them, and news of those that come and go.

Clients parse the names (``pci_0000_00_1f_2``, ``net_eth0_52_54_00_aa_bb_cc``, ``block_vda_SERIAL``), so which devices
are listed, how they are called and who is whose parent follow ``node_device_udev.c`` of libvirt 9.0.0. Facts come from
the kernel's own properties and from sysfs; what only udevd's rules add (names of PCI ids, links below /dev, disk
serials) appears where a udevd runs and is left out where none does, as in a container.
"""

from __future__ import annotations

import array
import asyncio
import errno
import fcntl
import os
import re
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pyudev

from virtbus_nodedev import sysfs
from virtbus_nodedev.host import Host
from virtbus_nodedev.xml import (
    DevNode,
    IdName,
    NetCapability,
    NodeDevice,
    PciCapability,
    RemovableMedia,
    StorageCapability,
    SystemCapability,
)
from virtbus_shared.service.xml_lines import Raw, Rest

SUBSYSTEMS = ("pci", "net", "block")
SECTOR = 512  # bytes; the unit of a block device's "size" file, whatever its own block size
Action = Literal["add", "change", "remove"]
Change = tuple[Action, NodeDevice]

_OPERATION_STATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")
_SIOCETHTOOL = 0x8946
# linux/ethtool.h: commands that answer one word, and the bits of ETHTOOL_GFLAGS; the names are libvirt's.
_ETHTOOL_WORDS = {"rx": 0x14, "tx": 0x16, "sg": 0x18, "tso": 0x1E, "gso": 0x23, "gro": 0x2B}
_ETHTOOL_GFLAGS = 0x25
_ETHTOOL_FLAGS = {"lro": 1 << 15, "rxvlan": 1 << 8, "txvlan": 1 << 7, "ntuple": 1 << 27, "rxhash": 1 << 28}


def device_name(subsystem: str, sysname: str, suffix: str | None = None) -> str:
    """libvirt's name of a device: subsystem, kernel name, serial or MAC; ``_`` for all but letters and digits."""
    parts = [subsystem, sysname] if suffix is None else [subsystem, sysname, suffix]
    return re.sub(r"[^0-9A-Za-z]", "_", "_".join(parts))


def describe(device: pyudev.Device) -> NodeDevice | None:
    """The node device of a udev device, all but its parent; None when libvirt's driver does not list such a device."""
    devtype = device.device_type
    if devtype == "disk":
        found = _storage(device)
    elif devtype is None and "PCI_CLASS" in device.properties:
        found = _pci(device)
    # Bridges, VLANs and bonds carry a DEVTYPE of their own and are not node devices; plain interfaces carry none.
    elif (devtype is None and "INTERFACE" in device.properties) or devtype == "wlan":
        found = _net(device)
    else:
        found = None
    if found is not None:
        found.path = device.sys_path
        found.driver = device.driver
        if device.device_node is not None:
            links = sorted(link for link in device.device_links)
            found.devnodes = [DevNode(type="dev", path=device.device_node)]
            found.devnodes += [DevNode(type="link", path=link) for link in links]
    return found


def _pci(device: pyudev.Device) -> NodeDevice | None:
    at, path = sysfs.pci_address(device.sys_name), Path(device.sys_path)
    if at is None:
        return None
    numa = sysfs.read_int(path / "numa_node")
    properties = device.properties
    return NodeDevice(name=device_name("pci", device.sys_name), capability=PciCapability(
        type="pci", class_code=int(properties["PCI_CLASS"], 16),
        domain=at.domain, bus=at.bus, slot=at.slot, function=at.function,
        product=IdName(id=sysfs.read_int(path / "device", 16), name=properties.get("ID_MODEL_FROM_DATABASE")),
        vendor=IdName(id=sysfs.read_int(path / "vendor", 16), name=properties.get("ID_VENDOR_FROM_DATABASE")),
        capabilities=sysfs.pci_sub_capabilities(path), iommu_group=sysfs.pci_iommu_group(path),
        numa_node=None if numa is None or numa < 0 else numa, links=sysfs.pci_express_links(path)))


def _net(device: pyudev.Device) -> NodeDevice:
    path = Path(device.sys_path)
    interface, address = device.properties["INTERFACE"], sysfs.read(path / "address")
    state = sysfs.read(path / "operstate")
    # Drivers report left-over or invented speeds for a link that is down, and -1 for "unknown".
    speed = sysfs.read_int(path / "speed") if state == "up" else None
    return NodeDevice(name=device_name("net", device.sys_name, address), capability=NetCapability(
        type="net", interface=interface, address=address if address and len(address) == 17 else None,
        link_speed=speed if speed is not None and speed > 0 else None,
        link_state=state if state in _OPERATION_STATES else None,
        features=_net_features(interface, path),
        subtype="80211" if device.device_type == "wlan" else "80203"))


def _net_features(interface: str, path: Path) -> list[str]:
    """The offloads that are switched on, by libvirt's names; those that the driver does not tell are left out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        def ask(command: int) -> int:
            words = array.array("I", (command, 0))  # struct ethtool_value; the kernel writes the second word
            try:
                fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("16sP", os.fsencode(interface), words.buffer_info()[0]))
            except OSError:
                return 0
            return words[1]

        features = [name for name, command in _ETHTOOL_WORDS.items() if ask(command)]
        flags = ask(_ETHTOOL_GFLAGS)
    features += [name for name, bit in _ETHTOOL_FLAGS.items() if flags & bit]
    if (path / "device" / "infiniband").is_dir():
        features.append("rdma")
    return features


def _storage(device: pyudev.Device) -> NodeDevice | None:
    path, properties, block = Path(device.sys_path), device.properties, device.device_node
    kind = _drive_type(device)
    if kind is None or block is None:
        return None
    serial = properties.get("ID_SERIAL")
    if serial is None and device.sys_name.startswith("vd"):
        # udevd's own rule for virtio disks; taking the same file keeps the name where no udevd runs.
        serial = sysfs.read(path / "serial")
    storage = StorageCapability(
        type="storage", block=block, bus=properties.get("ID_BUS"), drive_type=kind,
        model=sysfs.read(path / "device" / "model"), vendor=_disk_vendor(path), serial=serial)
    block_size = sysfs.read_int(path / "queue" / "logical_block_size") or SECTOR
    size = (sysfs.read_int(path / "size") or 0) * SECTOR
    if sysfs.read_int(path / "removable") == 1:
        present = size > 0 if kind != "cdrom" else properties.get("ID_CDROM_MEDIA") == "1"
        # libvirt writes no block sizes for an empty drive
        storage.removable = RemovableMedia(
            type="removable", available=int(present), size=size if present else 0,
            label=properties.get("ID_FS_LABEL"), logical_block_size=block_size if present else None,
            num_blocks=size // block_size if present else None)
    else:
        storage.size, storage.logical_block_size, storage.num_blocks = size, block_size, size // block_size
    return NodeDevice(name=device_name("block", device.sys_name, serial), capability=storage)


def _disk_vendor(path: Path) -> str | None:
    """The vendor of a SCSI disk. A virtio disk's "vendor" file is the PCI id of its controller, which names nobody."""
    vendor = sysfs.read(path / "device" / "vendor")
    return None if vendor is not None and vendor.startswith("0x") else vendor


def _drive_type(device: pyudev.Device) -> str | None:
    """What sort of drive it is; None for what is no drive of its own (loop, ram, zram, device-mapper)."""
    properties = device.properties
    kind = properties.get("ID_TYPE")
    if kind in ("disk", "cdrom", "floppy", "sd"):
        return str(kind)
    for key, name in (("ID_DRIVE_FLOPPY", "floppy"), ("ID_CDROM", "cdrom"), ("ID_DRIVE_FLASH_SD", "sd")):
        if properties.get(key) == "1":
            return name
    # Nobody said: the kernel's own naming of drivers tells.
    name = str(device.sys_name)
    if name.startswith("sr"):
        return "cdrom"
    return "disk" if name.startswith(("vd", "sd", "hd", "nvme", "xvd")) else None


def computer(host: Host) -> NodeDevice:
    """The root of all devices: the machine itself, as its firmware describes it."""
    dmi = host.dmi
    firmware = [dmi(key) for key in ("bios_vendor", "bios_version", "bios_date")]
    system = SystemCapability(
        type="system", product=dmi("product_name"), hardware_vendor=dmi("sys_vendor"),
        hardware_version=dmi("product_version"), hardware_serial=dmi("product_serial"), hardware_uuid=host.uuid(),
        firmware_vendor=firmware[0], firmware_version=firmware[1], firmware_release_date=firmware[2])
    if not any(firmware):  # the format demands the element even where no firmware says a word
        system.rest = {"": Rest(elements=[Raw("firmware")])}
    return NodeDevice(name="computer", capability=system)


def enumerate_devices(host: Host) -> list[NodeDevice]:
    """All devices of the host, the computer first. Blocking: some drivers are slow to answer."""
    listing = pyudev.Context().list_devices()
    for subsystem in SUBSYSTEMS:
        listing.match_subsystem(subsystem)
    found = [device for one in listing if (device := _describe_if_there(one)) is not None]
    paths = {device.path: device.name for device in found if device.path and device.name}
    for device in found:
        device.parent = _parent(device.path, paths)
    return [computer(host), *found]


def _describe_if_there(device: pyudev.Device) -> NodeDevice | None:
    """The node device, unless it goes away while it is being read."""
    try:
        return describe(device)
    except (KeyError, OSError):
        return None


def _parent(path: str | None, paths: dict[str, str]) -> str:
    """The nearest ancestor that is listed itself; the computer when there is none."""
    return next((name for above in Path(path or "/").parents if (name := paths.get(str(above)))), "computer")


class DeviceTable:
    """The host's devices in memory, by name. It knows who is whose parent, so every change goes through it."""

    def __init__(self) -> None:
        self._context = pyudev.Context()
        self._names: dict[str, str] = {}  # sysfs path -> name
        self.devices: dict[str, NodeDevice] = {}

    def replace(self, found: list[NodeDevice]) -> list[Change]:
        """Take what ``enumerate_devices`` found in place of what was known; what came and went since then."""
        known, self.devices = self.devices, {device.name: device for device in found if device.name}
        self._names = {device.path: device.name for device in found if device.path and device.name}
        gone: list[Change] = [("remove", device) for name, device in known.items() if name not in self.devices]
        return gone + [("add", device) for name, device in self.devices.items() if name not in known]

    def current(self, name: str) -> NodeDevice | None:
        """A device as it is now: link states, SR-IOV functions and media change without any event."""
        known = self.devices.get(name)
        if known is None or known.path is None:
            return known
        try:
            now = _describe_if_there(pyudev.Devices.from_sys_path(self._context, known.path))
        except pyudev.DeviceNotFoundError:
            now = None
        if now is None or now.name != name:
            return known  # it has just gone or become another; the event that says so is on its way
        now.parent = known.parent
        self.devices[name] = now
        return now

    def apply(self, action: str, device: pyudev.Device) -> list[Change]:
        """Take in one event of the kernel or udevd; a renamed interface is one that goes and one that comes."""
        before = "/sys" + device.properties["DEVPATH_OLD"] if "DEVPATH_OLD" in device.properties else device.sys_path
        found = None if action == "remove" else _describe_if_there(device)
        if found is not None and found.name == self._names.get(device.sys_path):
            found.parent = _parent(found.path, self._names)
            self.devices[str(found.name)] = found
            return [("change", found)]
        changes: list[Change] = []
        if (name := self._names.pop(before, None)) is not None:
            changes.append(("remove", self.devices.pop(name)))
        if found is not None and found.name is not None and found.path is not None:
            found.parent = _parent(found.path, self._names)
            self._names[found.path] = found.name
            self.devices[found.name] = found
            changes.append(("add", found))
        return changes


class DeviceMonitor:
    """Keeps a ``DeviceTable`` fresh on an asyncio loop, and says what changed.

    The kernel drops events that nobody reads in time. The monitor then looks at everything anew and tells the
    difference, so that the table is right again and no change stays unsaid.
    """

    def __init__(self, host: Host, table: DeviceTable, changed: Callable[[Action, NodeDevice], None]) -> None:
        """``changed`` is called on the loop for each device that came, went or changed."""
        self._host, self._table, self._changed = host, table, changed
        # Where udevd runs, its events are the ones to take: links, permissions and properties are complete by then.
        source = "udev" if Path("/run/udev/control").exists() else "kernel"
        self._monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source)
        for subsystem in SUBSYSTEMS:
            self._monitor.filter_by(subsystem)
        self._thread = ThreadPoolExecutor(1, "nodedev-scan")
        self._scan: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Fill the table, without calls of ``changed``, and listen from before that on: nothing falls in between."""
        self._monitor.start()
        await self._look()
        asyncio.get_running_loop().add_reader(self._monitor.fileno(), self._ready)

    async def stop(self) -> None:
        """Stop listening and let go of the thread."""
        asyncio.get_running_loop().remove_reader(self._monitor.fileno())
        if self._scan is not None:
            self._scan.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _look(self) -> list[Change]:
        found = await asyncio.get_running_loop().run_in_executor(self._thread, enumerate_devices, self._host)
        return self._table.replace(found)

    def _ready(self) -> None:
        try:
            while (device := self._monitor.poll(0)) is not None:
                self._tell(self._table.apply(device.action, device))
        except OSError:
            asyncio.get_running_loop().remove_reader(self._monitor.fileno())
            self._scan = asyncio.create_task(self._look_again())

    async def _look_again(self) -> None:
        self._drain()
        self._tell(await self._look())
        asyncio.get_running_loop().add_reader(self._monitor.fileno(), self._ready)

    def _drain(self) -> None:
        """Clear the error and what is left in the queue: until both are gone the kernel gives nothing more."""
        with socket.socket(fileno=os.dup(self._monitor.fileno())) as netlink:
            while True:
                error = netlink.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error not in (0, errno.ENOBUFS):
                    raise OSError(error, "listening for device events")
                try:
                    while self._monitor.poll(0) is not None:
                        pass
                except OSError:
                    continue
                return

    def _tell(self, changes: list[Change]) -> None:
        for action, device in changes:
            self._changed(action, device)
