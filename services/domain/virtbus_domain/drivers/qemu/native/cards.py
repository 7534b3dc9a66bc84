"""Network cards read back, with what is at the host's end of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from virtbus_domain.drivers.qemu.native.options import refusal
from virtbus_domain.drivers.qemu.native.reader import Reader, transport
from virtbus_domain.drivers.qemu.native.values import Values
from virtbus_domain.xml.interface import Interface, InterfaceDriver, InterfaceSource
from virtbus_domain.xml.network_port import IpAddress

_VIRTIO = {f"virtio-net-pci{flavour}": f"virtio{flavour}" for flavour in ("", "-transitional", "-non-transitional")}
_OFFLOADS = {  # our name: QEMU's
    "host_csum": "csum", "host_gso": "gso", "host_mrg_rxbuf": "mrg_rxbuf", **{name: name for name in (
        "host_tso4", "host_tso6", "host_ecn", "host_ufo", "guest_csum", "guest_tso4", "guest_tso6", "guest_ecn",
        "guest_ufo")}}


def read_card(reader: Reader, item: Values) -> None:
    """One card and what it is connected to."""
    interface = reader.sit(Interface(mac=item.text("mac"), model=_VIRTIO.get(item.kind, item.kind)), item)
    if item.kind in _VIRTIO:
        interface.mtu = item.number("host_mtu")
        interface.teaming_type = "persistent" if item.flag("failover") else None
        options = _options(item)
        interface.driver = None if options == InterfaceDriver() else options
    bar, file = item.number("rombar"), item.text("romfile")
    interface.rom_bar = None if bar is None else bool(bar)
    interface.rom_file, interface.rom_enabled = file or None, False if file == "" else None
    back_end = reader.command.named("-netdev", item.required_text("netdev"))
    if back_end.kind not in _BACK_ENDS:
        raise refusal(back_end.what)
    _BACK_ENDS[back_end.kind](reader, back_end, interface)
    reader.devices.interfaces.append(interface)


def _options(item: Values) -> InterfaceDriver:
    queues, several = item.number("vectors"), item.flag("mq")
    if (queues is not None) != (several is True) or (queues is not None and queues % 2):
        raise item.wrong("vectors" if queues is not None else "mq")
    return InterfaceDriver(
        txmode=item.word("tx", {"bh": "iothread", "timer": "timer"}), ioeventfd=item.flag("ioeventfd"),
        event_idx=item.flag("event_idx"), queues=None if queues is None else (queues - 2) // 2,
        rx_queue_size=item.number("rx_queue_size"), tx_queue_size=item.number("tx_queue_size"), rss=item.flag("rss"),
        rss_hash_report=item.flag("hash"), **_switches(item))


def _switches(item: Values) -> dict[str, Any]:
    return {ours: item.flag(theirs) for ours, theirs in _OFFLOADS.items()} | transport(item)


# --- the host's end -------------------------------------------------------------------------------------------------


def _tap(reader: Reader, netdev: Values, interface: Interface) -> None:
    """What is at the other end of a descriptor, no command tells: a tap device of which nothing more is known."""
    del reader
    netdev.skip("fd", "fds", "vhostfd", "vhostfds")
    interface.type, interface.sndbuf = "ethernet", netdev.number("sndbuf")
    if netdev.flag("vhost"):
        interface.driver = interface.driver or InterfaceDriver()
        interface.driver.name = "vhost"


def _user(reader: Reader, netdev: Values, interface: Interface) -> None:
    del reader
    interface.type = "user"
    net, ipv6 = netdev.text("net"), netdev.text("ipv6-prefix")
    if net is not None:
        address, slash, prefix = net.partition("/")
        if slash and not (prefix.isdecimal() and len(prefix) < len("128")):
            raise netdev.wrong("net")
        interface.ips.append(IpAddress(family="ipv4", address=address, prefix=int(prefix) if slash else None))
    if ipv6 is not None:
        interface.ips.append(IpAddress(family="ipv6", address=ipv6, prefix=netdev.number("ipv6-prefixlen")))


def _vhost_user(reader: Reader, netdev: Values, interface: Interface) -> None:
    socket = reader.command.named("-chardev", netdev.required_text("chardev"))
    listens, again, queues = socket.flag("server") is True, socket.number("reconnect"), netdev.number("queues")
    if listens:
        socket.expect("wait", False)
    interface.type = "vhostuser"
    interface.source = InterfaceSource(type="unix", path=socket.required_text("path"),
                                       mode="server" if listens else "client")
    if again is not None:
        interface.source.reconnect_enabled, interface.source.reconnect_timeout = True, again
    if queues is not None:
        interface.driver = interface.driver or InterfaceDriver()
        if interface.driver.queues not in (None, queues):
            raise netdev.wrong("queues")
        interface.driver.queues = queues


def _vdpa(reader: Reader, netdev: Values, interface: Interface) -> None:
    del reader
    interface.type, interface.source = "vdpa", InterfaceSource(dev=netdev.required_text("vhostdev"))


def _socket(reader: Reader, netdev: Values, interface: Interface) -> None:
    del reader
    for name, kind in {"listen": "server", "connect": "client", "mcast": "mcast", "udp": "udp"}.items():
        if netdev.has(name):
            address, port = _endpoint(netdev, name)
            interface.type, interface.source = kind, InterfaceSource(address=address, port=port)
            break
    if interface.source is None:
        raise refusal(netdev.what)
    if interface.type == "udp":
        interface.source.local_address, interface.source.local_port = _endpoint(netdev, "localaddr")


def _endpoint(netdev: Values, name: str) -> tuple[str | None, int]:
    address, _, port = netdev.required_text(name).rpartition(":")
    if not port.isdecimal() or len(port) > len("65535"):
        raise netdev.wrong(name)
    return address or None, int(port)


_BACK_ENDS: dict[str, Callable[[Reader, Values, Interface], None]] = {
    "tap": _tap, "user": _user, "vhost-user": _vhost_user, "vhost-vdpa": _vdpa, "socket": _socket}
CARDS: Mapping[str, Callable[[Reader, Values], None]] = dict.fromkeys(_VIRTIO, read_card)
