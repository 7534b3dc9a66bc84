"""What a test machine lacks of a document's host, and what stands in for it, so that a real QEMU can start the guest.

Documents name disks, sockets, bridges and firmware of other machines. Each rule here gives one kind of thing a small
real counterpart in a folder (an image in the right format, a socket that somebody listens on, an empty directory), or
takes a device out for which no counterpart exists and says why. It works on the completed model, before anything is
prepared for a start; what the command line says of everything else is not touched.
"""

from __future__ import annotations

import os
import pty
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.components import require_program
from virtbus_domain.drivers.qemu.layers import Volume
from virtbus_domain.drivers.qemu.lookups import HostNetwork, SecretName
from virtbus_domain.xml.boot import Os
from virtbus_domain.xml.chardev import Chardev, ChardevSource
from virtbus_domain.xml.disk import BackingStore, Disk
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.filesystem import Filesystem
from virtbus_domain.xml.graphics import Graphics
from virtbus_domain.xml.hostdev import Hostdev
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.interface import Interface, InterfaceSource
from virtbus_domain.xml.memory import NumatuneCell, NumatuneMemory
from virtbus_domain.xml.memory_device import MemoryDevice
from virtbus_domain.xml.redirdev import Redirdev
from virtbus_domain.xml.rng import EgdBackend, RandomBackend
from virtbus_domain.xml.shmem import Shmem
from virtbus_domain.xml.smartcard import Smartcard
from virtbus_domain.xml.sound import Audio
from virtbus_domain.xml.storage_source import DiskSource
from virtbus_domain.xml.sysinfo import SysinfoEntry
from virtbus_domain.xml.video import Video
from virtbus_shared.service.xml_lines import Element, lines_of

PASSPHRASE = "open sesame"  # of every encrypted image

_IMAGE_SIZE = 4 * 1024 * 1024
_FLOPPY_SIZE = 1440 * 1024  # a drive takes only media of a size that exists
_MEMORY = 128 * 1024  # KiB
_NODE = "0"  # every host has it
_FIRMWARE = Path("/usr/share/OVMF")


class LeftOut(NamedTuple):
    """A device that was taken out: its place among its family's, and why."""

    family: str
    place: int
    reason: str
    device: Element


@dataclass
class StandIns:
    """The counterparts of one guest, and what has none."""

    folder: Path
    stack: ExitStack
    networked: bool  # whether the guest has a network of its own, in which bridges can be made
    as_it_is: bool = False
    volumes: dict[tuple[str, str], Volume] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    _count: int = 0
    _bridges: set[str] = field(default_factory=set)

    def path(self, name: str) -> str:
        """A new path whose name tells what it is for."""
        self._count += 1
        return str(self.folder / f"{self._count}-{name}")

    def file(self, name: str, content: bytes = b"") -> str:
        """A new file."""
        path = self.path(name)
        Path(path).write_bytes(content)
        return path

    def directory(self, name: str) -> str:
        """A new directory."""
        path = self.path(name)
        Path(path).mkdir()
        return path

    def bridge(self, name: str) -> str:
        """A bridge of the guest's own network."""
        if name not in self._bridges:
            run_ip("link", "add", name, "up", "type", "bridge")
            self._bridges.add(name)
        return name

    def listen(self, path: str) -> None:
        """Listen where the guest will call, until it has ended."""
        listener = self.stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen()

    def listening_port(self) -> int:
        """A port for the guest to call, until it has ended."""
        listener = self.stack.enter_context(socket.socket())
        listener.bind(("", 0))
        listener.listen()
        return int(listener.getsockname()[1])


class Services:
    """What the node's other services would answer: see ``Lookups``."""

    def __init__(self, here: StandIns) -> None:
        self._here = here

    async def volume(self, pool: str, name: str) -> Volume:
        """An image of its own for each volume."""
        return self._here.volumes[pool, name]

    async def network(self, name: str) -> HostNetwork:
        """A bridge for each network."""
        return HostNetwork(self._here.bridge(f"br-{name}"[:15]), "127.0.0.1")

    async def secret(self, name: SecretName) -> bytes:
        """The same for every secret."""
        del name
        return PASSPHRASE.encode()


def put_stand_ins(model: Domain, here: StandIns) -> None:
    """Put the counterparts into a completed model."""
    assert model.devices is not None
    _leave_out(model.devices, here)
    _shrink(model)
    _emulate(model)
    _firmware(model, here)
    if not here.as_it_is:
        _apply_rules(model, here)


