"""The host's ends of a guest's network cards: tap and macvtap devices, opened for QEMU."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path

from virtbus_domain.drivers.qemu.command.interface import TAP_TYPES, VIRTIO, vhost_descriptors
from virtbus_domain.drivers.qemu.lookups import Lookups
from virtbus_domain.drivers.qemu.macvtap import create_macvtap
from virtbus_domain.drivers.qemu.tap import Tap, create_tap, open_tap
from virtbus_domain.xml.domain import Domain
from virtbus_domain.xml.interface import Interface
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

_VHOST = "/dev/vhost-net"


async def open_interfaces(domain: Domain, owner: Path, lookups: Lookups, stack: AsyncExitStack) -> dict[str, list[str]]:
    """A device for each card that QEMU reaches through one: its open files by the card's alias.

    ``owner`` is the directory of the run that they are for; ``stack`` closes our copies. Raises ``LibvirtError``.
    """
    assert domain.devices is not None
    descriptors: dict[str, list[str]] = {}
    for interface in domain.devices.interfaces:
        if interface.type not in TAP_TYPES:
            continue
        tap = await _open(interface, owner, lookups)
        # Our copies: QEMU inherits its own, with which the device lives and ends.
        stack.callback(tap.close)
        interface.target_dev = tap.name
        alias = str(interface.alias)
        descriptors[alias] = [str(fd) for fd in tap.fds]
        vhost = _open_vhost(interface, len(tap.fds), stack, kvm=domain.type == "kvm")
        if vhost:
            descriptors[vhost_descriptors(alias)] = vhost
    return descriptors


async def _open(interface: Interface, owner: Path, lookups: Lookups) -> Tap:
    source, mac, queues = interface.source, interface.mac or "", _queues(interface)
    tun = interface.backend.tap if interface.backend else None
    if interface.type == "direct":
        return await create_macvtap(mac, (source.dev if source else None) or "", (source.mode if source else None)
                                    or "vepa", owner, interface.target_dev, queues=queues, mtu=interface.mtu)
    bridge = None
    if interface.type == "network":
        assert source is not None
        bridge = source.bridge = (await lookups.network(source.network or "")).bridge
    elif interface.type == "bridge":
        bridge = source.bridge if source else None
    if interface.type == "ethernet" and interface.target_managed is False:
        return _open_existing(interface.target_dev, queues, tun)
    return await create_tap(mac, bridge, interface.target_dev, queues=queues, mtu=interface.mtu, tun=tun)


def _queues(interface: Interface) -> int:
    """How many a card is served by; only virtio's can have several."""
    several = interface.driver.queues if interface.driver and interface.model in VIRTIO else None
    return max(several or 1, 1)


def _open_existing(name: str | None, queues: int, tun: str | None) -> Tap:
    """The device that somebody has made for this guest, and set up."""
    if not name:
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "target dev must be supplied when managed='no'",
                           domain=c.VIR_FROM_QEMU)
    if not Path("/sys/class/net", name).exists():
        raise LibvirtError(c.VIR_ERR_INTERNAL_ERROR, "target managed='no' but specified dev doesn't exist",
                           domain=c.VIR_FROM_QEMU)
    return open_tap(name, queues=queues, tun=tun)


def _open_vhost(interface: Interface, count: int, stack: AsyncExitStack, *, kvm: bool) -> list[str]:
    """The kernel's help with moving packets: taken where it is there, and refused where it must be and is not."""
    wanted = interface.driver.name if interface.driver else None
    if not kvm or interface.model not in VIRTIO or wanted not in (None, "vhost"):
        return []
    path = (interface.backend.vhost if interface.backend else None) or _VHOST
    opened: list[str] = []
    for _ in range(count):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            if wanted is None and not opened:
                return []
            raise LibvirtError(c.VIR_ERR_CONFIG_UNSUPPORTED,
                               "vhost-net was requested for an interface, but is unavailable",
                               domain=c.VIR_FROM_QEMU) from None
        stack.callback(os.close, fd)
        opened.append(str(fd))
    return opened
