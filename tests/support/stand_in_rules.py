"""The small real counterpart that each thing of a document's host has on a test machine.

Each rule is about one kind of element and works on the completed model, before anything is prepared for a start: an
image in the right format, a socket that somebody listens on, an empty directory. What the command line says of
everything else is not touched.
"""

from __future__ import annotations

import os
import pty
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.images import make_image
from tests.support.stand_ins import PASSPHRASE, LeftOut, StandIns, absent, elements
from virtbus_domain.drivers.qemu.layers import Volume
from virtbus_domain.xml.boot import Os
from virtbus_domain.xml.chardev import Chardev, ChardevSource
from virtbus_domain.xml.disk import BackingStore, Disk
from virtbus_domain.xml.domain import Devices, Domain
from virtbus_domain.xml.filesystem import Filesystem
from virtbus_domain.xml.graphics import Graphics
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

_IMAGE_SIZE = 4 * 1024 * 1024
_FLOPPY_SIZE = 1440 * 1024  # a drive takes only media of a size that exists
_MEMORY = 128 * 1024  # KiB
_NODE = "0"  # every host has it
_FIRMWARE = Path("/usr/share/OVMF")


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
    if os.geteuid() != 0 and model.memory_backing is not None:
        model.memory_backing.locked = False  # few users may lock that much


def _firmware(model: Domain, here: StandIns) -> None:
    """The firmware of another distribution as the one that Debian has in its place, and as a copy if it is written."""
    os_part = model.os
    loader = os_part.loader if os_part else None
    if os_part is None or loader is None or not loader.path:
        return
    if not Path(loader.path).exists():
        if loader.type != "pflash":
            loader.path = "/usr/share/seabios/bios-256k.bin"
            return
        kind = ".secboot" if loader.secure else ""
        loader.path, loader.format = str(_FIRMWARE / f"OVMF_CODE_4M{kind}.fd"), "raw"
        if os_part.nvram is not None:
            os_part.nvram.path = here.path("nvram")
            os_part.nvram.template = str(_FIRMWARE / "OVMF_VARS_4M.fd")
            os_part.nvram.format = os_part.nvram.template_format = None
    if loader.type == "pflash" and not loader.readonly:
        loader.path = here.file("code", Path(loader.path).read_bytes())


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
        make_image(path, name, str(size), *options)
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
            source.address, source.port = _address(source.address, here), here.listening_port()
        case "server" | "udp" if source is not None:
            source.address, source.local_address = _address(source.address, here), _address(source.local_address, here)
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
            source.host = _address(source.host, here)
            if kind == "tcp" and source.mode == "connect":
                source.service = str(here.listening_port())


def _address(host: str | None, here: StandIns) -> str | None:
    """A host's name as an address: nobody looks names up, and without a network of its own a guest has this one."""
    if host and ":" not in host and (not here.networked or any(character.isalpha() for character in host)):
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
        listen.address = _address(listen.address, here)
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
