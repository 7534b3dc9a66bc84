"""What stands in for what a test machine lacks of a document's host, so that a real QEMU can start the guest.

Documents name disks, sockets, bridges and firmware of other machines. Each gets a small real counterpart in a folder
(``stand_in_rules``), questions to the node's other services are answered, and devices for which there is no
counterpart are known by the reason.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.support.components import require_program
from virtbus_domain.drivers.qemu.layers import Volume
from virtbus_domain.drivers.qemu.lookups import HostNetwork, SecretName
from virtbus_domain.xml.chardev import Chardev
from virtbus_domain.xml.disk import Disk
from virtbus_domain.xml.filesystem import Filesystem
from virtbus_domain.xml.graphics import Graphics
from virtbus_domain.xml.hostdev import Hostdev
from virtbus_domain.xml.input import Input
from virtbus_domain.xml.interface import Interface
from virtbus_domain.xml.shmem import Shmem
from virtbus_domain.xml.smartcard import Smartcard
from virtbus_domain.xml.video import Video
from virtbus_shared.service.xml_lines import Element, lines_of

PASSPHRASE = "open sesame"  # of every encrypted image


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
        return HostNetwork(self._here.bridge(f"br-{name}"[:15]) if self._here.networked else "", "127.0.0.1")

    async def secret(self, name: SecretName) -> bytes:
        """The same for every secret."""
        del name
        return PASSPHRASE.encode()


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
NO_VIRTIOFSD = "virtiofsd serves none but root"
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
        case Interface():
            return {"hostdev": NO_VFIO, "vhostuser": NO_VHOST_USER, "vdpa": NO_VHOST}.get(device.type or "")
        case Graphics():
            return {"egl-headless": NO_GPU, "dbus": NO_BUS}.get(device.type or "")
        case Chardev(type="dev") if family == "parallels":
            return NO_PARALLEL
        case Shmem() if device.server is not None:
            return NO_IVSHMEM
        case Smartcard() if device.mode != "passthrough":
            return NO_CARD
        case Filesystem(driver_type="virtiofs") if os.geteuid() != 0:
            return NO_VIRTIOFSD
        case Video(driver_name="vhostuser"):
            return NO_VHOST_USER
    return NO_VHOST if family == "vsock" else None