def bring_back(devices: Devices, number: int, here: StandIns) -> None:
    """Put one of the devices back that were left out, which the host does not have."""
    left = here.left_out[number]
    _apply_rules(left.device, here)
    found = getattr(devices, left.family)
    if isinstance(found, list):
        found.insert(left.place, left.device)
    else:
        setattr(devices, left.family, left.device)


def _apply_rules(root: Element, here: StandIns) -> None:
    for part in elements(root):
        rule = _RULES.get(type(part))
        if rule is not None:
            rule(part, here)


def run_ip(*words: str) -> None:
    """Change the network that this thread is in."""
    subprocess.run([require_program("ip"), *words], check=True, timeout=30)


def elements(root: Element) -> Iterator[Element]:
    """An element and all below it."""
    yield root
    for name in lines_of(type(root)):
        value = getattr(root, name)
        for item in value if isinstance(value, list) else (value,):
            if isinstance(item, Element):
                yield from elements(item)


# --- what has no counterpart ----------------------------------------------------------------------------------------

NO_VHOST = "the kernel has no vhost"
NO_VFIO = "the kernel has no VFIO"
NO_USB = "the machine has no USB host"
NO_EVDEV = "the machine has no input devices"
NO_GPU = "the machine has no render node"
NO_SCSI = "the machine has no SCSI disks"
NO_PARALLEL = "the machine has no parallel port"
NO_VHOST_USER = "nobody serves vhost-user here"
NO_IVSHMEM = "there is no ivshmem-server"
NO_CARD = "the machine has no smart card"
NO_BUS = "the driver does not start a D-Bus for a guest's display"


def absent(family: str, device: Element) -> str | None:
    """Why a device cannot be had on the machines that run the tests, None for the many that can."""
    match device:
        case Hostdev():
            return NO_USB if device.type == "usb" else NO_VFIO
        case Input() if device.source_evdev or device.source_dev:
            return NO_EVDEV
        case Disk(device="lun", target_bus="scsi"):
            return NO_SCSI
        case Interface(type="hostdev"):
            return NO_VFIO
        case Interface(type="vhostuser"):
            return NO_VHOST_USER
        case Interface(type="vdpa"):
            return NO_VHOST
        case Graphics(type="egl-headless"):
            return NO_GPU
        case Graphics(type="dbus"):
            return NO_BUS
        case Chardev(type="dev") if family == "parallels":
            return NO_PARALLEL
        case Shmem() if device.server is not None:
            return NO_IVSHMEM
        case Smartcard() if device.mode != "passthrough":
            return NO_CARD
        case Video(driver_name="vhostuser"):
            return NO_VHOST_USER
    return NO_VHOST if family == "vsock" else None


def _leave_out(devices: Devices, here: StandIns) -> None:
    for family in lines_of(Devices):
        found = getattr(devices, family)
        for place, device in enumerate(list(found) if isinstance(found, list) else [found]):
            reason = absent(family, device) if isinstance(device, Element) else None
            if reason is None:
                continue
            here.left_out.append(LeftOut(family, place, reason, device))
            if isinstance(found, list):
                del found[next(number for number, other in enumerate(found) if other is device)]
            else:
                setattr(devices, family, None)


# --- what is part of every machine ----------------------------------------------------------------------------------


def _shrink(model: Domain) -> None:
    """Many guests run at once; cells and modules keep the sizes that their addresses depend on."""
    assert model.devices is not None
    if model.cpu and model.cpu.numa:
        return
    modules = sum(device.size or 0 for device in model.devices.memories)
    model.memory = min(model.memory or _MEMORY, _MEMORY + modules)
    model.current_memory = min(model.current_memory or model.memory, model.memory)


def _emulate(model: Domain) -> None:
    """What only KVM can do, and what the user adds at his own risk."""
    if model.features is not None:
        model.features.hyperv = None
    if model.cpu is not None:
        model.cpu.check = "none"
    model.qemu_commandline = None


def _firmware(model: Domain, here: StandIns) -> None:
    """The firmware of another distribution, as the one that Debian has in its place."""
    os_part = model.os
    if os_part is None or os_part.loader is None or not os_part.loader.path or Path(os_part.loader.path).exists():
        return
    loader = os_part.loader
    if loader.type != "pflash":
        loader.path = "/usr/share/seabios/bios-256k.bin"
        return
    kind = ".secboot" if loader.secure else ""
    loader.path, loader.format = str(_FIRMWARE / f"OVMF_CODE_4M{kind}.fd"), "raw"
    if os_part.nvram is not None:
        os_part.nvram.path = here.path("nvram")
        os_part.nvram.template = str(_FIRMWARE / "OVMF_VARS_4M.fd")
        os_part.nvram.format = os_part.nvram.template_format = None


