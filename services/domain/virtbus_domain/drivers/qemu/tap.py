"""Tap devices: the host's end of a guest's network card.

We make the device and hand QEMU its file descriptor, so QEMU needs no right to change the network. A tap lives as
long as somebody holds that descriptor: once we have closed ours, it vanishes with QEMU, whatever happens to us.
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
_IFREQ = struct.Struct("16sH22x")
_NAME_MAX = 15
_FREE_NAME = "vnet%d"  # the kernel puts the first free number in, so two callers cannot collide


@dataclass(frozen=True)
class Tap:
    """An open tap device. Whoever has it closes ``fd``, which removes the device unless QEMU holds it too."""

    fd: int
    name: str


async def create_tap(mac: str, bridge: str | None, name: str | None = None) -> Tap:
    """Make a tap device, a port of ``bridge`` if one is given, and bring it up.

    ``mac`` is the guest's address; ``name`` (at most 15 bytes) is chosen when not given: vnet0, vnet1 and so on.
    Raises ``LibvirtError`` (``VIR_ERR_SYSTEM_ERROR``) when the kernel refuses; then no device is left.
    """
    async with AsyncIPRoute() as route:
        settings: dict[str, object] = {}
        if bridge is not None:
            index, mtu = await _bridge(route, bridge)
            settings = {"master": index, "mtu": mtu}
        tap = _open_tap(name or _FREE_NAME)
        try:
            # A bridge takes the lowest address among its ports for its own; 0xfe keeps it from taking a guest's.
            device = socket.if_nametoindex(tap.name)
            await route.link("set", index=device, address="fe" + mac[2:], state="up", **settings)
        except NetlinkError as error:
            os.close(tap.fd)
            what = f"Unable to set up tap device {tap.name}" if bridge is None else (
                f"Unable to add bridge {bridge} port {tap.name}")
            raise _error(what, error.code) from error
        except BaseException:
            os.close(tap.fd)
            raise
    return tap


async def _bridge(route: AsyncIPRoute, name: str) -> tuple[int, int]:
    """Index and MTU of a bridge; its ports must have the same MTU, or it would lower its own."""
    try:
        [link] = await route.link("get", ifname=name)
    except NetlinkError as error:
        raise _error(f"Cannot get interface MTU on '{name}'", error.code) from error
    return link["index"], link.get("mtu")


def _open_tap(name: str) -> Tap:
    encoded = name.encode()
    if len(encoded) > _NAME_MAX or b"\0" in encoded:
        raise _error(f"Unable to create tap device {name}", errno.ENAMETOOLONG)
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _error("Unable to open /dev/net/tun, is tun module loaded?", error.errno) from error
    try:
        request = fcntl.ioctl(fd, _TUNSETIFF, _IFREQ.pack(encoded, _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
    except OSError as error:
        os.close(fd)
        raise _error(f"Unable to create tap device {name}", error.errno) from error
    return Tap(fd, _IFREQ.unpack(request)[0].rstrip(b"\0").decode())


def _error(what: str, number: int | None) -> LibvirtError:
    number = number or errno.EIO
    return LibvirtError(c.VIR_ERR_SYSTEM_ERROR, f"{what}: {os.strerror(number)}", int1=number)
