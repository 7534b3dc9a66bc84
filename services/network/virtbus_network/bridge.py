"""An isolated network is a Linux bridge with the network's addresses; this file makes it, finds it and removes it.

A bridge that is complete carries the network's UUID in its alias, set last. So a service that comes back knows its
bridges by looking, tells a foreign bridge of the same name from its own, and knows one that it was still making when
it died. Removing the bridge removes all that was done to it, which makes undoing a failed start one step. The order
of the steps and the words of the errors are those of libvirt 9.0.0's ``bridge_driver.c``.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Callable, Collection
from pathlib import Path

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from virtbus_network.xml import Bridge, Ip, Network
from virtbus_shared import constants as c
from virtbus_shared.errors import LibvirtError

DEFAULT_TEMPLATE = "virbr%d"
_MAX_BRIDGES = 256
_MAX_NAME = 15  # bytes of an interface name (IFNAMSIZ - 1)
_SYSCTL = Path("/proc/sys/net/ipv6/conf")

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def _error(code: int, detail: str) -> LibvirtError:
    return LibvirtError(code, detail, domain=c.VIR_FROM_NETWORK)


def _system_error(what: str, number: int | None) -> LibvirtError:
    number = number or errno.EIO
    detail = f"{what}: {os.strerror(number)}"
    return LibvirtError(c.VIR_ERR_SYSTEM_ERROR, detail, domain=c.VIR_FROM_NETWORK, int1=number)


def check_supported(model: Network) -> None:
    """Refuse a document that asks for more than a bridge with addresses, naming the first element that does."""
    forward, bridge = model.forward, model.bridge or Bridge()
    asked = {
        f"<forward mode='{forward.mode if forward else None}'>": forward is not None and forward.mode != "none",
        "<bridge zone>": bridge.zone, "<bridge macTableManager='libvirt'>": bridge.mac_table_manager == "libvirt",
        "<domain>": model.domain_name, "<dns>": model.dns, "<vlan>": model.vlan, "<bandwidth>": model.bandwidth,
        "<port>": model.port, "<tftp>": any(ip.tftp_root for ip in model.ips),
        "<dhcp>": any(ip.dhcp for ip in model.ips), "<route>": model.routes, "<virtualport>": model.virtualport,
        "<portgroup>": model.portgroups,
    }
    for element, present in asked.items():
        if present:
            raise _error(c.VIR_ERR_CONFIG_UNSUPPORTED,
                         f"{element} of network '{model.name}' is not supported by the bridge driver")


def complete_bridge(model: Network, taken: Collection[str], randbytes: Callable[[int], bytes] = os.urandom) -> None:
    """Give the network a free bridge name, also from a template such as "br%d", and the bridge a MAC address.

    ``taken`` are the bridge names of the other networks, running or not. The address is kept in the definition: a
    bridge would otherwise take that of one of its ports, and guests would see their gateway change.
    """
    bridge = model.bridge = model.bridge or Bridge()
    template = bridge.name or DEFAULT_TEMPLATE
    if "%d" in template:
        used = set(taken) | {name for _, name in socket.if_nameindex()}
        names = (template.replace("%d", str(number), 1) for number in range(_MAX_BRIDGES + 1))
        bridge.name = next((name for name in names if name not in used), None)
        if bridge.name is None:
            raise _error(c.VIR_ERR_INTERNAL_ERROR, f"Bridge generation exceeded max id {_MAX_BRIDGES}")
    elif template in taken:
        raise _error(c.VIR_ERR_INTERNAL_ERROR, f"bridge name '{template}' already in use.")
    if model.mac is None:
        model.mac = "52:54:00:" + randbytes(3).hex(":")


def interface_address(ip: Ip) -> Interface:
    """An address with its network; without netmask and prefix the old address classes decide, for IPv6 /64."""
    if (interface := ip.interface) is not None:
        return interface
    address = ipaddress.ip_address(ip.address or "")
    if address.version == 6:
        return ipaddress.ip_interface(f"{address}/64")
    first = int(address) >> 24
    length = 8 if first < 128 else 16 if first < 192 else 24 if first < 224 else 32
    return ipaddress.ip_interface(f"{address}/{length}")


def _alias(model: Network) -> str:
    return f"virtbus network {model.uuid}"


class _Link:
    """What we need to know of a link that exists."""

    def __init__(self, message: object, model: Network) -> None:
        get = message.get  # type: ignore[attr-defined]  # pyroute2 has no types
        info = get("linkinfo")
        self.index: int = get("index")
        self.is_bridge = info is not None and info.get("kind") == "bridge"
        self.complete = self.is_bridge and get("ifalias") == _alias(model)
        self.unfinished = self.is_bridge and get("ifalias") is None and get("address") == model.mac


async def _look(route: AsyncIPRoute, model: Network) -> _Link | None:
    try:
        [message] = await route.link("get", ifname=_name(model))
    except NetlinkError as e:
        if e.code == errno.ENODEV:
            return None
        raise _system_error(f"Cannot look at interface '{_name(model)}'", e.code) from e
    return _Link(message, model)


def _name(model: Network) -> str:
    return (model.bridge.name if model.bridge else None) or ""


async def find_bridge(model: Network) -> bool:
    """Whether the network's own bridge is there, complete."""
    if not 0 < len(_name(model).encode()) <= _MAX_NAME:
        return False
    async with AsyncIPRoute() as route:
        link = await _look(route, model)
    return link is not None and link.complete