def _os(os_part: Os, here: StandIns) -> None:
    if os_part.kernel:
        os_part.kernel = here.file("kernel", _kernel())
    for name in ("initrd", "dtb"):
        if getattr(os_part, name):
            setattr(os_part, name, here.file(name, bytes(4096)))
    for table in os_part.acpi_tables:
        table.path = here.file("table", _acpi_table())


def _kernel() -> bytes:
    """The least that QEMU takes for a Linux kernel: Documentation/arch/x86/boot.rst."""
    image = bytearray(8192)
    image[0x1F1] = 4  # sectors of set-up code
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x202:0x208] = b"HdrS" + struct.pack("<H", 0x020C)
    image[0x211] = 1  # loaded high
    image[0x22C:0x230] = struct.pack("<L", 0x7FFFFFFF)  # the highest address of an initial disk
    return bytes(image)


def _acpi_table() -> bytes:
    table = struct.pack("<4sLBB6s8sL4sL", b"SLIC", 36, 1, 0, b"VIRTBS", b"VIRTBUS ", 1, b"VBUS", 1)
    return table[:9] + bytes([-sum(table) % 256]) + table[10:]


def _entry(entry: SysinfoEntry, here: StandIns) -> None:
    if entry.file:
        entry.file = here.file("fw_cfg", b"content")


# --- disks ----------------------------------------------------------------------------------------------------------


def _disk(disk: Disk, here: StandIns) -> None:
    driver_format = disk.driver.type if disk.driver else None
    layer: Any = disk
    image_format = driver_format or "raw"
    while layer is not None and layer.source is not None:
        size = _FLOPPY_SIZE if disk.device == "floppy" else _IMAGE_SIZE
        encrypted = is_encrypted(layer)
        if layer.type == "dir":
            layer.source.dir = here.directory("fat")
        elif layer.type == "volume":
            volume = DiskSource(slices=layer.source.slices)
            _image(volume, image_format, size, here, encrypted=encrypted)
            here.volumes[layer.source.pool or "", layer.source.volume or ""] = Volume("file", volume)
        else:
            layer.type = "file"
            _image(layer.source, image_format, size, here, encrypted=encrypted)
        layer = layer.backing_store
        image_format = (layer.format if layer is not None else None) or "raw"
    disk.auth = None


def is_encrypted(layer: Disk | BackingStore) -> bool:
    """Whether a layer's image is; of the topmost one the disk may say so itself."""
    inside = layer.source.encryption if layer.source is not None else None
    return inside is not None or (isinstance(layer, Disk) and layer.encryption is not None)


def _image(source: DiskSource, image_format: str, size: int, here: StandIns, *, encrypted: bool) -> None:
    """A file of the same format in place of wherever the bytes came from."""
    source.file = here.path(image_format)
    source.dev = source.dir = source.protocol = source.name = source.auth = source.pool = source.volume = None
    source.hosts, source.cookies = [], []
    size = max([size, *((part.offset or 0) + (part.size or 0) for part in source.slices)])
    if image_format in ("raw", "iso", "fat", "dir") and not encrypted:
        with Path(source.file).open("wb") as file:
            file.truncate(size)
        return
    made = "luks" if encrypted and image_format == "raw" else image_format
    Path(source.file).write_bytes(_image_template(made, size, encrypted))


@cache
def _image_template(image_format: str, size: int, encrypted: bool) -> bytes:
    """An empty image. A key is derived with the fewest rounds, which is what takes so long."""
    path = Path("/dev/shm") / f"virtbus-template-{os.getpid()}"
    options: list[str] = []
    if encrypted:
        prefix = "" if image_format == "luks" else "encrypt."
        words = [f"{prefix}key-secret=key", f"{prefix}iter-time=10"]
        if image_format != "luks":
            words.append("encrypt.format=luks")
        options = ["--object", f"secret,id=key,data={PASSPHRASE}", "-o", ",".join(words)]
    name = {"vhd": "vpc", "ploop": "parallels"}.get(image_format, image_format)
    try:
        subprocess.run([require_program("qemu-img"), "create", "-q", "-f", name, *options, path, str(size)],
                       check=True, timeout=60)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


# --- network cards --------------------------------------------------------------------------------------------------


