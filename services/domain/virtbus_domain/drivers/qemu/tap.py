"""Tap devices: the host's end of a guest's network card.

We make the device and hand QEMU its file descriptors, so QEMU needs no right to change the network. A tap lives as
long as somebody holds a descriptor: once we have closed ours, it vanishes with QEMU, whatever happens to us.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from dataclasses import dataclass

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

# linux/if_tun.h; the kernel's documentation: networking/tuntap.rst
_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000  # offload headers: QEMU's virtio-net needs them to be worth its name
_IFF_MULTI_QUEUE = 0x0100
_IFREQ = struct.Struct("16sH22x")
_NAME_MAX = 15
_FREE_NAME = "vnet%d"  # the kernel puts the first free number in, so two callers cannot collide
_TUN = "/dev/net/tun"


@dataclass(frozen=True)
class Tap:
    """An open tap device, with a descriptor for each queue. Whoever has it closes them, which removes the device
    unless QEMU holds it too."""

    fds: tuple[int, ...]
    name: str

    @property
    def fd(self) -> int:
        """The descriptor of its first queue."""
        return self.fds[0]

    def close(self) -> None:
        """Let go of it."""
        for fd in self.fds:
            os.close(fd)


async def create_tap(mac: str, bridge: str | None, name: str | None = None, *, queues: int = 1,
                     mtu: int | None = None, tun: str | None = None) -> Tap:
    """Make a tap device, a port of ``bridge`` if one is given, and bring it up.

    ``mac`` is the guest's address; ``name`` (at most 15 bytes) is chosen when not given: vnet0, vnet1 and so on.
    ``mtu`` is the bridge's unless given, ``tun`` the kernel's file for making one. Raises ``LibvirtError``
    (``VIR_ERR_SYSTEM_ERROR``) when the kernel refuses; then no device is left.
    """
    async with AsyncIPRoute() as route:
        settings: dict[str, object] = {} if mtu is None else {"mtu": mtu}
        if bridge is not None:
            index, bridge_mtu = await _bridge(route, bridge)
            settings = {"master": index, "mtu": mtu or bridge_mtu}
        tap = open_tap(name or _FREE_NAME, queues=queues, tun=tun)
        try:
            # A bridge takes the lowest address among its ports for its own; 0xfe keeps it from taking a guest's.
            device = socket.if_nametoindex(tap.name)
            await route.link("set", index=device, address="fe" + mac[2:], state="up", **settings)
        except NetlinkError as error:
            tap.close()
            what = f"Unable to set up tap device {tap.name}" if bridge is None else (
                f"Unable to add bridge {bridge} port {tap.name}")
            raise system_error(what, error.code) from error
        except BaseException:
            tap.close()
            raise
    return tap


async def _bridge(route: AsyncIPRoute, name: str) -> tuple[int, int]:
    """Index and MTU of a bridge; its ports must have the same MTU, or it would lower its own."""
    try:
        [link] = await route.link("get", ifname=name)
    except NetlinkError as error:
        raise system_error(f"Cannot get interface MTU on '{name}'", error.code) from error
    return link["index"], link.get("mtu")


def open_tap(name: str, *, queues: int = 1, tun: str | None = None) -> Tap:
    """Open the tap device of a name; it is made if there is none, and otherwise left as it is."""
    encoded = name.encode()
    if len(encoded) > _NAME_MAX or b"\0" in encoded:
        raise system_error(f"Unable to create tap device {name}", errno.ENAMETOOLONG)
    fds: list[int] = []
    try:
        for _ in range(queues):
            fds.append(_open(tun or _TUN))
            encoded = attach(fds[-1], encoded, several=queues > 1)
    except OSError as error:
        Tap(tuple(fds), name).close()
        raise system_error(f"Unable to create tap device {name}", error.errno) from error
    except BaseException:
        Tap(tuple(fds), name).close()
        raise
    return Tap(tuple(fds), encoded.decode())


def attach(fd: int, name: bytes, *, several: bool) -> bytes:
    """Make a descriptor a queue of a device, one of ``several`` or its only one; the device's name. ``OSError``."""
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | (_IFF_MULTI_QUEUE if several else 0)
    request: bytes = fcntl.ioctl(fd, _TUNSETIFF, _IFREQ.pack(name, flags))
    found: bytes = _IFREQ.unpack(request)[0]
    return found.rstrip(b"\0")


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise system_error(f"Unable to open {path}, is tun module loaded?", error.errno) from error


def system_error(what: str, number: int | None) -> LibvirtError:
    """The error of what the kernel has refused."""
    number = number or errno.EIO
    return LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"{what}: {os.strerror(number)}", int1=number)