async def create_bridge(model: Network) -> None:
    """Make the network's bridge, with everything that the (completed, supported) document says, and bring it up.

    Raises ``LibvirtError``; then, as when cancelled, nothing of it is left.
    """
    name = _name(model)
    if not 0 < len(name.encode()) <= _MAX_NAME:
        raise _system_error(f"error creating bridge interface {name}", errno.ERANGE)
    async with AsyncIPRoute() as route:
        await _check_collision(route, model)
        await _make_room(route, model)
        try:
            await _set_up(route, model)
        except BaseException:
            # On a socket of its own: the answer to a cancelled request may still be on its way. A link that came
            # between our look and our making has neither our alias nor our MAC, and stays.
            await destroy_bridge(model)
            raise


async def _check_collision(route: AsyncIPRoute, model: Network) -> None:
    """Refuse a network that another interface is in already: the host could not tell the two apart."""
    wanted = {interface_address(ip).network for ip in model.ips}
    names = {index: name for index, name in socket.if_nameindex() if name != _name(model)}
    async for message in await route.addr("dump"):
        present = ipaddress.ip_interface(f"{message.get('address')}/{message['prefixlen']}").network
        if present in wanted and message["index"] in names:
            raise _error(c.VIR_ERR_INTERNAL_ERROR, f"Network is already in use by interface {names[message['index']]}")


async def _make_room(route: AsyncIPRoute, model: Network) -> None:
    """Remove a bridge that a service left unfinished when it died; any other link of the name is in the way."""
    link = await _look(route, model)
    if link is None:
        return
    if not link.unfinished:
        raise _system_error(f"error creating bridge interface {_name(model)}", errno.EEXIST)
    await _delete(route, _name(model))


async def _set_up(route: AsyncIPRoute, model: Network) -> None:
    name, settings = _name(model), model.bridge or Bridge()
    step = f"error creating bridge interface {name}"
    try:
        # Delay before STP: with STP on the kernel takes none below two seconds, and raises this one by itself.
        await route.link("add", ifname=name, kind="bridge", address=model.mac,
                         br_forward_delay=(settings.delay or 0) * 100)
        index = socket.if_nametoindex(name)
        step = f"Cannot set interface MTU on '{name}'"
        if model.mtu:
            await route.link("set", index=index, mtu=model.mtu)
        step = f"Unable to set bridge {name} STP"
        await route.link("set", index=index, kind="bridge", br_stp_state=int(settings.stp != "off"))
        _set_ipv6(name, enabled=any(interface_address(ip).version == 6 for ip in model.ips))
        for ip in model.ips:
            address = interface_address(ip)
            step = f"Failed to add IP address {address} to interface '{name}'"
            # A /31 or /32 has no broadcast address.
            broadcast = ({"broadcast": str(address.network.broadcast_address)}
                         if address.version == 4 and address.network.prefixlen < 31 else {})
            await route.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen,
                             **broadcast)
        step = f"Cannot set interface '{name}' online"
        await route.link("set", index=index, state="up", ifalias=_alias(model))
    except NetlinkError as e:
        raise _system_error(step, e.code) from e


def _set_ipv6(name: str, *, enabled: bool) -> None:
    """IPv6 only where the network has an IPv6 address; and no guest may make itself this host's router."""
    folder = _SYSCTL / name
    if not folder.is_dir():
        if enabled:
            raise _error(c.VIR_ERR_CONFIG_UNSUPPORTED, f"<ip family='ipv6'> on '{name}': this host has no IPv6")
        return
    for key, value in (("disable_ipv6", int(not enabled)), ("accept_ra", 0), ("autoconf", 0)):
        try:
            (folder / key).write_text(f"{value}\n")
        except OSError as e:
            raise _system_error(f"cannot write to '{folder / key}'", e.errno) from e


async def destroy_bridge(model: Network) -> None:
    """Remove the network's bridge, and with it its addresses. One that has gone, or is not ours, is left at that."""
    async with AsyncIPRoute() as route:
        link = await _look(route, model)
        if link is not None and (link.complete or link.unfinished):
            await _delete(route, _name(model))


async def _delete(route: AsyncIPRoute, name: str) -> None:
    try:
        await route.link("del", ifname=name)
    except NetlinkError as e:
        if e.code != errno.ENODEV:
            raise _system_error(f"Unable to delete bridge {name}", e.code) from e