def _interface(interface: Interface, here: StandIns) -> None:
    """The bridges and devices of the host that a card is put on."""
    _rom(interface, here)
    source = interface.source
    match interface.type:
        case "client" if source is not None:
            source.port = here.listening_port()
        case "vhostuser" if source is not None:  # QEMU would wait for somebody to call
            source.mode, source.reconnect_enabled = "client", None
        case "network" | "bridge" | "direct" | "ethernet" if not here.networked:
            interface.type, interface.source, interface.backend = "user", None, None
        case "bridge" if source is not None:
            here.bridge(source.bridge or "")
        case "direct" if source is not None:  # a macvtap device of another network has no node in /dev
            interface.type, interface.source = "bridge", InterfaceSource(bridge=here.bridge(source.dev or ""))
        case "ethernet":
            interface.target_managed = None  # /sys, where one that exists is looked for, shows another network
    if interface.backend is not None:
        interface.backend.tap = None
    if interface.driver is not None and interface.driver.name == "vhost":
        interface.driver.name = None  # the kernel has no vhost


def _rom(device: Any, here: StandIns) -> None:
    if device.rom_file:
        device.rom_file = here.file("rom", bytes(512))


# --- character devices ----------------------------------------------------------------------------------------------


def _host_end(end: Any, here: StandIns) -> None:
    """The files, terminals and sockets that the host's end of a character device is about."""
    if end.log_file:
        end.log_file = here.path("log")
    for source in end.source:
        _chardev_source(source, str(end.type), here)


def _chardev_source(source: ChardevSource, kind: str, here: StandIns) -> None:
    match kind:
        case "file":
            source.path = here.path("output")
        case "dev":
            controller, terminal = pty.openpty()
            here.stack.callback(os.close, controller)
            here.stack.callback(os.close, terminal)
            source.path = os.ttyname(terminal)
        case "pipe":
            source.path = here.path("pipe")
            os.mkfifo(source.path)
        case "unix" if source.path:
            source.path = here.path("socket")
            if source.mode == "connect":
                here.listen(source.path)
        case "tcp" | "udp":
            source.host = _address(source.host)
            if kind == "tcp" and source.mode == "connect":
                source.service = str(here.listening_port())


def _address(host: str | None) -> str | None:
    """A host's name as an address: there is nobody to look names up."""
    if host and any(character.isalpha() for character in host) and ":" not in host:
        return "127.0.0.1"
    return host


# --- the rest -------------------------------------------------------------------------------------------------------


def _graphics(graphics: Graphics, here: StandIns) -> None:
    graphics.gl_enable = graphics.gl_rendernode = None  # there is no render node, and no certificate
    graphics.tls_port = graphics.default_mode = None
    graphics.channels = [channel for channel in graphics.channels if channel.mode != "secure"]
    if graphics.socket:
        graphics.socket = here.path("display")
    for listen in graphics.listens:
        listen.address = _address(listen.address)
        if listen.socket:
            listen.socket = here.path("display")


def _video(video: Video, here: StandIns) -> None:
    del here
    video.accel3d = None  # there is no render node


def _filesystem(filesystem: Filesystem, here: StandIns) -> None:
    if filesystem.source_dir or filesystem.source_socket:
        filesystem.source_dir, filesystem.source_socket = here.directory("shared"), None
    filesystem.binary_path = None


def _host_nodes(tuning: NumatuneMemory | NumatuneCell, here: StandIns) -> None:
    del here
    tuning.nodeset = _NODE if tuning.nodeset else None


def _module(memory: MemoryDevice, here: StandIns) -> None:
    memory.nodemask = _NODE if memory.nodemask else None
    if memory.source_path:
        memory.source_path = here.path("memory")


def _random(backend: RandomBackend, here: StandIns) -> None:
    del here
    if not Path(backend.path or "").exists():
        backend.path = "/dev/urandom"


def _shmem(shmem: Shmem, here: StandIns) -> None:
    shmem.name = f"virtbus-{os.getpid()}-{shmem.name}"
    here.stack.callback((Path("/dev/shm") / shmem.name).unlink, missing_ok=True)


def _audio(audio: Audio, here: StandIns) -> None:
    if audio.path:
        audio.path = here.path("wav")


_RULES: dict[type[Element], Callable[[Any, StandIns], None]] = {
    Os: _os, SysinfoEntry: _entry, Disk: _disk, Interface: _interface, Chardev: _host_end, Smartcard: _host_end,
    Redirdev: _host_end, EgdBackend: _host_end, Graphics: _graphics, Filesystem: _filesystem, MemoryDevice: _module,
    RandomBackend: _random, Video: _video,
    NumatuneMemory: _host_nodes, NumatuneCell: _host_nodes, Shmem: _shmem, Audio: _audio}
