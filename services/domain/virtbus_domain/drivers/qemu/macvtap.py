"""Macvtap devices: a guest's card directly on one of the host's, without a bridge.

Other than a tap such a device stays when QEMU ends, so each carries the directory of the run that it was made for as
its alias: whoever clears away after a guest removes those that are marked with it, and finds them by looking.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from virtbus_domain.drivers.qemu.tap import Tap, attach, system_error

_MARK = "virtbus: "
_MODES = {"passthrough": "passthru"}  # libvirt's word for the kernel's
_MOST = 8192  # names that are tried


async def create_macvtap(mac: str, source: str, mode: str, owner: Path, name: str | None = None, *, queues: int = 1,
                         mtu: int | None = None) -> Tap:
    """Make a macvtap device on the host's card ``source``, and open it; it is up.

    ``owner`` is the directory of the guest's run. Raises ``LibvirtError`` (``VIR_ERR_SYSTEM_ERROR``) when the kernel
    refuses; then no device is left.
    """
    async with AsyncIPRoute() as route:
        try:
            card = socket.if_nametoindex(source)
        except OSError as error:
            raise system_error(f"Unable to get index for interface {source}", errno.ENODEV) from error
        made = await _make(route, name, {"kind": "macvtap", "link": card, "macvtap_mode": _MODES.get(mode, mode)})
        index = socket.if_nametoindex(made)
        try:
            # Not when it is made: in passthrough it is then the card's own, which the kernel gives back at the end.
            settings = {"address": mac} if mtu is None else {"address": mac, "mtu": mtu}
            await route.link("set", index=index, ifalias=f"{_MARK}{owner}", state="up", **settings)
            return Tap(_open(made, index, queues), made)
        except BaseException as error:
            await route.link("del", index=index)
            if isinstance(error, NetlinkError):
                raise system_error(f"Unable to set up macvtap device {made}", error.code) from error
            raise


async def _make(route: AsyncIPRoute, name: str | None, settings: dict[str, object]) -> str:
    """The device under the name, or under the first free one of the kind."""
    for candidate in [name] if name else (f"macvtap{number}" for number in range(_MOST)):
        try:
            await route.link("add", ifname=candidate, **settings)
        except NetlinkError as error:
            if error.code != errno.EEXIST or name:
                raise system_error(f"error creating macvtap interface {candidate}", error.code) from error
        else:
            return candidate
    raise system_error("no unused macvtap names available", errno.EEXIST)


def _open(name: str, index: int, queues: int) -> tuple[int, ...]:
    path = f"/dev/tap{index}"
    fds: list[int] = []
    try:
        _check_file(path, name, index)
        for _ in range(queues):
            fds.append(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
            attach(fds[-1], name.encode(), several=queues > 1)
    except OSError as error:
        Tap(tuple(fds), name).close()
        raise system_error(f"cannot open macvtap tap device {path}", error.errno) from error
    return tuple(fds)


def _check_file(path: str, name: str, index: int) -> None:
    """Make sure that it is the device's: files are named by index, which two network namespaces may both use."""
    number = Path(f"/sys/class/net/{name}/tap{index}/dev").read_text().strip()
    device = os.stat(path).st_rdev
    if number != f"{os.major(device)}:{os.minor(device)}":
        raise OSError(errno.ENXIO, "another device's file", path)


async def remove_macvtaps(directory: Path) -> None:
    """Remove the devices that were made for the run of a guest with this directory."""
    await _remove(name for name, owner in await asyncio.to_thread(_marked) if owner == directory)


async def remove_other_macvtaps(directory: Path) -> None:
    """Remove the devices of runs whose directories were in this one and are not there any more."""
    await _remove(name for name, owner in await asyncio.to_thread(_marked)
                  if owner.parent == directory and not owner.exists())


async def _remove(names: Iterable[str]) -> None:
    for name in names:
        async with AsyncIPRoute() as route:
            with suppress(NetlinkError):  # it was removed meanwhile
                await route.link("del", index=socket.if_nametoindex(name))


def _marked() -> list[tuple[str, Path]]:
    """Name and owner of all devices with our mark. A list of links by netlink takes ten times as long."""
    found = []
    for entry in os.scandir("/sys/class/net"):
        try:
            alias = Path(entry.path, "ifalias").read_text().strip()
        except OSError:
            continue
        if alias.startswith(_MARK):
            found.append((entry.name, Path(alias.removeprefix(_MARK))))
    return found
